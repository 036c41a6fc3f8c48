/** A batch's way through shared memory and back, without the worker. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { Batch } from "../../src/index.js";
import { answerShared, openShared, packBatch, sharedSize, unpackBatch } from "../../src/io/shared-batch.js";

const row = fc.record({
  address: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  length: fc.integer({ min: 1, max: 24 }),
  whole: fc.constantFrom(0, 0, 0, 3, 0x3fffffff),
  holes: fc.array(
    fc.record({ start: fc.nat(24), length: fc.nat(12), fault: fc.integer({ min: 1, max: 9 }) }),
    {
      maxLength: 4,
    },
  ),
});

it("any rows of any batch: bytes and faults arrive, and a hole's bytes stay as the caller had them", () => {
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 12 }),
      fc.constantFrom("read" as const, "write" as const, "exchange" as const),
      fc.nat(12),
      fc.nat(12),
      (rows, direction, a, b) => {
        const from = Math.min(a, b) % rows.length;
        const to = Math.min(rows.length, Math.max(from + 1, a, b));
        const batch = new Batch();
        batch.reset(direction, rows.length);
        batch.length = rows.length;
        rows.forEach(({ address, length }, i) => {
          batch.addresses[i] = address;
          batch.lengths[i] = length;
          batch.offsets[i] = 3;
          batch.status[i] = -1;
          batch.memory[i] = new Uint8Array(40).fill(0x40 + i);
        });
        // As after other messages: full of what is nobody's business here.
        const buffer = new SharedArrayBuffer(sharedSize(batch, from, to));
        new Uint8Array(buffer).fill(0x99);
        const header = packBatch(batch, from, to, buffer);
        const theirs = openShared(header);
        expect([theirs.length, theirs.direction]).toEqual([to - from, direction]);
        for (let i = 0; i < theirs.length; i++) {
          const { address, length, whole, holes } = rows[from + i] as (typeof rows)[number];
          expect([theirs.addresses[i], theirs.bytes(i).length]).toEqual([address, length]);
          if (direction !== "read") {
            expect([...theirs.bytes(i)]).toEqual(new Array(length).fill(0x40 + from + i));
          }
          if (direction !== "write") theirs.bytes(i).fill(0x80 + from + i);
          theirs.done(i);
          for (const hole of holes) {
            theirs.failRange(i, hole.start, Math.min(length, hole.start + hole.length), hole.fault);
          }
          if (whole !== 0) theirs.fail(i, whole);
        }
        answerShared(header, theirs);
        unpackBatch(header, batch, from);
        rows.forEach(({ length, whole, holes }, i) => {
          const mine = batch.memory[i] as Uint8Array;
          if (i < from || i >= to) {
            expect([batch.status[i], ...new Set(mine)]).toEqual([-1, 0x40 + i]);
            return;
          }
          const failed = batch.faults.filter((each) => each.row === i);
          for (let at = 0; at < 40; at++) {
            const inside = at >= 3 && at < 3 + length;
            const bad =
              whole !== 0 ||
              holes.some(
                (hole) => at - 3 >= hole.start && at - 3 < Math.min(length, hole.start + hole.length),
              );
            const moved = inside && !bad && direction !== "write";
            expect(mine[at]).toBe((moved ? 0x80 : 0x40) + i);
            if (!inside) continue;
            const told =
              (batch.status[i] as number) > 0 ||
              failed.some(({ start, end }) => at - 3 >= start && at - 3 < end);
            expect(told).toBe(bad);
          }
          if (whole !== 0) expect(batch.status[i]).toBe(whole);
        });
      },
    ),
  );
});

it("more faults than a message holds cost precision, and nothing else", () => {
  const batch = new Batch();
  batch.reset("read", 2);
  batch.length = 2;
  for (let i = 0; i < 2; i++) {
    batch.lengths[i] = 10_000;
    batch.offsets[i] = 0;
    batch.memory[i] = new Uint8Array(10_000);
  }
  const header = packBatch(batch, 0, 2, new SharedArrayBuffer(sharedSize(batch, 0, 2)));
  const theirs = openShared(header);
  theirs.bytes(0).fill(1);
  theirs.bytes(1).fill(1);
  theirs.failRange(0, 4, 6, 7);
  for (let i = 0; i < 5000; i++) theirs.failRange(1, 2 * i, 2 * i + 1, 7);
  answerShared(header, theirs);
  unpackBatch(header, batch, 0);
  expect(batch.faults).toEqual([{ row: 0, start: 4, end: 6, fault: 7 }]);
  expect(batch.memory[0]?.subarray(0, 8)).toEqual(Uint8Array.of(1, 1, 1, 1, 0, 0, 1, 1));
  expect([batch.status[1], batch.memory[1]?.indexOf(1)]).toEqual([7, -1]);
});
