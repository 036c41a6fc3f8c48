import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/index.js";
import { profileCache } from "../../connectors/profile-cache.js";
import { decodeProfile, encodeProfile, type KernelProfile } from "../../src/linux/profile.js";
import { dumpWithout } from "../support/dump-without.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const BUILD = "3b43fad5034874490492495d552c0af6a5fab235";

let work: string;
let folders = 0;
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), "memtool-profiles-"));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const newFolder = () => join(work, `cache-${folders++}`);

/** The processes, and how many bytes of the dump were read for them. */
async function processes(path: string, cache: boolean | string) {
  const machine = await open(path, { cache, kernel: "note" });
  try {
    const linux = await machine.linux();
    const tasks = await linux.tasks().toArray();
    const text = JSON.stringify(tasks, (_, value) => (typeof value === "bigint" ? `${value}` : value));
    return { text, bytes: machine.source.counters.bytes };
  } finally {
    await machine.close();
  }
}

function changed(path: string, change: (profile: KernelProfile) => KernelProfile): void {
  const profile = decodeProfile(readFileSync(path));
  if (profile === undefined) throw new Error(`${path}: no profile`);
  writeFileSync(path, encodeProfile(change(profile)));
}

describe("profiles of kernels", () => {
  let truth: { text: string; bytes: number };
  let kept: Uint8Array;
  beforeAll(async () => {
    truth = await processes(DUMP, false);
    const folder = newFolder();
    await processes(DUMP, folder);
    kept = readFileSync(join(folder, `${BUILD}.profile`));
  });

  it("give the same processes a second time, of far fewer bytes of the dump", async () => {
    const folder = newFolder();
    expect((await processes(DUMP, folder)).text).toBe(truth.text);
    expect(readdirSync(folder)).toEqual([`${BUILD}.profile`]);
    const again = await processes(DUMP, folder);
    expect(again.text).toBe(truth.text);
    expect(again.bytes).toBeLessThan(truth.bytes / 2);
  });

  it("are ignored and written again when they are torn, changed, or of another layout", async () => {
    const bad: Record<string, Uint8Array> = {
      empty: new Uint8Array(0),
      torn: kept.slice(0, kept.length >> 1),
      "a bit of BTF": kept.map((byte, i) => (i === kept.length - 1000 ? byte ^ 1 : byte)),
      "a length of 4 GiB": kept.map((byte, i) => (i >= 12 && i < 16 ? 0xff : byte)),
      "another version": kept.map((byte, i) => (i === 7 ? byte + 1 : byte)),
    };
    for (const [name, bytes] of Object.entries(bad)) {
      expect(decodeProfile(bytes), name).toBe(undefined);
    }
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    writeFileSync(path, bad.torn as Uint8Array);
    expect((await processes(DUMP, folder)).text).toBe(truth.text);
    expect(Buffer.compare(readFileSync(path), kept)).toBe(0);
  });

  it.each<[string, (profile: KernelProfile) => KernelProfile]>([
    ["of another build", (profile) => ({ ...profile, buildId: "00".repeat(20) })],
    [
      "with other structures in VMCOREINFO",
      (profile) => ({ ...profile, lines: `${profile.lines}\nSIZE(x)=1` }),
    ],
    ["with another banner", (profile) => ({ ...profile, banner: `${profile.banner} ` })],
    [
      "with other types",
      (profile) => ({ ...profile, btf: profile.btf?.map((byte, i) => (i < 64 ? byte : byte ^ 1)) }),
    ],
    [
      "with symbols elsewhere",
      ({ kallsyms, ...profile }) => ({
        ...profile,
        kallsyms: { ...kallsyms, addresses: kallsyms.addresses.map((address) => address + 16n) },
      }),
    ],
  ])("are ignored and written again: one %s", async (_, change) => {
    const folder = newFolder();
    await processes(DUMP, folder);
    const path = join(folder, `${BUILD}.profile`);
    changed(path, change);
    expect((await processes(DUMP, folder)).text).toBe(truth.text);
    expect(Buffer.compare(readFileSync(path), kept)).toBe(0);
  });

  it("are not written of a dump whose BTF is not whole, which one of a whole dump then stands in for", async () => {
    const folder = newFolder();
    const btf = decodeProfile(kept)?.btf as Uint8Array;
    const page = Buffer.from(btf.subarray(1 << 20, (1 << 20) + 4096));
    // (The BTF begins at a page: vmlinux.lds.h aligns it so, where its own does not say.)
    const some = page.subarray(1024, 1024 + 256);
    const sparse = join(work, "sparse.kdump");
    await dumpWithout(DUMP, sparse, (bytes) => Buffer.from(bytes).includes(some));
    await expect(processes(sparse, folder)).rejects.toThrow("can't be read");
    expect(profileCache(folder)?.load(BUILD)).toBe(undefined);
    await processes(DUMP, folder);
    expect((await processes(sparse, folder)).text).toBe(truth.text);
  });

  it("are at most 32, the newest", () => {
    const folder = newFolder();
    const cache = profileCache(folder);
    const idOf = (i: number) => i.toString(16).padStart(40, "0");
    for (let i = 0; i < 40; i++) {
      cache?.save(idOf(i), Uint8Array.of(i));
      const path = join(folder, `${idOf(i)}.profile`);
      utimesSync(path, 1000 + i, 1000 + i);
    }
    const names = readdirSync(folder).sort();
    expect(names).toEqual(Array.from({ length: 32 }, (_, i) => `${idOf(i + 8)}.profile`));
    expect(statSync(join(folder, names[0] as string)).mode & 0o77).toBe(0);
  });

  it("are of no path that a dump makes up, and what can't be written is not kept", () => {
    const folder = newFolder();
    profileCache(folder)?.save("../../escaped", Uint8Array.of(1));
    expect(() => readdirSync(folder)).toThrow();
    const file = join(work, "a file");
    writeFileSync(file, "");
    const none = profileCache(join(file, "below"));
    none?.save(BUILD, Uint8Array.of(1));
    expect(none?.load(BUILD)).toBe(undefined);
  });

  it("are where the environment says, or nowhere", () => {
    const folder = newFolder();
    expect(profileCache(false)).toBe(undefined);
    expect(profileCache(undefined, { MEMTOOL_CACHE: "off" })).toBe(undefined);
    // By default, nothing is kept.
    expect(profileCache(undefined, { XDG_CACHE_HOME: folder })).toBe(undefined);
    profileCache(true, { XDG_CACHE_HOME: join(folder, "home") })?.save(BUILD, Uint8Array.of(1));
    if (process.platform === "linux") {
      expect(readdirSync(join(folder, "home", "memtool", "profiles"))).toEqual([`${BUILD}.profile`]);
    }
    const other = newFolder();
    profileCache(undefined, { MEMTOOL_CACHE: other })?.save(BUILD, Uint8Array.of(1));
    expect(readdirSync(other)).toEqual([`${BUILD}.profile`]);
  });
});
