/** Profiles on a disk that fails, or in a folder that nobody may write to. */
import type * as fs from "node:fs";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { profileCache } from "../../connectors/profile-cache.js";

const disk = vi.hoisted(() => ({ fails: false }));
vi.mock("node:fs", async (original) => {
  const real = await original<typeof fs>();
  const readSync = (...args: Parameters<typeof real.readSync>) => {
    if (disk.fails) throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO", errno: -5 });
    return real.readSync(...args);
  };
  return { ...real, readSync };
});

const BUILD = "00".repeat(20);

describe("a profile", () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "memtool-profile-errors-"));
    path = join(folder, `${BUILD}.profile`);
    profileCache(folder)?.save(BUILD, new Uint8Array(20_000).fill(7));
  });
  afterEach(() => {
    disk.fails = false;
    rmSync(folder, { recursive: true, force: true });
  });

  function load() {
    const cache = profileCache(folder);
    const profile = cache?.load(BUILD);
    if (profile === undefined || profile instanceof Uint8Array) throw new Error("no profile");
    return { profile, close: () => cache?.close() };
  }

  it("that the disk fails to give says so as one that is damaged does, and is removed", () => {
    const { profile, close } = load();
    profile.need(0, 4096);
    disk.fails = true;
    const need = () => profile.need(5000, 5001);
    expect(need).toThrow(
      expect.objectContaining({
        code: "PROFILE",
        message: `${path}: the profile that was kept of this kernel can't be read (EIO) at 0x1000, and is removed: try again`,
      }),
    );
    disk.fails = false;
    expect(need).toThrow("EIO");
    expect(readdirSync(folder)).toEqual([]);
    close();
  });

  it("that is damaged and can't be removed is not said to be", () => {
    const { profile, close } = load();
    writeFileSync(path, new Uint8Array(30_000));
    // (A folder is not removed as a file is.)
    renameSync(path, join(folder, "moved"));
    mkdirSync(path);
    expect(() => profile.need(0, 1)).toThrow(
      /is damaged at 0x0, and can't be removed: remove it, or go without a cache$/,
    );
    close();
  });

  it.runIf(process.platform === "linux")("whose sums can't be read is none, and is not left open", () => {
    disk.fails = true;
    expect(profileCache(folder)?.load(BUILD)).toBe(undefined);
    const open = readdirSync("/proc/self/fd").map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return "";
      }
    });
    expect(open).not.toContain(path);
  });
});
