import { expect, it } from "vitest";
import { Fields, readLeniently } from "../../src/formats/fields.js";
import { defaultScheduler, Io } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { sparseFile } from "../support/sparse-file.js";

it("a field of 64 bits is a number below 2^53, and none from there on, in either byte order", () => {
  for (const littleEndian of [true, false]) {
    for (const [value, expected] of [
      [0n, 0],
      [0x1_8000_0001n, 0x1_8000_0001],
      [2n ** 53n - 1n, Number.MAX_SAFE_INTEGER],
      [2n ** 53n, undefined],
      [2n ** 64n - 1n, undefined],
    ] as const) {
      const bytes = new Uint8Array(12);
      new DataView(bytes.buffer).setBigUint64(4, value, littleEndian);
      expect(new Fields("x", 0, bytes, littleEndian).safe(4)).toBe(expected);
    }
  }
});

it("what can't be read of a structure is zero and counted, and so is what lies beyond the file", () => {
  const bytes = pattern(100, 1);
  const file = sparseFile(100, [{ at: 0, bytes }], "x", { start: 60, end: 70 });
  const { bytes: got, missing } = Io.of(defaultScheduler, readLeniently, file, 50, 80).sync();
  const expected = bytes.slice(50);
  expected.fill(0, 10, 20);
  expect(got).toEqual(expected);
  expect(missing).toBe(10 + 30);
  expect(Io.of(defaultScheduler, readLeniently, file, 200, 8).sync()).toMatchObject({ missing: 8 });
});
