/**
 * Finds kallsyms' tables by their shape, where VMCOREINFO does not name them: before Linux 6.0 (f09bddbd8661), or in a damaged
 * text.
 *
 * The token index is what memory is searched for: 256 ascending numbers, with the tokens they number before them. The names'
 * markers lie before these, with a number every 256 names; the names before them; and before these, how many there are. All of
 * that is checked against each other, so that nothing else passes. The addresses have no shape of their own: each place
 * where a kernel has put them is read, and must give what ascends, is of this kernel, and agrees with what is known.
 */
import { type Address, hex, Io, type PacketIo, type Routine, readPartial } from "../../io/index.js";
import { schedulerOf } from "../../io/requests.js";
import { Kallsyms, MAX_SYMBOLS, type Names } from "./kallsyms.js";
import { areAscending } from "./kallsyms-addresses.hot.js";
import { alignmentsOf, type FoundNames, layoutsOf } from "./kallsyms-layouts.js";
import {
  findMarkers,
  findTokenIndex,
  isZero,
  MARKED,
  MAX_TOKEN,
  MOST_STEP,
  markersAt,
  walkNames,
} from "./kallsyms-shape.hot.js";
import {
  KallsymsError,
  type KallsymsTables,
  readAddresses,
  readNames,
  readPointers,
  readTokens,
} from "./kallsyms-tables.js";
import { TOKENS, type TokenTable } from "./kallsyms-tokens.js";
import { findTokenTable, MOST_PADDING } from "./kallsyms-tokens-shape.js";

/** Options of {@link findKallsyms}. */
export interface KallsymsSearch {
  /** Virtual addresses to search for the token index, in this order; `MAX_SEARCH` bytes of them. The other tables may lie beyond. */
  readonly ranges: readonly { readonly start: bigint; readonly end: bigint }[];
  /** Bytes of the kernel's pointers; default 8. */
  readonly pointerSize?: 4 | 8 | undefined;
  /** Symbols whose addresses are known otherwise (VMCOREINFO's): if the tables name any, one must agree. */
  readonly known?: ReadonlyMap<string, bigint> | undefined;
}

/** What {@link findKallsyms} gives. */
export interface FoundKallsyms {
  readonly tables: KallsymsTables;
  readonly kallsyms: Kallsyms;
}

/** The most that is searched: twice what an image can reach. */
export const MAX_SEARCH = 1 << 30;
const PIECE = 1 << 20;
const INDEX_BYTES = 2 * TOKENS;
/** Token indices that are looked at more closely; almost nothing but one ascends so. */
const MAX_INDICES = 256;
/** Token tables whose names are looked for. */
const MAX_TOKEN_TABLES = 4;
/**
 * Bytes before the tokens that are searched for the names, smaller ones first. The largest holds those of a million symbols, as
 * an allyesconfig has.
 */
const WINDOWS = [2 << 20, 8 << 20, 32 << 20];
/** Chains of numbers before the tokens that may be markers. */
const MAX_CHAINS = 64;
/**
 * Names that are gone over in all: sixteen times as many as any kernel has. (Memory can be made in which every place looks like names
 * for long.)
 */
const MAX_WALKED = 16 * MAX_SYMBOLS;
/** How many markers too many a chain may seem to have, where what follows happens to go on. */
const EXTRA = 4;
/** How far the image reaches from its tables (the greatest offset that a relative base allows). */
const REACH = 1n << 31n;

/**
 * Finds and reads the tables.
 *
 * Its work is bounded by the ranges, of which at most 1 GiB is read, and by some 40 MiB around each of at most four tables of
 * tokens.
 *
 * @param io The kernel's virtual memory.
 * @throws {KallsymsError} naming the first table that was not found, with how far the search went.
 */
export function findKallsyms(io: PacketIo<Address>, options: KallsymsSearch): Io<FoundKallsyms> {
  return Io.of(schedulerOf(io), findKallsymsRoutine, io, options);
}

/** As {@link findKallsyms}, but where they are only. */
export function findKallsymsTables(io: PacketIo<Address>, options: KallsymsSearch): Io<KallsymsTables> {
  return Io.of(schedulerOf(io), tablesRoutine, io, options);
}

function* tablesRoutine(io: PacketIo<Address>, options: KallsymsSearch): Routine<KallsymsTables> {
  return (yield* findKallsymsRoutine(io, options)).tables;
}

/** {@link findKallsyms} as a routine. @internal */
export function* findKallsymsRoutine(io: PacketIo<Address>, options: KallsymsSearch): Routine<FoundKallsyms> {
  // Two words more than a piece holds: an index begins in a piece, and may end in the next.
  const bytes = new Uint8Array(PIECE + INDEX_BYTES);
  const words = new Uint32Array(bytes.buffer);
  let searched = 0;
  let readable = 0;
  let indices = 0;
  let tokenTables = 0;
  let failure: KallsymsError | undefined;
  for (const range of options.ranges) {
    let at = range.start & -4096n;
    // What of `bytes` is left of the piece before.
    let kept = 0;
    while (at < range.end && searched < MAX_SEARCH && indices <= MAX_INDICES) {
      const size = Number(min(BigInt(PIECE), range.end - at)) & ~3;
      if (size === 0) break;
      const piece = bytes.subarray(kept, kept + size);
      const { holes } = yield* readPartial(io, at, piece);
      let gone = 0;
      for (const hole of holes) {
        piece.fill(0, hole.start, hole.end);
        gone += hole.end - hole.start;
      }
      const start = at - BigInt(kept);
      const filled = kept + size;
      at += BigInt(size);
      searched += size;
      readable += size - gone;
      const last = Math.max(0, (filled - INDEX_BYTES + 4) >> 2);
      for (let word = 0; gone < size && word < last; word++) {
        word = findTokenIndex(words, word, last);
        if (word < 0 || ++indices > MAX_INDICES) break;
        const index = Uint16Array.from(
          { length: TOKENS },
          (_, k) => (words[word + (k >> 1)] as number) >>> (16 * (k & 1)),
        );
        const tokenIndex = start + BigInt(4 * word);
        const tokenTable = yield* tokensBefore(io, index, tokenIndex);
        if (tokenTable === undefined) continue;
        if (++tokenTables > MAX_TOKEN_TABLES) break;
        try {
          return yield* allAround(io, options, tokenTable, tokenIndex);
        } catch (error) {
          if (!(error instanceof KallsymsError)) throw error;
          failure ??= error;
        }
      }
      kept = Math.min(filled, INDEX_BYTES - 4);
      bytes.copyWithin(0, filled - kept, filled);
    }
  }
  throw (
    failure ??
    new KallsymsError(
      "kallsyms_token_index",
      `VMCOREINFO doesn't say where it is, and nothing of its shape is among the ${readable} bytes that can be read of the ` +
        `${searched} searched (a kernel without CONFIG_KALLSYMS, or pages that the dump left out); ` +
        "use addresses, or the symbols that VMCOREINFO names",
    )
  );
}

const min = (a: bigint, b: bigint) => (a < b ? a : b);

/** Where the tokens of an index begin. */
function* tokensBefore(
  io: PacketIo<Address>,
  index: Uint16Array,
  tokenIndex: bigint,
): Routine<bigint | undefined> {
  const reach = ((index[TOKENS - 1] as number) + MAX_TOKEN + 2 + MOST_PADDING) & ~3;
  const { bytes, end } = yield* readBefore(io, tokenIndex, reach);
  const back = findTokenTable(index, bytes.subarray(bytes.length - end));
  return back === undefined ? undefined : tokenIndex - BigInt(back);
}

/** Bytes before an address; the last `end` of them could be read. */
function* readBefore(
  io: PacketIo<Address>,
  address: bigint,
  length: number,
): Routine<{ bytes: Uint8Array<ArrayBuffer>; end: number }> {
  const wanted = Number(min(BigInt(length), address));
  const bytes = new Uint8Array(wanted);
  const { holes } = yield* readPartial(io, address - BigInt(wanted), bytes);
  const hole = holes.at(-1);
  return { bytes, end: wanted - (hole?.end ?? 0) };
}

/** The tables around those of the tokens. */
function* allAround(
  io: PacketIo<Address>,
  options: KallsymsSearch,
  tokenTable: bigint,
  tokenIndex: bigint,
): Routine<FoundKallsyms> {
  const pointerSize = options.pointerSize ?? 8;
  const found = yield* namesBefore(io, pointerSize, tokenTable, tokenIndex);
  const tokens = yield* readTokens(io, found);
  const names = yield* readNames(io, found.names, found.count, tokens);
  return yield* addressesAround(io, options, found, names, tokens);
}

/** The markers before the tokens, the names before these, and their number. */
function* namesBefore(
  io: PacketIo<Address>,
  pointerSize: 4 | 8,
  tokenTable: bigint,
  tokenIndex: bigint,
): Routine<FoundNames> {
  const budget = { names: MAX_WALKED };
  for (const size of WINDOWS) {
    const { bytes, end } = yield* readBefore(io, tokenTable, size);
    const window = bytes.subarray(bytes.length - (end & ~3));
    const start = tokenTable - BigInt(window.length);
    const found = namesIn(window, pointerSize, budget);
    if (found !== undefined) {
      const { count, names, numSyms } = found;
      return {
        count,
        names: start + BigInt(names),
        numSyms: start + BigInt(numSyms),
        tokenTable,
        tokenIndex,
      };
    }
    if (window.length < size) break;
  }
  throw new KallsymsError(
    "kallsyms_names",
    `no names with their markers are before the tokens at ${hex(tokenTable)}: left out of the dump, or damaged`,
  );
}

/** Names, markers and number in a window that ends where the tokens begin: as offsets in it. */
function namesIn(
  window: Uint8Array,
  pointerSize: 4 | 8,
  budget: { names: number },
): { count: number; names: number; numSyms: number } | undefined {
  // (A copy: a window may begin anywhere in its buffer.)
  const bytes = window.slice();
  const words = new Uint32Array(bytes.buffer, 0, bytes.length >> 2);
  for (const stride of pointerSize === 8 ? [1, 2] : [1]) {
    let at = words.length;
    for (let chains = 0; chains < MAX_CHAINS; chains++) {
      at = findMarkers(words, at, stride);
      if (at < 0) break;
      const found = namesOf(bytes, words, at, stride, pointerSize, budget);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** The names that a chain of markers is of. */
function namesOf(
  bytes: Uint8Array,
  words: Uint32Array,
  marker: number,
  stride: number,
  pointerSize: 4 | 8,
  budget: { names: number },
): { count: number; names: number; numSyms: number } | undefined {
  const end = 4 * marker;
  const markers = markersAt(words, marker, stride, MAX_SYMBOLS / MARKED);
  // The last of them may be what follows; the names are as many as their number says.
  for (let extra = 0; extra <= EXTRA && markers - extra >= 2; extra++) {
    const last = words[marker + (markers - extra - 1) * stride] as number;
    const most = (markers - extra) * MARKED;
    const from = Math.max(0, end - last - MOST_STEP - MOST_PADDING) & ~3;
    for (let at = from; at + last < end && budget.names > 0; at += 4) {
      const count = words[at >> 2] as number;
      if (count > most || count <= most - MARKED) continue;
      for (const align of alignmentsOf(pointerSize)) {
        const names = at + Number(align);
        if (names >= end || !isZero(bytes, at + 4, names)) continue;
        const stop = walkNames(bytes, names, end, count, words, marker, stride);
        budget.names -= stop < 0 ? -stop : count;
        if (stop >= 0 && end - stop < MOST_PADDING && isZero(bytes, stop, end)) {
          return { count, names, numSyms: at };
        }
      }
    }
  }
  return undefined;
}

/** The addresses, by trying each place they may have. */
function* addressesAround(
  io: PacketIo<Address>,
  options: KallsymsSearch,
  found: FoundNames,
  names: Names,
  tokens: TokenTable,
): Routine<FoundKallsyms> {
  const pointerSize = options.pointerSize ?? 8;
  const fitting: { tables: KallsymsTables; kallsyms: Kallsyms; agrees: boolean | undefined }[] = [];
  let unreadable: KallsymsError | undefined;
  for (const tables of layoutsOf(found, pointerSize)) {
    let addresses: BigUint64Array;
    try {
      // (A pointer tells most of the wrong places, before all of their entries are read.)
      const base = tables.relativeBase;
      if (base !== undefined) {
        const [value] = yield* readPointers(io, "kallsyms_relative_base", base, 1, pointerSize);
        if (!isNear(value as bigint, tables)) continue;
      }
      ({ addresses } = yield* readAddresses(io, tables, found.count, pointerSize));
    } catch (error) {
      if (!(error instanceof KallsymsError)) throw error;
      unreadable ??= error;
      continue;
    }
    if (!areOfImage(addresses, tables, pointerSize)) continue;
    const kallsyms = new Kallsyms({ addresses, names, tokens });
    fitting.push({ tables, kallsyms, agrees: agreement(kallsyms, options.known) });
  }
  // What is known decides; without it, whatever alone fits.
  const agreeing = fitting.filter(({ agrees }) => agrees === true);
  const likely = agreeing.length > 0 ? agreeing : fitting.filter(({ agrees }) => agrees === undefined);
  const [only] = likely;
  if (only !== undefined && likely.length === 1) return { tables: only.tables, kallsyms: only.kallsyms };
  const names_ = `${found.count} names at ${hex(found.names)}`;
  if (only !== undefined) {
    throw new KallsymsError(
      "kallsyms_offsets",
      `${likely.length} tables may be that of the ${names_}: which one can't be told`,
    );
  }
  throw new KallsymsError(
    "kallsyms_offsets",
    fitting.length > 0
      ? `what may be those of the ${names_} are not where VMCOREINFO says its symbols are: damaged, or of another kernel`
      : `none fit the ${names_}: damaged, or of a layout that is not known yet` +
          (unreadable === undefined ? "" : ` (or it can't be read: ${unreadable.message})`),
  );
}

/** Whether addresses ascend, as the kernel's own search needs, and are where an image is that has these tables. */
function areOfImage(addresses: BigUint64Array, tables: KallsymsTables, pointerSize: 4 | 8): boolean {
  if (!areAscending(addresses)) return false;
  const last = addresses.at(-1) as bigint;
  // Those of the per-CPU area are small numbers.
  const first = pointerSize === 8 ? addresses.find((address) => address >> 63n === 1n) : addresses[0];
  if (first === undefined || !isNear(first, tables) || !isNear(last, tables)) return false;
  // An image begins with its text; its tables come after that.
  return first <= tables.names;
}

/** Whether an address can be in the image that has these tables. */
function isNear(address: bigint, { names }: KallsymsTables): boolean {
  return address < names + REACH && names < address + REACH;
}

/** Whether one of the symbols that are known is where it should be; `undefined` if none of them is there at all. */
function agreement(kallsyms: Kallsyms, known: ReadonlyMap<string, bigint> | undefined): boolean | undefined {
  let named = false;
  for (const [name, address] of known ?? []) {
    const found = kallsyms.symbol(name);
    if (found.some((symbol) => symbol.address === address)) return true;
    named ||= found.length > 0;
  }
  return named ? false : undefined;
}
