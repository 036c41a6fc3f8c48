/** Walks memory in big pieces that overlap, over memory that is used again: what every scanner of bytes stands on. */

import type { FaultState } from "../io/fault.js";
import type { Address } from "../io/packet-io.js";
import { readPartial } from "../io/requests.js";
import { IoSequence, type Sink } from "../io/sequence.js";
import type { Routine } from "../io/wait.js";
import type { AddressSpace } from "../memory/address-space.js";
import { type ScanRange, type ScanRanges, scanRanges } from "./scan-ranges.js";

/** Bytes read at a time: what the caches of a core hold is searched while it is there. */
export const SCAN_PIECE = 1 << 20;
/** An overlap beyond this is a mistake, or no bounded memory. */
export const MAX_OVERLAP = 1 << 26;

/** A range that could not be scanned, `end` exclusive, and why. */
export interface ScanHole {
  readonly start: bigint;
  readonly end: bigint;
  readonly state: FaultState;
}

/** Readable bytes side by side. Of meaning until the next part is asked for (or the memory given again): it is used again. */
export interface ScanPart {
  /** Of `bytes[0]`. */
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** What begins from here on was in no part before: 0, or as many bytes as are kept for looking back. */
  readonly from: number;
  /** What begins from here on (exclusive end) comes again in the next part, with more bytes behind it. */
  readonly until: number;
  /** Whether nothing readable lies right before `bytes[0]` (a hole, or the start of the range). */
  readonly isFirst: boolean;
  /** Whether nothing readable follows: `until` is then the end of the bytes. */
  readonly isLast: boolean;
}

/** Options of {@link scan}. */
export interface ScanOptions {
  /** Ascending, disjoint ranges to scan; default what is there: the map of physical memory, the mapped runs of a virtual one. */
  readonly ranges?: ScanRanges | undefined;
  /** Bytes that a match may need behind its first one: the longest match's length less one. Default 0, at most 64 MiB. */
  readonly overlap?: number | undefined;
  /** Bytes to keep before `from`, for looking back. Default 0, at most 64 MiB. */
  readonly before?: number | undefined;
  /** Bytes read at a time; default 1 MiB. */
  readonly piece?: number | undefined;
  /**
   * Memory to read into, of at least {@link scanMemorySize} bytes (WebAssembly's, say); default new. One pass at a time may use it.
   */
  readonly memory?: Uint8Array | undefined;
  /**
   * Memory for the next piece, instead: parts that are in use elsewhere stay as they are while the scan goes on. The same memory again
   * is fine. Each of at least {@link scanMemorySize} bytes.
   */
  readonly nextMemory?: (() => Uint8Array) | undefined;
  /** Is told of each range that could not be scanned, ascending, touching ones of one state as one. */
  readonly onHole?: ((hole: ScanHole) => void) | undefined;
  /** Is told up to where (exclusive) the scan has come, after each piece. */
  readonly onProgress?: ((address: bigint) => void) | undefined;
}

/** Bytes of memory that a scan needs. @throws {RangeError} for sizes that are none. */
export function scanMemorySize({ overlap = 0, before = 0, piece = SCAN_PIECE }: ScanOptions): number {
  for (const [name, size, least] of [
    ["overlap", overlap, 0],
    ["before", before, 0],
    ["piece", piece, 1],
  ] as const) {
    if (!(Number.isSafeInteger(size) && size >= least && size <= MAX_OVERLAP))
      throw new RangeError(`scan: ${name} of ${size} bytes: ${least} to ${MAX_OVERLAP}`);
  }
  return overlap + before + piece;
}

/**
 * Every readable byte of a space, ascending, as parts that never span a hole. A match of up to `overlap + 1` bytes is whole in
 * exactly one part in which it begins at `from` to `until` (exclusive), whatever pages, fragments or pieces it straddles.
 *
 * Memory: `piece + overlap + before` bytes, whatever is scanned.
 *
 * @throws {RangeError} for sizes and memory that can't be.
 */
export function scan(
  space: AddressSpace<Address> | AddressSpace<number>,
  options: ScanOptions = {},
): IoSequence<ScanPart> {
  const size = scanMemorySize(options);
  if (options.memory !== undefined && options.memory.length < size)
    throw new RangeError(`scan: ${options.memory.length} bytes of memory, ${size} needed`);
  return IoSequence.of(space.scheduler, scanRoutine, space as AddressSpace<Address>, options);
}

/** The routine of {@link scan}. */
export function* scanRoutine(
  sink: Sink<ScanPart>,
  space: AddressSpace<Address>,
  options: ScanOptions,
): Routine<void> {
  const { overlap = 0, before = 0, piece = SCAN_PIECE } = options;
  let memory = options.nextMemory?.() ?? options.memory ?? new Uint8Array(scanMemorySize(options));
  const holes = new Holes(options.onHole);
  const run = new Run(memory, overlap, before);
  const ranges = scanRanges(space, options.ranges).cursor();
  try {
    for (;;) {
      const next = yield* ranges.next();
      if (next.done === true) break;
      const { start, end, state } = next.value as ScanRange;
      if (state !== undefined) {
        holes.add(start, end, state);
        continue;
      }
      if (run.end !== start) {
        const rest = run.close();
        if (rest !== undefined) yield sink.emit(rest);
      }
      for (let at = start; at < end; ) {
        // Later pieces begin at multiples of the piece, so that pages and compressed blocks are read whole.
        const room = piece - Number(at % BigInt(piece));
        const left = end - at;
        const length = left < BigInt(room) ? Number(left) : room;
        const target = memory.subarray(run.base, run.base + length);
        const { good, holes: missing } = yield* readPartial(space, space.addressOf(at).param, target);
        for (const { start: from, end: to, state: why } of missing)
          holes.add(at + BigInt(from), at + BigInt(to), why);
        for (const { start: from, end: to } of good) {
          if (run.end !== at + BigInt(from)) {
            const rest = run.close();
            if (rest !== undefined) yield sink.emit(rest);
          }
          const part = run.add(at + BigInt(from), from, to);
          if (part !== undefined) yield sink.emit(part);
        }
        memory = options.nextMemory?.() ?? memory;
        run.keep(memory);
        at += BigInt(length);
        options.onProgress?.(at);
      }
    }
    const rest = run.close();
    if (rest !== undefined) yield sink.emit(rest);
    holes.flush();
  } finally {
    yield* ranges.end();
  }
}

/** The readable bytes side by side that the scan is in. Pieces are read to `base`; what is carried over lies right before. */
class Run {
  readonly base: number;
  #memory: Uint8Array;
  readonly #overlap: number;
  readonly #before: number;
  /** Where the run's bytes that are at hand begin and end in memory; empty: no run. */
  #start = 0;
  #stop = 0;
  /** What begins before this place was told of. */
  #told = 0;
  #isFirst = true;
  /** Address behind the last byte; `undefined` if there is no run. */
  end: bigint | undefined;

  constructor(memory: Uint8Array, overlap: number, before: number) {
    this.#memory = memory;
    this.#overlap = overlap;
    this.#before = before;
    this.base = overlap + before;
  }

  /** Bytes `from` to `to` of the piece, at `address`: they go on with the run, or begin one. */
  add(address: bigint, from: number, to: number): ScanPart | undefined {
    if (this.end === undefined) {
      this.#start = this.base + from;
      this.#told = this.#start;
      this.#isFirst = true;
    }
    this.#stop = this.base + to;
    this.end = address + BigInt(to - from);
    return this.#part(Math.max(this.#told, this.#stop - this.#overlap), false);
  }

  /** A hole follows: what was held back. */
  close(): ScanPart | undefined {
    if (this.end === undefined) return undefined;
    const part = this.#part(this.#stop, true);
    this.end = undefined;
    return part;
  }

  /** Makes room for the next piece, which is read into `memory`: moves what is needed of this one before it. */
  keep(memory: Uint8Array): void {
    const from = this.#memory;
    this.#memory = memory;
    if (this.end === undefined) return;
    const start = Math.max(this.#start, this.#told - this.#before);
    if (start > this.#start) this.#isFirst = false;
    const moved = this.base - this.#stop;
    if (memory === from) memory.copyWithin(start + moved, start, this.#stop);
    else memory.set(from.subarray(start, this.#stop), start + moved);
    this.#start = start + moved;
    this.#told += moved;
    this.#stop = this.base;
  }

  #part(until: number, isLast: boolean): ScanPart | undefined {
    // The last part is given also if nothing new begins in it: its end is news to who follows a run.
    if (until === this.#told && !isLast) return undefined;
    const start = Math.max(this.#start, this.#told - this.#before);
    const part = {
      address: (this.end as bigint) - BigInt(this.#stop - start),
      bytes: this.#memory.subarray(start, this.#stop),
      from: this.#told - start,
      until: until - start,
      isFirst: this.#isFirst && start === this.#start,
      isLast,
    };
    this.#told = until;
    return part;
  }
}

/** Joins holes that touch and have one state. */
class Holes {
  readonly #tell: ((hole: ScanHole) => void) | undefined;
  #last: ScanHole | undefined;

  constructor(tell: ((hole: ScanHole) => void) | undefined) {
    this.#tell = tell;
  }

  add(start: bigint, end: bigint, state: FaultState): void {
    const last = this.#last;
    if (last !== undefined && last.end === start && last.state === state) {
      this.#last = { start: last.start, end, state };
      return;
    }
    this.flush();
    this.#last = { start, end, state };
  }

  flush(): void {
    if (this.#last !== undefined) this.#tell?.(this.#last);
    this.#last = undefined;
  }
}
