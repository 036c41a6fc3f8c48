/**
 * Reads kallsyms, the kernel's own table of its symbols' names and addresses, from its memory.
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
 *   address; or `kallsyms_addresses`, a pointer each (until 6.11, 64e166099b69).
 *   The relative base is a pointer too. Addresses of 32-bit kernels wrap at 4 GiB.
 * VMCOREINFO names the tables since Linux 6.0 (5fd8fea935a1, f09bddbd8661); kallsyms-search.ts finds them otherwise.
 */
import {
  type Address,
  hex,
  Io,
  MemtoolError,
  type PacketIo,
  type Routine,
  readPartial,
} from "../../io/index.js";
import { schedulerOf } from "../../io/requests.js";
import { Kallsyms, MAX_SYMBOLS, type Names } from "./kallsyms.js";
import { fromBase, fromBasePerCpu, fromOwnPlace } from "./kallsyms-addresses.hot.js";
import { type BlankRows, blankRows, withoutRows } from "./kallsyms-blanks.js";
import { type NameScan, nameScan, scanNames } from "./kallsyms-names.hot.js";
import { MAX_TOKEN } from "./kallsyms-shape.hot.js";
import { TOKENS, type TokenTable, tokenTable } from "./kallsyms-tokens.js";
import type { KernelSymbol } from "./symbol.js";

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

/** Longest table of names believed: sixteen bytes for each of the most symbols. Real ones have some twelve a symbol. */
const MAX_NAMES = 16 * MAX_SYMBOLS;
/**
 * Tables are read in pieces, the first of this size and each as large as what is there already: so that nothing is allocated for
 * what is not there, and a distant memory is asked few times.
 */
const PIECE = 64 * 1024;
const LARGEST_PIECE = 1 << 20;
/** (They are kept here.) */
const ONCE = { once: true };
/** Bytes of a table taken at once: the system gives memory as it is written. */
const FIRST_ROOM = 1 << 20;
/** Bytes of names taken at once for each symbol, whose addresses are there by then. */
const ROOM_PER_NAME = 16;

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
 * @param pointerSize bytes of the kernel's pointers.
 * @throws {KallsymsError} naming the part that is missing, unreadable or corrupt.
 */
export function readKallsyms(
  io: PacketIo<Address>,
  tables: KallsymsTables,
  known: ReadonlyMap<string, bigint> = new Map(),
  pointerSize: 4 | 8 = 8,
): Io<Kallsyms> {
  return Io.of(schedulerOf(io), readRoutine, io, tables, known, pointerSize);
}

function* readRoutine(
  io: PacketIo<Address>,
  tables: KallsymsTables,
  known: ReadonlyMap<string, bigint>,
  pointerSize: 4 | 8,
): Routine<Kallsyms> {
  const count = u32(yield* readTable(io, "kallsyms_num_syms", tables.numSyms, 4), 0);
  if (count === 0 || count > MAX_SYMBOLS) {
    throw new KallsymsError(
      "kallsyms_num_syms",
      `${count} symbols at ${hex(tables.numSyms)} can't be: expected 1 to ${MAX_SYMBOLS}`,
    );
  }
  const tokens = yield* readTokens(io, tables);
  const { addresses, part, blank } = yield* readAddresses(io, tables, count, pointerSize);
  const names = yield* readNames(io, tables.names, count, tokens);
  const kallsyms =
    blank.length === 0
      ? new Kallsyms({ addresses, names, tokens })
      : new Kallsyms({
          ...withoutRows(addresses, names, blank),
          tokens,
          damage: damageOf(part, blank, count),
        });
  checkKnown(kallsyms, known);
  return kallsyms;
}

function damageOf(part: string, blank: readonly BlankRows[], count: number): string {
  const lost = blank.reduce((sum, { from, to }) => sum + to - from, 0);
  const what = `${lost} of ${count} symbols have no address (from number ${blank[0]?.from} on)`;
  if (lost === count) throw new KallsymsError(part, `${what}: the dump has zeros there`);
  return `${part}: ${what}, as the dump has zeros there; they are missing`;
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
  let bytes = new Uint8Array(Math.min(length, FIRST_ROOM));
  for (let at = 0; at < length; ) {
    const size = Math.min(Math.max(PIECE, Math.min(at, LARGEST_PIECE)), length - at);
    bytes = withRoom(bytes, at, at + size, length);
    const { holes } = yield* readPartial(
      io,
      BigInt.asUintN(64, start + BigInt(at)),
      bytes.subarray(at, at + size),
      ONCE,
    );
    const hole = holes[0];
    if (hole !== undefined) {
      throw new KallsymsError(
        part,
        `can't be read at ${hex(start + BigInt(at + hole.start))} (${hole.state}); ` +
          "its page may be left out of the dump, or its address be wrong",
      );
    }
    at += size;
  }
  return bytes;
}

/** A buffer that holds the first `filled` bytes and has room for `needed`: twice as large, but no larger than `most`. */
function withRoom(
  bytes: Uint8Array<ArrayBuffer>,
  filled: number,
  needed: number,
  most: number,
): Uint8Array<ArrayBuffer> {
  if (needed <= bytes.length) return bytes;
  const larger = new Uint8Array(Math.min(most, Math.max(needed, 2 * bytes.length)));
  larger.set(bytes.subarray(0, filled));
  return larger;
}

/** The tokens. @internal */
export function* readTokens(io: PacketIo<Address>, tables: KallsymsTables): Routine<TokenTable> {
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
  return tokenTable(tokens);
}

/** What {@link readAddresses} gives. @internal */
export interface ReadAddresses {
  readonly addresses: BigUint64Array;
  /** The table that they are of. */
  readonly part: string;
  /** Rows without an address. */
  readonly blank: readonly BlankRows[];
}

/** The addresses of `count` symbols, in whichever form `tables` names. @internal */
export function* readAddresses(
  io: PacketIo<Address>,
  tables: KallsymsTables,
  count: number,
  pointerSize: 4 | 8,
): Routine<ReadAddresses> {
  if (tables.addresses !== undefined) {
    const part = "kallsyms_addresses";
    const addresses = yield* readPointers(io, part, tables.addresses, count, pointerSize);
    return { addresses, part, blank: blankRows(addresses, tables.addresses, pointerSize) };
  }
  if (tables.offsets === undefined) {
    throw new KallsymsError("kallsyms_offsets", "no address of it is known");
  }
  const bytes = yield* readTable(io, "kallsyms_offsets", tables.offsets, count * 4);
  const offsets = new Int32Array(bytes.buffer, 0, count);
  const wide = pointerSize === 8;
  const found = { part: "kallsyms_offsets", blank: blankRows(offsets, tables.offsets, 4) };
  if (tables.relativeBase === undefined) {
    return { ...found, addresses: fromOwnPlace(offsets, tables.offsets, wide) };
  }
  const [base = 0n] = yield* readPointers(io, "kallsyms_relative_base", tables.relativeBase, 1, pointerSize);
  // Without per-CPU entries every offset is below 2 GiB, as the kernel's image is: a negative one tells the layout. Only
  // x86-64 has them (CONFIG_X86_64 && SMP).
  const isPerCpu = wide && offsets.some((offset) => offset < 0);
  return {
    ...found,
    addresses: isPerCpu ? fromBasePerCpu(offsets, base) : fromBase(offsets, base, wide),
  };
}

/** `count` pointers. @internal */
export function* readPointers(
  io: PacketIo<Address>,
  part: string,
  start: bigint,
  count: number,
  pointerSize: 4 | 8,
): Routine<BigUint64Array> {
  const bytes = yield* readTable(io, part, start, count * pointerSize);
  if (pointerSize === 8) return new BigUint64Array(bytes.buffer, 0, count);
  return BigUint64Array.from(new Uint32Array(bytes.buffer, 0, count), BigInt);
}

/** Reads as much of the names as `count` symbols take: how long the table is, only decoding it tells. @internal */
export function* readNames(
  io: PacketIo<Address>,
  start: bigint,
  count: number,
  tokens: TokenTable,
): Routine<Names> {
  // (As many addresses are there already.)
  const columns = {
    starts: new Uint32Array(count),
    lengths: new Uint16Array(count),
    hashes: new Int32Array(count),
  };
  const scan = nameScan();
  let bytes = new Uint8Array(Math.min(MAX_NAMES, Math.max(PIECE, ROOM_PER_NAME * count)));
  let filled = 0;
  for (;;) {
    scanNames(scan, bytes, filled, count, tokens, columns);
    if (scan.stop === "complete") return { ...columns, bytes: bytes.subarray(0, scan.at) };
    if (scan.stop !== "more") throw nameError(scan, start);
    if (filled === MAX_NAMES) {
      throw new KallsymsError(
        "kallsyms_names",
        `${scan.index} of ${count} symbols took ${filled} bytes: not a table of names`,
      );
    }
    const size = Math.min(Math.max(PIECE, Math.min(filled, LARGEST_PIECE)), MAX_NAMES - filled);
    bytes = withRoom(bytes, filled, filled + size, MAX_NAMES);
    const { holes } = yield* readPartial(
      io,
      BigInt.asUintN(64, start + BigInt(filled)),
      bytes.subarray(filled, filled + size),
      ONCE,
    );
    const hole = holes[0];
    // The last piece reaches behind the table, where a hole does no harm.
    if (hole !== undefined && hole.start === 0) {
      throw new KallsymsError(
        "kallsyms_names",
        `can't be read at ${hex(start + BigInt(filled))} (${hole.state}), after ${scan.index} of ${count} symbols`,
      );
    }
    filled += hole === undefined ? size : hole.start;
  }
}

/** What is wrong with the name at which a pass stopped. */
export function nameError(scan: NameScan, start: bigint): KallsymsError {
  const where = `symbol ${scan.index} at ${hex(start + BigInt(scan.at))}`;
  return new KallsymsError(
    "kallsyms_names",
    scan.stop === "length"
      ? `${where} has an impossible length ${scan.value} of a name`
      : `${where} has a type and name of ${scan.value} characters`,
  );
}

function u32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}
