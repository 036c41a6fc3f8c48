/** Columns through formats: the same as each record by itself, and travelling together where they can. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { dumpFile, openDump } from "../../src/formats/index.js";
import { Intervals, layIntervals, NO_MEMORY, PieceIo } from "../../src/formats/pieces.js";
import type { Column } from "../../src/io/column.js";
import { type BoundView, MemoryIo, type PacketIo } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { columnOf, readColumn } from "../support/columns.js";
import { writeWindowsDump } from "../support/write-windows-dump.js";

const SIZE = 4000;
const bytes = pattern(SIZE, 3);

/** Memory that counts how it is asked, and takes columns. */
class CountingIo extends MemoryIo {
  columns = 0;
  views = 0;

  override sendIo(at: number, view: BoundView): void {
    this.views++;
    super.sendIo(at, view);
  }

  override sendColumn(column: Column, from: number, view: BoundView): void {
    this.columns++;
    let rest: BoundView | undefined = view;
    for (let i = from; rest !== undefined; i++) {
      const piece: BoundView = rest;
      rest = piece.length > column.size ? piece.split(column.size) : undefined;
      super.sendIo((column.words[2 * i + 1] as number) * 2 ** 32 + (column.words[2 * i] as number), piece);
    }
  }
}

const addresses = fc.array(fc.oneof(fc.nat(SIZE + 200), fc.nat(2 ** 40)), { minLength: 1, maxLength: 40 });
const size = fc.integer({ min: 1, max: 70 });

it("a raw image", () => {
  const file = new CountingIo(bytes);
  const image = openDump(dumpFile(file, SIZE, "test"), { format: "raw" }).sync();
  fc.assert(
    fc.property(addresses, size, fc.nat(10), (places, length, skip) => {
      const column = columnOf(places, length);
      const from = Math.min(skip, places.length - 1);
      expect(readColumn(image.io, "column", column, from)).toEqual(
        readColumn(image.io, "records", column, from),
      );
    }),
  );
  file.views = 0;
  file.columns = 0;
  readColumn(image.io, "column", columnOf([5, 3000, SIZE - 8], 8));
  expect([file.columns, file.views]).toEqual([1, 0]);
});

it("pieces of a file", () => {
  const piece = fc.record({
    start: fc.oneof(
      fc.nat(SIZE),
      fc.nat(100).map((n) => 2 ** 32 - 50 + n),
    ),
    length: fc.integer({ min: 1, max: 500 }),
    target: fc.oneof(fc.nat(SIZE), fc.constantFrom(-1, -2)),
  });
  fc.assert(
    fc.property(fc.array(piece), addresses, size, fc.nat(10), (pieces, places, length, skip) => {
      const all = new Intervals();
      for (const { start, length: bytes, target } of pieces) all.push(start, start + bytes, target);
      const io: PacketIo<number> = new PieceIo(new CountingIo(bytes), layIntervals(all, "first"), NO_MEMORY);
      const column = columnOf([...places, ...pieces.map(({ start }) => start + 1)], length);
      const from = Math.min(skip, places.length - 1);
      expect(readColumn(io, "column", column, from)).toEqual(readColumn(io, "records", column, from));
    }),
  );
});

it("records that lie in pieces travel together, also on both sides of one that does not", () => {
  const all = new Intervals();
  all.push(1000, 2000, 0);
  all.push(2 ** 33, 2 ** 33 + 1000, 1500);
  const file = new CountingIo(bytes);
  const io = new PieceIo(file, layIntervals(all, "first"), NO_MEMORY);
  const good = [1000, 2 ** 33 + 8, 1992, 2 ** 33];
  const { good: moved } = readColumn(io, "column", columnOf(good, 8));
  const at = [0, 1508, 992, 1500];
  const expected = at
    .map((start) => Buffer.from(bytes.subarray(start, start + 8)).toString("latin1"))
    .join("");
  expect(moved).toEqual([{ start: 0, end: 32, bytes: expected }]);
  expect([file.columns, file.views]).toEqual([1, 0]);
  readColumn(io, "column", columnOf([...good, 500, ...good], 8));
  expect([file.columns, file.views]).toEqual([3, 0]);
});

it("a dump with a bitmap", () => {
  const runs = [1, 2, 5].map((page) => ({ page, bytes: pattern(4096, page) }));
  const dump = writeWindowsDump(runs, { type: 5, descriptor: [{ page: 0, count: 4 }], bitmapPages: 9 });
  const file = new CountingIo(dump);
  const image = openDump(dumpFile(file, dump.length, "test")).sync();
  // Also across the bounds of pages that are there and of those that are not.
  const places = fc.array(
    fc.oneof(
      fc.nat(7 * 4096),
      fc.tuple(fc.nat(7), fc.integer({ min: -80, max: 0 })).map(([n, d]) => Math.max(0, n * 4096 + d)),
    ),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(
    fc.property(places, size, fc.nat(10), (chosen, length, skip) => {
      const column = columnOf(chosen, length);
      const from = Math.min(skip, chosen.length - 1);
      expect(readColumn(image.io, "column", column, from)).toEqual(
        readColumn(image.io, "records", column, from),
      );
    }),
  );
  file.views = 0;
  file.columns = 0;
  readColumn(image.io, "column", columnOf([4096, 5 * 4096, 2 * 4096 - 4], 8));
  expect([file.columns, file.views]).toEqual([1, 0]);
});
