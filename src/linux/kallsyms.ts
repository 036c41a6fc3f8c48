/**
 * kallsyms: the kernel's own table of its symbols' names and addresses, read from its memory.
 *
 * Facts, in kernel/kallsyms.c (`get_symbol_offset`, `kallsyms_expand_symbol`, `kallsyms_sym_address`) and
 * scripts/kallsyms.c (`write_src`, `compress_symbols`, `compare_symbols`), which writes the tables:
 * - `kallsyms_num_syms`: u32 (since 4.20, 80ffbaa5b1bd; where it was 64 bits wide, its low half is the same).
 * - `kallsyms_names`: for each symbol a length, then that many bytes, each the number of a token. The length is one
 *   byte; since Linux 6.1 (73bbb94466fd), with its high bit set, seven low bits, and the next byte holds the rest.
 *   The first character of the expanded text is the type, the others are the name.
 * - `kallsyms_token_table`: 256 strings with their NULs; `kallsyms_token_index`: u16[256], where each begins.
 * - Addresses, in one of four forms:
 *   `kallsyms_offsets` (32 bits each) from `kallsyms_relative_base` (since 4.6, 2213e9a66bb8), unsigned;
 *   the same with CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86-64 until 6.14), where a negative entry n means
 *   base - 1 - n and any other is absolute (an offset into the per-CPU area);
 *   without a relative base (patch "kallsyms: Get rid of kallsyms relative base", 2026): signed, from the entry's own
 *   address; or `kallsyms_addresses`, 64 bits each (until 6.11, 64e166099b69).
 * VMCOREINFO names the tables since Linux 6.0 (5fd8fea935a1, f09bddbd8661).
 */
import {
  type Address,
  hex,
  Io,
  MemtoolError,
  type PacketIo,
  type Routine,
  readPartial,
} from "../io/index.js";
import { schedulerOf } from "../io/requests.js";
import { editDistance, matchesGlob } from "./names.js";
import type { KernelSymbol, NamedAddress } from "./symbol.js";

/** Virtual addresses of the tables, as VMCOREINFO's `SYMBOL(kallsyms_…)` give them. */
export interface KallsymsTables {
  readonly names: bigint;
  readonly numSyms: bigint;
  readonly tokenTable: bigint;
  readonly tokenIndex: bigint;
  readonly offsets?: bigint | undefined;
  readonly relativeBase?: bigint | undefined;
  readonly addresses?: bigint | undefined;
}

/** A part of kallsyms is absent, unreadable or nonsense. `part` is the kernel's name of the table. */
export class KallsymsError extends MemtoolError {
  readonly part: string;
  constructor(part: string, message: string, options?: { cause?: unknown }) {
    super("KALLSYMS", `${part}: ${message}`, options);
    this.part = part;
  }
}

/** More symbols than any kernel has (an allyesconfig has under a million): a count above it is not believed. */
const MAX_SYMBOLS = 1 << 22;
/** Longest name believed, in characters: `KSYM_NAME_LEN` is 512 since Linux 6.1 (b8a94bfb3395), 128 before. */
const MAX_NAME = 1024;
/** Longest table of names believed: sixteen bytes for each of the most symbols. Real ones have some twelve a symbol. */
const MAX_NAMES = 16 * MAX_SYMBOLS;
/** Tables are read in pieces of this size, so that nothing is allocated for what is not there. */
const PIECE = 64 * 1024;

/**
 * Finds the tables in VMCOREINFO's symbols.
 *
 * @throws {KallsymsError} naming the first that is missing.
 */
export function kallsymsTables(symbols: ReadonlyMap<string, bigint>): KallsymsTables {
  const need = (name: string): bigint => {
    const address = symbols.get(name);
    if (address === undefined) {
      throw new KallsymsError(
        name,
        "VMCOREINFO doesn't say where it is (Linux 6.0 and later built with CONFIG_KALLSYMS do); " +
          "use addresses, or the symbols that VMCOREINFO names",
      );
    }
    return address;
  };
  const addresses = symbols.get("kallsyms_addresses");
  return {
    names: need("kallsyms_names"),
    numSyms: need("kallsyms_num_syms"),
    tokenTable: need("kallsyms_token_table"),
    tokenIndex: need("kallsyms_token_index"),
    offsets: addresses === undefined ? need("kallsyms_offsets") : symbols.get("kallsyms_offsets"),
    relativeBase: symbols.get("kallsyms_relative_base"),
    addresses,
  };
}

/**
 * Reads and checks the tables. Names stay compressed; one pass finds where each begins.
 *
 * @param io    the kernel's virtual memory.
 * @param known symbols whose addresses are known otherwise (VMCOREINFO's): if the tables name any, one must agree.
 * @throws {KallsymsError} naming the part that is missing, unreadable or corrupt.
 */
export function readKallsyms(
  io: PacketIo<Address>,
  tables: KallsymsTables,
  known: ReadonlyMap<string, bigint> = new Map(),
): Io<Kallsyms> {
  return Io.of(schedulerOf(io), readRoutine, io, tables, known);
}

function* readRoutine(
  io: PacketIo<Address>,
  tables: KallsymsTables,
  known: ReadonlyMap<string, bigint>,
): Routine<Kallsyms> {
  const count = u32(yield* readTable(io, "kallsyms_num_syms", tables.numSyms, 4), 0);
  if (count === 0 || count > MAX_SYMBOLS) {
    throw new KallsymsError(
      "kallsyms_num_syms",
      `${count} symbols at ${hex(tables.numSyms)} can't be: expected 1 to ${MAX_SYMBOLS}`,
    );
  }
  const tokens = yield* readTokens(io, tables);
  const addresses = yield* readAddresses(io, tables, count);
  const names = yield* readNames(io, tables.names, count, tokens);
  const kallsyms = new Kallsyms(addresses, names, tokens);
  checkKnown(kallsyms, known);
  return kallsyms;
}

/**
 * Tables that decode, but not one known symbol is where it should be: another kernel's, or another layout. (One
 * that agrees is enough: some of VMCOREINFO's values, such as `mem_section`, are what a pointer holds.)
 */
function checkKnown(kallsyms: Kallsyms, known: ReadonlyMap<string, bigint>): void {
  let other: KernelSymbol | undefined;
  for (const [name, address] of known) {
    const found = kallsyms.symbol(name);
    if (found.some((symbol) => symbol.address === address)) return;
    other ??= found[0];
  }
  if (other === undefined) return;
  throw new KallsymsError(
    "kallsyms_offsets",
    `${other.name} is at ${hex(other.address)} there, but VMCOREINFO says ${hex(known.get(other.name) ?? 0)}: ` +
      "the tables are damaged, or have a layout that is not known yet",
  );
}

/** Reads `length` bytes of a table, piece by piece. @throws {KallsymsError} at the first piece with a hole. */
function* readTable(io: PacketIo<Address>, part: string, start: bigint, length: number): Routine<Uint8Array> {
  let bytes = new Uint8Array(Math.min(length, PIECE));
  for (let at = 0; at < length; at += PIECE) {
    const size = Math.min(PIECE, length - at);
    if (at + size > bytes.length) {
      const larger = new Uint8Array(Math.min(length, 2 * bytes.length));
      larger.set(bytes);
      bytes = larger;
    }
    const { holes } = yield* readPartial(
      io,
      BigInt.asUintN(64, start + BigInt(at)),
      bytes.subarray(at, at + size),
    );
    const hole = holes[0];
    if (hole !== undefined) {
      throw new KallsymsError(
        part,
        `can't be read at ${hex(start + BigInt(at + hole.start))} (${hole.state}); ` +
          "its page may be left out of the dump, or its address be wrong",
      );
    }
  }
  return bytes;
}

const TOKENS = 256;
/** Longest token believed; `scripts/kallsyms.c` builds them of pairs, real ones have at most some twenty characters. */
const MAX_TOKEN = 512;

function* readTokens(io: PacketIo<Address>, tables: KallsymsTables): Routine<readonly string[]> {
  const index = yield* readTable(io, "kallsyms_token_index", tables.tokenIndex, 2 * TOKENS);
  const starts = new Uint32Array(TOKENS);
  const tokens: string[] = [];
  let last = 0;
  for (let i = 0; i < TOKENS; i++) {
    starts[i] = (index[2 * i] as number) | ((index[2 * i + 1] as number) << 8);
    last = Math.max(last, starts[i] as number);
  }
  // The last token may end anywhere behind its beginning; what can't be read there is only needed if it doesn't.
  const size = last + MAX_TOKEN + 1;
  const { bytes, holes } = yield* readPartial(io, tables.tokenTable, new Uint8Array(size));
  const end = holes[0]?.start ?? size;
  for (let i = 0; i < TOKENS; i++) {
    const start = starts[i] as number;
    const nul = bytes.indexOf(0, start);
    if (start >= end || nul < 0 || nul >= end) {
      const hole = holes[0];
      const where = hex(tables.tokenTable + BigInt(start));
      throw new KallsymsError(
        "kallsyms_token_table",
        hole === undefined
          ? `token ${i} at ${where} has no end`
          : `can't be read at ${hex(tables.tokenTable + BigInt(hole.start))} (${hole.state}), which token ${i} needs`,
      );
    }
    if (nul - start > MAX_TOKEN) {
      throw new KallsymsError("kallsyms_token_table", `token ${i} has ${nul - start} characters`);
    }
    tokens.push(String.fromCharCode(...bytes.subarray(start, nul)));
  }
  return tokens;
}

function* readAddresses(
  io: PacketIo<Address>,
  tables: KallsymsTables,
  count: number,
): Routine<BigUint64Array> {
  if (tables.addresses !== undefined) {
    const bytes = yield* readTable(io, "kallsyms_addresses", tables.addresses, count * 8);
    return new BigUint64Array(bytes.buffer, 0, count);
  }
  if (tables.offsets === undefined) {
    throw new KallsymsError("kallsyms_offsets", "no address of it is known");
  }
  const bytes = yield* readTable(io, "kallsyms_offsets", tables.offsets, count * 4);
  const offsets = new Int32Array(bytes.buffer, 0, count);
  const addresses = new BigUint64Array(count);
  if (tables.relativeBase === undefined) {
    for (let i = 0; i < count; i++) {
      addresses[i] = tables.offsets + BigInt(4 * i) + BigInt(offsets[i] as number);
    }
    return addresses;
  }
  const baseBytes = yield* readTable(io, "kallsyms_relative_base", tables.relativeBase, 8);
  const base = new BigUint64Array(baseBytes.buffer, 0, 1)[0] as bigint;
  // Without per-CPU entries every offset is below 2 GiB, as the kernel's image is: a negative one tells the layout.
  const absolutePerCpu = offsets.some((offset) => offset < 0);
  for (let i = 0; i < count; i++) {
    const offset = offsets[i] as number;
    if (!absolutePerCpu) addresses[i] = base + BigInt(offset);
    else if (offset < 0) addresses[i] = base - 1n - BigInt(offset);
    else addresses[i] = BigInt(offset);
  }
  return addresses;
}

/** The compressed names and where each begins (at its first token). */
interface Names {
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
  readonly lengths: Uint16Array;
}

/** Reads as much of the names as `count` symbols take: how long the table is, only decoding it tells. */
function* readNames(
  io: PacketIo<Address>,
  start: bigint,
  count: number,
  tokens: readonly string[],
): Routine<Names> {
  const starts = new Uint32Array(count);
  const lengths = new Uint16Array(count);
  let bytes = new Uint8Array(PIECE);
  let filled = 0;
  let at = 0;
  for (let i = 0; i < count; ) {
    const parsed = parseName(bytes, at, filled);
    if (parsed !== 0) {
      const first = at + (parsed < 128 ? 1 : 2);
      checkName(bytes, first, first + parsed, tokens, i, start);
      starts[i] = first;
      lengths[i] = parsed;
      at = first + parsed;
      i++;
      continue;
    }
    if (filled === MAX_NAMES) {
      throw new KallsymsError(
        "kallsyms_names",
        `${i} of ${count} symbols took ${filled} bytes: not a table of names`,
      );
    }
    if (filled === bytes.length) {
      const larger = new Uint8Array(bytes.length * 2);
      larger.set(bytes);
      bytes = larger;
    }
    const size = Math.min(PIECE, bytes.length - filled);
    const { holes } = yield* readPartial(
      io,
      BigInt.asUintN(64, start + BigInt(filled)),
      bytes.subarray(filled, filled + size),
    );
    const hole = holes[0];
    // The last piece reaches behind the table, where a hole does no harm.
    if (hole !== undefined && hole.start === 0) {
      throw new KallsymsError(
        "kallsyms_names",
        `can't be read at ${hex(start + BigInt(filled))} (${hole.state}), after ${i} of ${count} symbols`,
      );
    }
    filled += hole === undefined ? size : hole.start;
  }
  return { bytes: bytes.slice(0, at), starts, lengths };
}

/** The number of tokens of the name at `at`, or 0 if not all of it is there yet. An empty name throws. */
function parseName(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return 0;
  let length = bytes[at] as number;
  let first = at + 1;
  if (length >= 128) {
    if (first >= end) return 0;
    length = (length & 127) | ((bytes[first] as number) << 7);
    first++;
  }
  if (length === 0 || (first === at + 2 && length < 128)) {
    throw new KallsymsError("kallsyms_names", `impossible length ${length} of a name at +${hex(at)}`);
  }
  return first + length <= end ? length : 0;
}

/** @throws {KallsymsError} for a name that is empty or longer than any can be. */
function checkName(
  bytes: Uint8Array,
  from: number,
  to: number,
  tokens: readonly string[],
  index: number,
  start: bigint,
): void {
  let length = 0;
  for (let i = from; i < to; i++) {
    length += (tokens[bytes[i] as number] as string).length;
  }
  if (length >= 2 && length <= MAX_NAME + 1 && to - from <= MAX_NAME + 1) return;
  throw new KallsymsError(
    "kallsyms_names",
    `symbol ${index} at ${hex(start + BigInt(from))} has a type and name of ${length} characters`,
  );
}

function u32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}

/**
 * The symbols of the kernel's image, in the table's order: ascending by address. Symbols of modules are elsewhere (in
 * each module's own structures), and come with a later issue.
 */
export class Kallsyms {
  /** Column: address of each symbol. */
  readonly addresses: BigUint64Array;
  readonly #names: Names;
  readonly #tokens: readonly string[];
  /** Indices by ascending address, if the table's own order is not that. */
  readonly #order: Uint32Array | undefined;
  /** Ascending keys: a name's hash times `MAX_SYMBOLS`, plus its index. Made when first needed. */
  #hashed: Float64Array | undefined;

  /** Use {@link readKallsyms}. @internal */
  constructor(addresses: BigUint64Array, names: Names, tokens: readonly string[]) {
    this.addresses = addresses;
    this.#names = names;
    this.#tokens = tokens;
    this.#order = ascending(addresses);
  }

  /** Number of symbols. */
  get length(): number {
    return this.addresses.length;
  }

  /** Symbol `index` of the table. @throws {RangeError} if there is none. */
  at(index: number): KernelSymbol {
    const address = this.addresses[index];
    if (address === undefined) throw new RangeError(`symbol ${index} of ${this.length}`);
    const text = this.#text(index);
    return { name: text.slice(1), address, type: text.slice(0, 1) };
  }

  /** Every symbol, in the table's order. */
  *[Symbol.iterator](): Generator<KernelSymbol, void, void> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  /** Every symbol of this name, in the table's order. */
  symbol(name: string): KernelSymbol[] {
    this.#hashed ??= this.#hashNames();
    const keys = this.#hashed;
    const first = hashOf(name) * MAX_SYMBOLS;
    const found: KernelSymbol[] = [];
    for (let i = lowerBound(keys, first); i < keys.length; i++) {
      const index = (keys[i] as number) - first;
      if (index >= MAX_SYMBOLS) break;
      if (this.#nameOf(index) === name) found.push(this.at(index));
    }
    return found;
  }

  /**
   * The nearest symbol at or below an address, the first of several at that address. Undefined below the first, more
   * than a page above the last, and for addresses in the lower half that lie above its per-CPU offsets.
   */
  nameOf(address: bigint): NamedAddress | undefined {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ordered(middle) <= address) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const nearest = this.#ordered(low - 1);
    // Per-CPU variables have offsets for addresses: nothing in the upper half is near one.
    const isLast = low === this.length || this.#ordered(low) >> 63n !== nearest >> 63n;
    if (nearest >> 63n !== address >> 63n || (isLast && address - nearest > LAST_SYMBOL_SIZE))
      return undefined;
    let first = low - 1;
    while (first > 0 && this.#ordered(first - 1) === nearest) first--;
    const symbol = this.at(this.#order?.[first] ?? first);
    return { ...symbol, offset: address - nearest };
  }

  /** Symbols whose whole name matches a glob pattern (see `matchesGlob`), in the table's order. */
  *match(pattern: string): Generator<KernelSymbol, void, void> {
    for (let i = 0; i < this.length; i++) {
      if (matchesGlob(pattern, this.#nameOf(i))) yield this.at(i);
    }
  }

  /** Up to `limit` symbols with names most like this one: a few typing errors away, else such as begin with it. */
  near(name: string, limit = 5): KernelSymbol[] {
    const distance = Math.min(3, Math.max(1, Math.floor(name.length / 3)));
    const similar: { index: number; cost: number }[] = [];
    const begin: number[] = [];
    const wanted = name.slice(0, MAX_NAME);
    for (let i = 0; i < this.length; i++) {
      const other = this.#nameOf(i);
      const cost = editDistance(wanted, other, distance);
      if (cost <= distance) similar.push({ index: i, cost });
      else if (wanted.length > 2 && begin.length < limit && other.startsWith(wanted)) begin.push(i);
    }
    similar.sort((a, b) => a.cost - b.cost || a.index - b.index);
    const seen = new Map<string, KernelSymbol>();
    for (const index of [...similar.map((entry) => entry.index), ...begin]) {
      const symbol = this.at(index);
      if (!seen.has(symbol.name)) seen.set(symbol.name, symbol);
      if (seen.size === limit) break;
    }
    return [...seen.values()];
  }

  /** The address that is i-th from below. */
  #ordered(i: number): bigint {
    return this.addresses[this.#order?.[i] ?? i] as bigint;
  }

  #nameOf(index: number): string {
    return this.#text(index).slice(1);
  }

  /** Type and name. */
  #text(index: number): string {
    const { bytes, starts, lengths } = this.#names;
    const start = starts[index] as number;
    const end = start + (lengths[index] as number);
    let text = "";
    for (let i = start; i < end; i++) text += this.#tokens[bytes[i] as number] as string;
    return text;
  }

  /** Sorted, so that any number of equal names costs no more than others. */
  #hashNames(): Float64Array {
    const keys = new Float64Array(this.length);
    for (let i = 0; i < this.length; i++) keys[i] = hashOf(this.#nameOf(i)) * MAX_SYMBOLS + i;
    return keys.sort();
  }
}

/** How far an address may lie above the last symbol and still be named by it. */
const LAST_SYMBOL_SIZE = 4096n;

/** FNV-1a, 31 bits: with an index below it, a key is an exact double. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 1;
}

/** Indices that sort the addresses, or undefined if they are sorted. */
function ascending(addresses: BigUint64Array): Uint32Array | undefined {
  let sorted = true;
  for (let i = 1; i < addresses.length && sorted; i++) {
    sorted = (addresses[i - 1] as bigint) <= (addresses[i] as bigint);
  }
  if (sorted) return undefined;
  const order = Uint32Array.from(addresses, (_, i) => i);
  return order.sort((a, b) => {
    const left = addresses[a] as bigint;
    const right = addresses[b] as bigint;
    return left < right ? -1 : left > right ? 1 : a - b;
  });
}

/** Index of the first of ascending keys that is not below `key`. */
function lowerBound(keys: Float64Array, key: number): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as number) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
