import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readMemoryMap } from "../../connectors/memory-map.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-map-"));
afterAll(() => rmSync(folder, { recursive: true }));
function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}
const refused = (given: string, problem: RegExp) =>
  expect(() => readMemoryMap(given)).toThrow(
    expect.objectContaining({ code: "BAD_MEMORY_MAP", message: expect.stringMatching(problem) }),
  );

describe("a memory map", () => {
  const ranges = [
    { start: 0, end: 0x1000, offset: 0 },
    { start: 0x5000, end: 0x6000, offset: 0x1000 },
  ];

  it("is given as ranges, or as a file of them", () => {
    const path = file("ranges", "0-4K\n# a hole\n0x5000-0x6000\n");
    for (const given of ["0-4K@0,0x5000-0x6000@4096", path, `@${path}`]) {
      expect(readMemoryMap(given), given).toEqual(ranges);
    }
  });

  it("may be this system's /proc/iomem, whose size is 0", () => {
    // Without rights its addresses are hidden, and the message says so.
    try {
      expect(readMemoryMap("/proc/iomem").length).toBeGreaterThan(0);
    } catch (error) {
      expect(error).toMatchObject({ message: expect.stringMatching(/as root|System RAM/) });
    }
  });

  it("that can't be read or is none is refused, naming the file", () => {
    refused("/no/such.map", /^\/no\/such\.map: .*neither ranges .* nor a file.*ENOENT/);
    refused("", /^"": .*neither ranges/);
    refused(folder, /EISDIR/);
    refused(file("bad", "0-1\nzero\n"), /bad: line 2: "zero" is no range/);
    refused("/dev/zero", /^\/dev\/zero: the file has more than 67108864 bytes/);
  });
});
