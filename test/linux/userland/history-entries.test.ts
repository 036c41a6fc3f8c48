import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findHistory, type HeapBlock } from "../../../src/linux/userland/history-entries.js";

type PointerSize = 4 | 8;

interface Command {
  readonly line: string;
  readonly time: number;
}

/** A heap as bash lays one out, at an address. */
class Heap {
  readonly bytes: Buffer;
  readonly base: number;
  readonly #size: PointerSize;
  #next = 64;

  constructor(size: PointerSize, bytes = 1 << 14) {
    this.bytes = Buffer.alloc(bytes);
    this.base = size === 8 ? 0x5555_5555_6000 : 0x5655_6000;
    this.#size = size;
  }

  get blocks(): HeapBlock[] {
    return [{ address: BigInt(this.base), bytes: this.bytes }];
  }

  text(text: string): number {
    const at = this.#next;
    const length = this.bytes.write(text, at) + 1;
    this.#next += (length + 15) & ~15;
    return this.base + at;
  }

  words(...values: number[]): number {
    const at = this.#next;
    for (const [i, value] of values.entries()) {
      const to = at + i * this.#size;
      if (this.#size === 8) this.bytes.writeBigUInt64LE(BigInt(value), to);
      else this.bytes.writeUInt32LE(value, to);
    }
    this.#next += (values.length * this.#size + 15) & ~15;
    return this.base + at;
  }

  entry({ line, time }: Command): number {
    const text = this.text(line);
    return this.words(text, this.text(`#${time}`), 0);
  }

  history(commands: readonly Command[]): number[] {
    const entries = commands.map((command) => this.entry(command));
    this.words(...entries, 0);
    return entries;
  }
}

const sizes = fc.constantFrom<PointerSize>(4, 8);
const lineOf = fc
  .string({ minLength: 1, maxLength: 30, unit: "grapheme" })
  .filter((line) => !/[\0\ufffd]/.test(line));
const commandsOf = fc.array(
  fc.record({ line: lineOf, time: fc.integer({ min: 1_000_000_000, max: 1_000_000_005 }) }),
  { minLength: 1, maxLength: 12 },
);

test("every command of a heap is found, by time and then in the order of the list", () => {
  fc.assert(
    fc.property(sizes, commandsOf, (size, commands) => {
      const heap = new Heap(size);
      heap.history(commands);
      const expected = commands
        .map(({ line, time }, index) => ({ line, time, index, partial: false }))
        .sort((a, b) => a.time - b.time || a.index - b.index);
      const found = findHistory(heap.blocks, size);
      expect(found.map(({ address: _, ...entry }) => entry)).toEqual(expected);
    }),
  );
});

test("what hostile memory makes of entries ends, and is bounded", () => {
  fc.assert(
    fc.property(sizes, fc.array(fc.nat(255)), fc.uint8Array({ maxLength: 4000 }), (size, picks, noise) => {
      const heap = new Heap(size, 1 << 13);
      // Pointers to one time and one line, again and again, with noise between.
      const line = heap.text("a line without end");
      const stamp = heap.text("#1700000000");
      for (const pick of picks) heap.words(pick % 3 === 0 ? stamp : line, pick % 5 === 0 ? line : stamp);
      heap.bytes.set(noise, heap.bytes.length - noise.length);
      for (const { line: text } of findHistory(heap.blocks, size)) expect(text.length).toBeLessThan(1 << 17);
    }),
  );
});

test("more times than any shell has are looked at up to a number, which is told", () => {
  // 64 MiB of them, side by side; the first entry is in front of all, and one of the last leads to the last.
  const bytes = Buffer.alloc(1 << 26);
  const base = 0x5555_5555_6000;
  const stamp = Buffer.from("#123456789\0");
  for (let at = 64; at + stamp.length < bytes.length - 64; at += stamp.length) stamp.copy(bytes, at);
  bytes.writeBigUInt64LE(BigInt(base + 65), 0);
  bytes.writeBigUInt64LE(BigInt(base + 64), 8);
  const cuts: string[] = [];
  const found = findHistory([{ address: BigInt(base), bytes }], 8, (_, what) => cuts.push(what));
  expect(found).toMatchObject([{ line: "123456789", time: 123_456_789 }]);
  expect(cuts).toEqual([expect.stringMatching(/^more than 524288 times/)]);
});

test("more entries than any shell has are given up to a number, which is told", () => {
  const heap = new Heap(4, 1 << 23);
  const line = heap.text("l");
  const stamp = heap.text("#1700000000");
  const first = heap.words(line, stamp) - heap.base;
  for (let at = first; at + 8 <= heap.bytes.length; at += 8)
    heap.bytes.copy(heap.bytes, at, first, first + 8);
  const cuts: [bigint, string][] = [];
  const found = findHistory(heap.blocks, 4, (...cut) => cuts.push(cut));
  expect(found).toHaveLength(1 << 19);
  expect(cuts).toEqual([
    [BigInt(heap.base + first + 8 * (1 << 19)), "more than 524288 commands: the rest is left out"],
  ]);
});

test("entries that all lead to one long line are not all given, which is told", () => {
  const heap = new Heap(8, 1 << 22);
  const line = heap.text("x".repeat(1 << 16));
  const stamp = heap.text("#1700000000");
  for (let i = 0; i < 10_000; i++) heap.words(line, stamp, 0);
  const cuts: string[] = [];
  const found = findHistory(heap.blocks, 8, (_, what) => cuts.push(what));
  const total = found.reduce((sum, each) => sum + each.line.length, 0);
  expect(total).toBeLessThanOrEqual((1 << 24) + (1 << 16));
  expect(cuts).toEqual([expect.stringMatching(/^commands of more than 16 million characters/)]);
});

describe("an entry", () => {
  const command = { line: "make world", time: 1_700_000_000 };

  test("that is on no list has no place in one", () => {
    const heap = new Heap(8);
    heap.history([
      { line: "one", time: 1_700_000_001 },
      { line: "two", time: 1_700_000_002 },
    ]);
    heap.entry(command);
    expect(findHistory(heap.blocks, 8).map(({ line, index }) => [line, index])).toEqual([
      ["make world", undefined],
      ["one", 0],
      ["two", 1],
    ]);
  });

  test("whose line ends in missing memory is partial", () => {
    const heap = new Heap(8);
    const stamp = heap.text("#1700000000");
    const line = heap.base + heap.bytes.length - 4;
    heap.bytes.write("make", heap.bytes.length - 4);
    heap.words(line, stamp, 0);
    expect(findHistory(heap.blocks, 8)).toMatchObject([{ line: "make", partial: true }]);
  });

  test.each([
    ["to memory that is not there", (heap: Heap) => heap.base - 4096],
    ["to nothing", () => 0],
    ["to an empty text", (heap: Heap) => heap.text("")],
  ])("whose line leads %s is none", (_, line) => {
    const heap = new Heap(8);
    heap.words(line(heap), heap.text("#1700000000"), 0);
    expect(findHistory(heap.blocks, 8)).toEqual([]);
  });

  test.each(["#17000", "#17000000001", "#170000000x", "1700000000"])("with the time %s is none", (text) => {
    const heap = new Heap(8);
    heap.words(heap.text("make"), heap.text(text), 0);
    expect(findHistory(heap.blocks, 8)).toEqual([]);
  });

  test("has its line in another block than its time", () => {
    const heap = new Heap(4);
    const other = { address: BigInt(heap.base + heap.bytes.length + 4096), bytes: Buffer.from("make\0") };
    heap.words(Number(other.address), heap.text("#1700000000"), 0);
    expect(findHistory([...heap.blocks, other], 4).map(({ line }) => line)).toEqual(["make"]);
  });
});
