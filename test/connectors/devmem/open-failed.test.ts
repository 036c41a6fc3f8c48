/** /dev/mem whose opening fails when its file is open already. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { openDevmem } from "../../../connectors/devmem/open-devmem.js";

const state = vi.hoisted(() => ({ fails: false }));

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const fail = <T>(call: T): T =>
    ((...args: unknown[]) => {
      if (state.fails) throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
      return (call as (...args: unknown[]) => unknown)(...args);
    }) as T;
  return { ...fs, statSync: fail(fs.statSync), fstatSync: fail(fs.fstatSync) };
});

const folder = mkdtempSync(join(tmpdir(), "memtool-devmem-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it.skipIf(process.platform !== "linux")("leaves no file open, and says why it failed", () => {
  const path = join(folder, "mem");
  const iomem = join(folder, "iomem");
  writeFileSync(path, new Uint8Array(0x2000));
  writeFileSync(iomem, "00001000-00001fff : System RAM\n");
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  state.fails = true;
  expect(() => openDevmem(path, { iomem })).toThrow(
    expect.objectContaining({ code: "OPEN_FAILED", message: expect.stringContaining("EIO") }),
  );
  state.fails = false;
  expect(open()).toBe(before);
});
