import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { holesOf, type Seek } from "../../connectors/file-holes.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-holes-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

const DATA = 3;
const HOLE = 4;
const GIB = 2 ** 30;

/** A sparse file with data at some places. */
function sparse(size: number, places: readonly number[]): number {
  const fd = openSync(join(folder, `file${files++}`), "w+");
  ftruncateSync(fd, size);
  for (const at of places) writeSync(fd, Buffer.from("data"), 0, 4, at);
  return fd;
}

/** lseek(2) of a file whose holes are these, as its manual page has it. */
function seekOf(holes: readonly (readonly [number, number])[], size: number): Seek {
  return (_fd, offset, whence) => {
    if (offset >= size) return -1;
    const inside = holes.find(([start, end]) => start <= offset && offset < end);
    if (whence === HOLE) return inside ? offset : (holes.find(([start]) => start >= offset)?.[0] ?? size);
    if (whence === DATA) return inside ? (inside[1] === size ? -1 : inside[1]) : offset;
    return -1;
  };
}

describe("holes of a file", () => {
  it("are told by the system, as far as it does, and hold no data", async () => {
    const fd = sparse(8 * GIB, [5, 3 * GIB, 5 * GIB + 12345, 8 * GIB - 4]);
    const holes = [...((await holesOf(fd))?.() ?? [])];
    let at = 0;
    let bytes = 0;
    for (const { start, end } of holes) {
      expect(start).toBeGreaterThanOrEqual(at);
      expect(end).toBeGreaterThan(start);
      for (const place of [5, 3 * GIB, 5 * GIB + 12345, 8 * GIB - 4]) {
        expect(place + 4 <= start || place >= end).toBe(true);
      }
      at = end;
      bytes += end - start;
    }
    // A file system that keeps no holes tells of none; the others keep blocks of up to 1 MiB.
    if (holes.length > 0) expect(bytes).toBeGreaterThan(8 * GIB - 4 * 2 ** 20);
    closeSync(fd);
  });

  it("are those between data, ascending, the last one up to the end", async () => {
    const size = 1000;
    const holes = [
      [0, 10],
      [40, 50],
      [900, size],
    ] as const;
    const fd = sparse(size, []);
    const find = await holesOf(fd, async () => seekOf(holes, size), "linux");
    expect(find?.()).toEqual(holes.map(([start, end]) => ({ start, end })));
    closeSync(fd);
  });

  it("can't be told of a file that is stored whole, on Windows, and without ffi-rs", async () => {
    const path = join(folder, "whole");
    writeFileSync(path, new Uint8Array(8192).fill(1));
    const whole = openSync(path, "r");
    const never = async () => expect.fail("must not be loaded");
    expect(await holesOf(whole, never, "linux")).toBeUndefined();
    closeSync(whole);
    const fd = sparse(GIB, []);
    expect(await holesOf(fd, never, "win32")).toBeUndefined();
    expect(await holesOf(fd, async () => undefined, "linux")).toBeUndefined();
    closeSync(fd);
  });

  it("are none once the file is closed, though its number is another file's by then", async () => {
    const fd = sparse(1000, []);
    const find = await holesOf(fd, async () => seekOf([[0, 1000]], 1000), "linux");
    expect(find?.()).toHaveLength(1);
    closeSync(fd);
    expect(find?.()).toEqual([]);
    const other = sparse(1000, [500]);
    expect(other).toBe(fd);
    expect(find?.()).toEqual([]);
    closeSync(other);
  });

  it.each<[string, Seek]>([
    ["fails", () => -1],
    ["goes backwards", (_fd, offset) => offset - 1],
    ["stands still", (_fd, offset) => offset],
    ["says no number", () => Number.NaN],
    ["goes beyond the end", (_fd, offset) => offset + 10_000],
  ])("end where a system %s", async (_what, seek) => {
    const fd = sparse(1000, []);
    const find = await holesOf(fd, async () => seek, "linux");
    for (const { start, end } of find?.() ?? []) {
      expect([start >= 0, end > start, end <= 1000]).toEqual([true, true, true]);
    }
    closeSync(fd);
  });

  it("are 65,536 at most; the rest counts as data", async () => {
    const size = 1_000_000;
    let calls = 0;
    const fd = sparse(size, []);
    const seek: Seek = (_fd, offset, whence) => {
      calls++;
      return whence === HOLE ? offset + (offset % 2) : offset + 1;
    };
    const find = await holesOf(fd, async () => seek, "linux");
    expect([...(find?.() ?? [])]).toHaveLength(65_536);
    expect(calls).toBe(2 * 65_536);
    closeSync(fd);
  });
});
