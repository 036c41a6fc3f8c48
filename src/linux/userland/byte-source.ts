/** Bytes that an ELF image or file is read from; what is not there is a hole. */
import { hole } from "../../io/errors.js";
import { type Hole, OUTSIDE, type Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";

/** Bytes, and which of them are missing. */
export interface SourceBytes {
  readonly bytes: Uint8Array;
  /** Ascending. */
  readonly holes: readonly Hole[];
}

/**
 * Where bytes come from: the memory of a process, by its addresses, or a file as far as it is there (`ElfBytes`), by offsets. A read
 * gives as many bytes as were asked for.
 */
export interface ByteSource {
  read(at: bigint, length: number): Routine<SourceBytes>;
}

/** A file by its offsets: out of an image in memory, or out of the kernel's cache of files. */
export type ElfBytes = ByteSource;

/** The memory of a process. */
export class MemoryBytes implements ByteSource {
  readonly #memory: AddressSpace;

  constructor(memory: AddressSpace) {
    this.#memory = memory;
  }

  *read(address: bigint, length: number): Routine<SourceBytes> {
    const at = BigInt.asUintN(64, address);
    const left = (1n << 64n) - at;
    if (BigInt(length) <= left) return yield* this.#memory.readPartial(at, length);
    const bytes = new Uint8Array(length);
    const { holes } = yield* this.#memory.readPartial(at, bytes.subarray(0, Number(left)));
    return { bytes, holes: [...holes, hole(Number(left), length, OUTSIDE)] };
  }
}

/** What is cached of a file. */
export class CachedBytes implements ByteSource {
  readonly #file: AddressSpace<number>;

  constructor(file: AddressSpace<number>) {
    this.#file = file;
  }

  *read(at: bigint, length: number): Routine<SourceBytes> {
    if (at + BigInt(length) <= BigInt(Number.MAX_SAFE_INTEGER)) {
      return yield* this.#file.readPartial(Number(at), length);
    }
    return { bytes: new Uint8Array(length), holes: [hole(0, length, OUTSIDE)] };
  }
}

/** One source, and another for what is missing in it. */
export class EitherBytes implements ByteSource {
  readonly #first: ByteSource;
  readonly #second: ByteSource;

  constructor(first: ByteSource, second: ByteSource) {
    this.#first = first;
    this.#second = second;
  }

  *read(at: bigint, length: number): Routine<SourceBytes> {
    const { bytes, holes } = yield* this.#first.read(at, length);
    const left: Hole[] = [];
    for (const { start, end } of holes) {
      const more = yield* this.#second.read(at + BigInt(start), end - start);
      bytes.set(more.bytes, start);
      for (const each of more.holes) left.push(hole(start + each.start, start + each.end, each.fault));
    }
    return { bytes, holes: left };
  }
}

/** One page, and nothing around it. */
export class PageBytes implements ByteSource {
  readonly #page: Uint8Array;

  constructor(page: Uint8Array) {
    this.#page = page;
  }

  // biome-ignore lint/correctness/useYield: a source may have to wait; this one has all that it has
  *read(at: bigint, length: number): Routine<SourceBytes> {
    const bytes = new Uint8Array(length);
    const from =
      at < BigInt(this.#page.length)
        ? this.#page.subarray(Number(at), Number(at) + length)
        : bytes.subarray(0, 0);
    bytes.set(from);
    return { bytes, holes: from.length < length ? [hole(from.length, length, OUTSIDE)] : [] };
  }
}

/** Bytes of a table that are read at once. */
const CHUNK = 1 << 18;

/** Bytes of a table that are read at most: a page that is mapped again and again makes a table of any length. */
const MAX_TABLE = 1 << 28;

/**
 * Reads a table of a length that the input claims: chunk by chunk, up to the first one of which nothing is there, so that its memory is
 * that of what is there; 256 MiB at most.
 *
 * @returns at most `length` bytes; those behind them are missing.
 */
export function* readTable(source: ByteSource, at: bigint, length: number): Routine<SourceBytes> {
  const parts: Uint8Array[] = [];
  const holes: Hole[] = [];
  let total = 0;
  const most = Math.min(length, MAX_TABLE);
  while (total < most) {
    const want = Math.min(CHUNK, most - total);
    const read = yield* source.read(BigInt.asUintN(64, at + BigInt(total)), want);
    const missing = read.holes.reduce((sum, each) => sum + each.end - each.start, 0);
    if (missing === want) break;
    for (const each of read.holes) holes.push(hole(total + each.start, total + each.end, each.fault));
    parts.push(read.bytes);
    total += want;
  }
  if (parts.length === 1) return { bytes: parts[0] as Uint8Array, holes };
  const bytes = new Uint8Array(total);
  let next = 0;
  for (const part of parts) {
    bytes.set(part, next);
    next += part.length;
  }
  return { bytes, holes };
}

/** Whether all bytes from `start` to `end` (exclusive) are there. */
export function isWhole({ bytes, holes }: SourceBytes, start: number, end: number): boolean {
  if (start < 0 || end > bytes.length || start > end) return false;
  // The first hole that ends behind `start`.
  let low = 0;
  let high = holes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((holes[middle] as Hole).end <= start) low = middle + 1;
    else high = middle;
  }
  const next = holes[low];
  return next === undefined || next.start >= end || start === end;
}
