import { expect, it } from "vitest";
import { adjacentEnd, readAdjacent } from "../../connectors/adjacent-rows.js";
import { Batch, ROW_UNANSWERED } from "../../src/io/batch.hot.js";

const PAGE = 4096;
const LIMIT = 2 ** 30;

/** Rows `[address, length]`; nobody touches the memory. */
function batchOf(rows: readonly (readonly [number, number])[]): Batch {
  const batch = new Batch();
  batch.reset("read", rows.length);
  const memory = new Uint8Array(0);
  for (const [address, length] of rows)
    batch.push(address >>> 0, Math.floor(address / 2 ** 32), memory, 0, length);
  return batch;
}

const endOf = (rows: readonly (readonly [number, number])[], limit = LIMIT) =>
  adjacentEnd(batchOf(rows), 0, limit);

it("rows belong together that are no shorter than a page, and begin where the one before ends", () => {
  const high = 2 ** 32 - 2 * PAGE;
  const side: [number, number][] = [
    [high, 2 * PAGE],
    [high + 2 * PAGE, PAGE],
    [high + 3 * PAGE, 5 * PAGE],
  ];
  expect(endOf(side)).toBe(3);
  expect(endOf([...side, [high + 8 * PAGE, PAGE - 1]])).toBe(3);
  expect(endOf([...side, [high + 8 * PAGE + 1, PAGE]])).toBe(3);
  expect(endOf([...side, [high + 8 * PAGE - 1, PAGE]])).toBe(3);
  expect(endOf([...side, [high + 8 * PAGE + 2 ** 32, PAGE]])).toBe(3);
  expect(endOf([[0, PAGE - 1], ...side])).toBe(1);
  expect(endOf([[0, PAGE]])).toBe(1);
});

it("one call has at most 1,024 places, and as many bytes as it is told", () => {
  const rows = Array.from({ length: 3000 }, (_, i) => [i * PAGE, PAGE] as const);
  expect(endOf(rows)).toBe(1024);
  expect(adjacentEnd(batchOf(rows), 2500, LIMIT)).toBe(3000);
  expect(endOf(rows, 10 * PAGE)).toBe(10);
  expect(endOf(rows, 10 * PAGE - 1)).toBe(9);
  expect(endOf(rows, 100)).toBe(1);
});

it("one call reads them all, and what does not come whole is left without an answer", () => {
  const batch = batchOf([
    [PAGE, PAGE],
    [2 * PAGE, 2 * PAGE],
    [4 * PAGE, PAGE],
  ]);
  const memory = new Uint8Array(8 * PAGE);
  batch.memory.fill(memory);
  batch.offsets.set([6 * PAGE, PAGE, 4 * PAGE]);
  const calls: [number, number[]][] = [];
  const read = (bytes: number) =>
    readAdjacent(batch, 0, 3, (places, position) => {
      calls.push([position, places.flatMap((place) => [place.byteOffset, place.length])]);
      if (bytes < 0) throw new Error("EIO");
      return bytes;
    });
  read(-1);
  expect([...batch.status.subarray(0, 3)]).toEqual([ROW_UNANSWERED, ROW_UNANSWERED, ROW_UNANSWERED]);
  read(3 * PAGE - 1);
  expect([...batch.status.subarray(0, 3)]).toEqual([0, ROW_UNANSWERED, ROW_UNANSWERED]);
  read(4 * PAGE);
  expect([...batch.status.subarray(0, 3)]).toEqual([0, 0, 0]);
  const call = [PAGE, [6 * PAGE, PAGE, PAGE, 2 * PAGE, 4 * PAGE, PAGE]];
  expect(calls).toEqual([call, call, call]);
});
