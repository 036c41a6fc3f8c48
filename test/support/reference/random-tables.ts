/**
 * Random memories full of tables of a format, and addresses worth asking for. All of it is plain data made by
 * fast-check, so that a counterexample shrinks to the few entries that matter.
 *
 * RAM lies in two places (`islands`), one of them high; a few frames of each are tables meant for a level, though
 * entries also lead to tables of other levels, to their own, to data, and outside. Indices come from few values, so that
 * walks go deep and tables are shared.
 */
import fc from "fast-check";
import { MemoryIo, type PacketIo, type Scheduler, SourceIo, withMapping } from "../../../src/io/index.js";
import { memorySource } from "../../suite/memory-source.js";
import { randomBits } from "../dummy-machine.js";
import type { ReadEntry, ReferenceLevel, ReferenceSpace } from "./format.js";
import type { TestedFormat } from "./formats.js";
import { extend, rangesOf } from "./walk.js";

/** Tables of each island; further frames hold data. */
const TABLES = 7;
const DATA = 2;
const FRAMES = TABLES + DATA;
/** What can be missing: whole blocks. */
const BLOCK = 512;
const PICKS = 6;

/** An entry to be written. */
interface RandomEntry {
  readonly table: number;
  readonly pick: number;
  /** `down`: a table, or a page at the last level. `odd`: the form of a page wherever it is, aligned or not. `junk`: any bits. */
  readonly kind: "down" | "large" | "absent" | "odd" | "junk";
  readonly target: number;
  /** Leads to a frame that is no table of the next level. */
  readonly astray: boolean;
  readonly generous: boolean;
  readonly free: bigint;
  /** A delicate bit to turn over, or none. */
  readonly flip: number | undefined;
}

/** A random memory of a format. */
export interface RandomTables {
  readonly entries: readonly RandomEntry[];
  /** Blocks that can't be read, by frame; -1: the whole frame. */
  readonly missing: readonly { readonly frame: number; readonly block: number }[];
  /** Where the roots lie in their frames, in steps of their alignment. */
  readonly rootSteps: number;
  /** Of two roots: which are there. */
  readonly halves: "both" | "lower" | "upper";
  readonly seed: number;
}

/** A value once in so many times, else nothing. */
function seldom<T>(value: fc.Arbitrary<T>, times: number): fc.Arbitrary<T | undefined> {
  return fc.oneof(
    { weight: times - 1, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: value as fc.Arbitrary<T | undefined> },
  );
}

/** Which of a table's entries ({@link indexOf}): the first few most often, so that whole paths come about. */
const pick = fc.oneof(
  { weight: 2, arbitrary: fc.nat({ max: 1 }) },
  { weight: 1, arbitrary: fc.nat({ max: PICKS - 1 }) },
);

const entry: fc.Arbitrary<RandomEntry> = fc.record({
  table: fc.nat({ max: 2 * TABLES - 1 }),
  pick,
  kind: fc.oneof(
    { weight: 14, arbitrary: fc.constant("down" as const) },
    { weight: 4, arbitrary: fc.constant("large" as const) },
    { weight: 2, arbitrary: fc.constant("absent" as const) },
    { weight: 2, arbitrary: fc.constant("odd" as const) },
    { weight: 1, arbitrary: fc.constant("junk" as const) },
  ),
  target: fc.nat({ max: 255 }),
  astray: fc.nat({ max: 9 }).map((n) => n === 9),
  generous: fc.nat({ max: 3 }).map((n) => n < 3),
  free: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  flip: seldom(fc.nat({ max: 255 }), 8),
});

/** A memory with nothing in it, for tests that fill it themselves. */
export const EMPTY_TABLES: RandomTables = {
  entries: [],
  missing: [],
  rootSteps: 0,
  halves: "both",
  seed: 1,
};

/** Memories: data that {@link buildTables} makes bytes of. */
export const randomTables: fc.Arbitrary<RandomTables> = fc.record({
  // About 80 slots in all: most memories fill the greater part of them.
  entries: fc.array(entry, { minLength: 0, maxLength: 140, size: "max" }),
  missing: fc.array(
    fc.record({ frame: fc.nat({ max: 2 * FRAMES - 1 }), block: fc.integer({ min: -1, max: 127 }) }),
    {
      maxLength: 3,
    },
  ),
  rootSteps: fc.nat({ max: 1000 }),
  halves: fc.oneof(
    { weight: 6, arbitrary: fc.constant("both" as const) },
    { weight: 1, arbitrary: fc.constantFrom("lower" as const, "upper" as const) },
  ),
  seed: fc.nat(),
});

/** Entries worth using of a table: its ends, its middle, and the first few. */
function indexOf({ high, low }: ReferenceLevel, pick: number): bigint {
  const count = 1n << BigInt(high - low + 1);
  const half = count / 2n;
  const choices = [0n, 1n, half - 1n, half, count - 1n, 2n];
  return (choices[pick % PICKS] as bigint) % count;
}

/** RAM in two islands, with what was made of it. */
export class RandomMachine {
  readonly bytes: Uint8Array;
  readonly format: TestedFormat;
  /** Physical addresses of the roots; `undefined` for a half that has none. */
  readonly roots: readonly (number | undefined)[];
  readonly space: ReferenceSpace;
  readonly #missing = new Set<number>();
  readonly #view: DataView;
  readonly #rootOffset: number;

  constructor(format: TestedFormat, tables: RandomTables) {
    this.format = format;
    const { frame, islands, parts, rootAlign } = format;
    this.bytes = new Uint8Array(2 * FRAMES * frame);
    this.#view = new DataView(this.bytes.buffer);
    const random = randomBits(tables.seed);
    for (const island of islands) {
      // Data are led to as tables now and then: most of it is absent as an entry of any format.
      for (let at = island + TABLES * frame; at < island + FRAMES * frame; at += 4) {
        this.#view.setUint32(this.offset(at), random() & (at % frame < 32 ? -1 : ~7), true);
      }
      for (let at = island + TABLES * frame; at < island + FRAMES * frame; at += 8) {
        const entry = this.#view.getBigUint64(this.offset(at), true);
        if (format.writer.isLookalike?.(entry) === true) this.#view.setBigUint64(this.offset(at), 0n, true);
      }
    }
    // Roots lie in the first frames of the low island: of short ones, anywhere in their frame.
    const rootOffset = (tables.rootSteps * rootAlign) % frame;
    this.#rootOffset = rootOffset;
    const absent = parts.length === 1 || tables.halves === "both" ? -1 : tables.halves === "lower" ? 1 : 0;
    this.roots = parts.map((_, i) => (i === absent ? undefined : this.frameAt(i) + rootOffset));
    this.space = {
      parts: parts.map((part, i) => {
        const root = this.roots[i];
        return { format: part, root: root === undefined ? undefined : BigInt(root) };
      }),
    };
    for (const wish of tables.entries) this.#write(wish);
    for (const { frame: lost, block } of tables.missing) {
      const start = this.frameAt(lost);
      for (let at = start; at < start + frame; at += BLOCK) {
        if (block === -1 || (block * BLOCK) % frame === at - start) this.#missing.add(at);
      }
    }
  }

  /** Physical address of a frame, counted through both islands. */
  frameAt(index: number): number {
    const { frame, islands } = this.format;
    const wrapped = index % (2 * FRAMES);
    return (islands[wrapped < FRAMES ? 0 : 1] as number) + (wrapped % FRAMES) * frame;
  }

  /** Tables: roots first, then those meant for the levels below, in turn through both islands. */
  #table(index: number): { at: number; tables: ReferenceLevel; entryBytes: 4 | 8 } {
    const { parts } = this.format;
    const root = parts[index];
    if (root !== undefined) {
      const tables = root.levels[0] as ReferenceLevel;
      return { at: this.frameAt(index) + this.#rootOffset, tables, entryBytes: root.entryBytes };
    }
    // Of two halves, the one with more levels says what the tables below the root look like.
    const [part] = [...parts].sort((a, b) => b.levels.length - a.levels.length);
    const below = part?.levels.slice(1) ?? [];
    const tables = below[index % below.length] as ReferenceLevel;
    const at = this.frameAt(index < TABLES ? index : index - TABLES + FRAMES);
    return { at, tables, entryBytes: part?.entryBytes ?? 8 };
  }

  #write(wish: RandomEntry): void {
    const { writer } = this.format;
    const { at, tables, entryBytes } = this.#table(wish.table);
    const { level } = tables;
    const value = this.#entry(wish, level);
    const flipped = wish.flip === undefined ? 0n : 1n << BigInt(this.#flip(wish.flip, writer.delicate));
    const written = BigInt.asUintN(8 * entryBytes, value ^ flipped);
    if (writer.isLookalike?.(written) === true) return;
    const address = at + Number(indexOf(tables, wish.pick)) * entryBytes;
    this.put(address, entryBytes, written);
  }

  #flip(n: number, delicate: readonly number[]): number {
    return n < 192 ? (delicate[n % delicate.length] as number) : n % 64;
  }

  #entry(wish: RandomEntry, level: number): bigint {
    const { writer } = this.format;
    const { free, generous } = wish;
    if (wish.kind === "junk") return free | ~writer.absentMask;
    if (wish.kind === "absent") return free & writer.absentMask;
    const table = wish.kind === "down" || (wish.kind === "large" && !writer.pageLevels.includes(level));
    if (table && level > 1) {
      return writer.table({ level, target: BigInt(this.#target(wish, level - 1)), free, generous });
    }
    // A frame of RAM, or one beyond it.
    const target = BigInt(this.frameAt(wish.target) + (wish.astray ? FRAMES * this.format.frame : 0));
    const size = 1n << BigInt(writer.sizeBits(level));
    const aligned = wish.kind === "odd" ? target : target - (target % size);
    return writer.page({ level, target: aligned, free, generous });
  }

  /** A table meant for a level, or any frame. */
  #target(wish: RandomEntry, level: number): number {
    if (wish.astray) return this.frameAt(wish.target % (2 * FRAMES + 1));
    const fitting: number[] = [];
    for (let i = this.format.parts.length; i < 2 * TABLES; i++) {
      const { at, tables } = this.#table(i);
      if (tables.level === level) fitting.push(at);
    }
    return fitting[wish.target % fitting.length] ?? this.frameAt(wish.target);
  }

  /** Puts an entry anywhere in RAM. */
  put(physical: number, entryBytes: 4 | 8, entry: bigint): void {
    const offset = this.offset(physical);
    if (entryBytes === 4) this.#view.setUint32(offset, Number(BigInt.asUintN(32, entry)), true);
    else this.#view.setBigUint64(offset, BigInt.asUintN(64, entry), true);
  }

  /** Where a byte of RAM is kept. */
  offset(physical: number): number {
    const { frame, islands } = this.format;
    const [low, high] = islands;
    const length = FRAMES * frame;
    if (physical >= low && physical < low + length) return physical - low;
    if (physical >= high && physical < high + length) return length + (physical - high);
    return -1;
  }

  /** The byte at a physical address, or the state of reading it. */
  byte(physical: bigint): number | string {
    const at = physical <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(physical) : -1;
    const offset = this.offset(at);
    if (offset < 0 || this.#missing.has(at - (at % BLOCK))) return "outside";
    return this.bytes[offset] as number;
  }

  /** For the reference walker. */
  reader(): ReadEntry {
    return (physical, bytes) => {
      if (typeof this.byte(physical) === "string") return "outside";
      const offset = this.offset(Number(physical));
      return bytes === 4 ? BigInt(this.#view.getUint32(offset, true)) : this.#view.getBigUint64(offset, true);
    };
  }

  #pieces() {
    const pieces: { start: number; size: number; target: number }[] = [];
    for (let frame = 0; frame < 2 * FRAMES; frame++) {
      for (let i = 0; i < this.format.frame; i += BLOCK) {
        const start = this.frameAt(frame) + i;
        if (this.#missing.has(start)) continue;
        const last = pieces[pieces.length - 1];
        if (last !== undefined && last.start + last.size === start) last.size += BLOCK;
        else pieces.push({ start, size: BLOCK, target: this.offset(start) });
      }
    }
    return pieces;
  }

  /** The RAM as a layer: in place, or a source that answers at once or `turns` microtasks late. */
  io(scheduler: Scheduler, turns?: number | "inline"): PacketIo<number> {
    if (turns === "inline") return withMapping(new MemoryIo(this.bytes, { scheduler }), this.#pieces());
    const gate = async () => {
      for (let i = 1; i < (turns ?? 0); i++) await null;
    };
    const source = memorySource(this.bytes, { mode: turns === undefined ? "sync" : "async", gate });
    return withMapping(new SourceIo(source, scheduler), this.#pieces());
  }
}

/** An address to ask for, before a format is known. */
export interface RandomAddress {
  readonly part: number;
  readonly picks: readonly number[];
  readonly offset: number;
  /** Bytes to go from there, over a boundary perhaps. */
  readonly step: number;
  /** A bit above those of the format to turn over: not canonical, or another half. */
  readonly wrong: number | undefined;
  /** Taken as it is instead. */
  readonly any: bigint | undefined;
}

export const randomAddress: fc.Arbitrary<RandomAddress> = fc.record({
  part: fc.nat({ max: 1 }),
  picks: fc.array(pick, { minLength: 5, maxLength: 5 }),
  offset: fc.oneof(fc.constant(0), fc.nat({ max: 65_535 })),
  step: fc.constantFrom(0, 0, 0, 0, -1, -8, 1, 4096),
  wrong: seldom(fc.nat({ max: 63 }), 12),
  any: seldom(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), 20),
});

/** The address in a format. */
export function addressIn(format: TestedFormat, address: RandomAddress): bigint {
  if (address.any !== undefined) return address.any;
  const part = format.parts[address.part % format.parts.length];
  if (part === undefined) throw new Error("a format without parts");
  let low = BigInt(address.offset % format.frame);
  part.levels.forEach((tables, i) => {
    low |= indexOf(tables, address.picks[i] as number) << BigInt(tables.low);
  });
  let va = BigInt.asUintN(64, extend(part, low) + BigInt(address.step));
  if (address.wrong !== undefined) {
    const above = (part.levels[0]?.high ?? 0) + 1;
    va ^= 1n << BigInt(above + (address.wrong % (64 - above)));
  }
  return va;
}

/** The first and last bytes of everything a format translates, and their neighbours. */
export function edgesOf(format: TestedFormat): bigint[] {
  const edges = format.parts
    .flatMap((part) => rangesOf(part))
    .flatMap(({ start, end }) => [start, end - 1n, end]);
  return [...edges, ...edges.map((edge) => edge - 1n)].map((edge) => BigInt.asUintN(64, edge));
}
