/** Matchers over a part that lies in a WebAssembly memory: see `find-code.ts`. They find what the plain ones do. */
import type { Wasm } from "../wasm/platform.js";
import {
  type FinderMemory,
  type FindLiteral,
  type FindRange,
  literalFinder,
  rangeFinder,
} from "./find-code.js";
import { type Matcher, type MatcherHost, matcherOf, tellingBytes } from "./matchers.js";
import type { CompiledPattern, Literal, PointerRange } from "./patterns.js";
import type { ScanPart } from "./scan.js";

/** Bytes of a vector. */
const VECTOR = 16;

const padded = (length: number) => Math.ceil(length / VECTOR) * VECTOR;

/** Bytes that a pattern needs beside the parts: a literal's bytes and masks, a range's bounds. */
function tableSize(pattern: CompiledPattern): number {
  if (pattern.kind === "literal") return 2 * padded(pattern.values.length);
  return pattern.kind === "pointer" ? VECTOR : 0;
}

/** Bytes that {@link wasmMatchers} writes at the beginning of the memory. */
export function tablesSize(patterns: readonly CompiledPattern[]): number {
  return patterns.reduce((sum, pattern) => sum + tableSize(pattern), 0);
}

/** Matchers of parts that lie in the memory, behind the tables. @throws where the host has no vector instructions. */
export function wasmMatchers(
  patterns: readonly CompiledPattern[],
  wasm: Wasm,
  memory: FinderMemory,
  host: MatcherHost,
): Matcher[] {
  let at = 0;
  return patterns.map((pattern) => {
    const table = at;
    at += tableSize(pattern);
    if (pattern.kind === "literal") return new WasmLiteral(wasm, memory, table, pattern);
    return pattern.kind === "pointer"
      ? new WasmRange(wasm, memory, table, pattern)
      : matcherOf(pattern, host);
  });
}

/** What makes a place in the memory a multiple of `align` where the address there is one. */
function phaseOf({ address, bytes }: ScanPart, align: number): number {
  return (Number(address % BigInt(align)) + align - (bytes.byteOffset % align)) % align;
}

class WasmLiteral implements Matcher {
  readonly length: number;
  readonly #find: FindLiteral;
  readonly #table: number;
  readonly #align: number;
  readonly #first: number;
  readonly #second: number;
  readonly #firstByte: number;
  readonly #secondByte: number;
  #base = 0;
  #end = 0;
  #phase = 0;

  constructor(wasm: Wasm, memory: FinderMemory, table: number, literal: Literal) {
    const { values, masks, align } = literal;
    this.length = values.length;
    this.#table = table;
    this.#align = align;
    const { buffer } = memory.memory;
    new Uint8Array(buffer, table).set(values);
    new Uint8Array(buffer, table + padded(values.length)).set(masks);
    const [first, second] = tellingBytes(literal);
    this.#first = first;
    this.#second = second;
    const byte = (at: number) => (values[at] as number) | ((masks[at] as number) << 8);
    this.#firstByte = byte(first);
    this.#secondByte = byte(second);
    const masked = masks[first] !== 255 || masks[second] !== 255;
    this.#find = literalFinder(wasm, memory, { masked, single: first === second });
  }

  reset(): void {}

  begin(part: ScanPart): void {
    const { bytes, until } = part;
    this.#base = bytes.byteOffset;
    this.#end = this.#base + Math.min(until, bytes.length - this.length + 1);
    this.#phase = phaseOf(part, this.#align);
  }

  next(at: number): number {
    const from = this.#base + at;
    if (from >= this.#end) return -1;
    const place = this.#find(
      from,
      this.#end,
      this.#table,
      padded(this.length),
      this.#first,
      this.#second,
      this.#firstByte,
      this.#secondByte,
      this.#align,
      this.#phase,
    );
    return place < 0 ? -1 : place - this.#base;
  }
}

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b));

class WasmRange implements Matcher {
  readonly length: number;
  readonly #find: FindRange;
  readonly #table: number;
  /** What the code checks: 1 if all places that it looks at are aligned. */
  readonly #align: number;
  /** Aligned places are at multiples of this, and it divides the size. */
  readonly #step: number;
  /** Of each row of whole words that places fall into, the next hit: -1 none, -2 not looked for. */
  readonly #places: number[];
  #base = 0;
  #end = 0;
  #phase = 0;
  #stepPhase = 0;

  constructor(wasm: Wasm, memory: FinderMemory, table: number, pattern: PointerRange) {
    const { size, littleEndian, align, start, end } = pattern;
    this.length = size;
    this.#table = table;
    this.#step = greatestDivisor(align, size);
    this.#align = this.#step === align ? 1 : align;
    const rows = size / this.#step;
    const most = (1n << BigInt(8 * size)) - 1n;
    this.#places = start > most ? [] : new Array<number>(rows).fill(-2);
    const bounds = new DataView(memory.memory.buffer, table, VECTOR);
    bounds.setBigUint64(0, start, true);
    bounds.setBigUint64(8, (end - 1n < most ? end - 1n : most) - start, true);
    this.#find = rangeFinder(wasm, memory, size, littleEndian);
  }

  reset(): void {}

  begin(part: ScanPart): void {
    const { bytes, until } = part;
    this.#base = bytes.byteOffset;
    this.#end = this.#base + Math.min(until, bytes.length - this.length + 1);
    this.#phase = phaseOf(part, this.#align);
    this.#stepPhase = phaseOf(part, this.#step);
    this.#places.fill(-2);
  }

  next(at: number): number {
    const from = this.#base + at;
    const places = this.#places;
    let first = -1;
    for (let row = 0; row < places.length; row++) {
      if (places[row] === -2 || (places[row] !== -1 && (places[row] as number) < from))
        places[row] = this.#findIn(row, from);
      const place = places[row] as number;
      if (place >= 0 && (first < 0 || place < first)) first = place;
    }
    return first < 0 ? -1 : first - this.#base;
  }

  /** The first hit at `from` or behind whose place is that of the row, modulo the size. */
  #findIn(row: number, from: number): number {
    const size = this.length;
    const over = (from + this.#stepPhase - row * this.#step) % size;
    const start = over === 0 ? from : from + ((size - over) % size);
    return start >= this.#end ? -1 : this.#find(start, this.#end, this.#table, this.#align, this.#phase);
  }
}
