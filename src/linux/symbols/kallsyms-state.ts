/**
 * Kallsyms as plain columns, to be stored and built again elsewhere: in a profile of a kernel, whose symbols the same build has
 * at other addresses after each start (KASLR).
 */
import { decodeLatin1, encodeText } from "../../memory/index.js";
import type { Need } from "../paged-bytes.js";
import { Kallsyms, MAX_SYMBOLS } from "./kallsyms.js";
import { moveImage } from "./kallsyms-addresses.hot.js";
import { type HashChains, type NameColumns, nameScan, scanNames } from "./kallsyms-names.hot.js";
import { KallsymsError, nameError } from "./kallsyms-tables.js";
import { TOKENS, type TokenTable, tokenTable } from "./kallsyms-tokens.js";

/** What a {@link Kallsyms} is made of. The arrays are its own: not to be changed. */
export interface KallsymsState {
  /** As `kallsyms_names` has them: of each symbol a length, then that many tokens. */
  readonly names: Uint8Array;
  /** As `kallsyms_token_table`: 256 strings in Latin-1, each with its NUL. */
  readonly tokens: Uint8Array;
  /** Address of each symbol. */
  readonly addresses: BigUint64Array;
}

/** What going over all names finds; kept beside a state, nobody need go over them again. */
export interface KallsymsIndex extends NameColumns, Pick<HashChains, "heads" | "next"> {}

/** The state of a table of symbols. */
export function kallsymsState(kallsyms: Kallsyms): KallsymsState {
  const { names, tokens, addresses } = Kallsyms.partsOf(kallsyms);
  const texts = Array.from({ length: TOKENS }, (_, i) => `${tokens.texts[i] ?? ""}\0`);
  return { names: names.bytes, tokens: encodeText(texts.join(""), "latin-1"), addresses };
}

/** What was found of a table's names. */
export function kallsymsIndex(kallsyms: Kallsyms): KallsymsIndex {
  const {
    names: { starts, lengths, hashes },
    chains: { heads, next },
  } = Kallsyms.partsOf(kallsyms);
  return { starts, lengths, hashes, heads, next };
}

/**
 * Builds the table again. Everything is checked, as a file may hold anything; the names are kept, not copied.
 *
 * @param index What `kallsymsIndex` gave of the same table. Of it, only the sizes are checked: a wrong one gives wrong names, or
 * doesn't find them. Without one, the names are gone over.
 * @param slide What is added to the addresses in the kernel's image, modulo 2^64: how far KASLR has moved the kernel beyond where it was. Those of
 * the per-CPU area and other small numbers stay.
 * @param need  Asked for what is looked at of a state and its index, now and later; then there must be an index, and the addresses must
 * ascend. Default: all is there.
 * @throws {KallsymsError} naming the column that can't be.
 */
export function kallsymsFromState(
  state: KallsymsState,
  slide = 0n,
  index?: KallsymsIndex,
  need?: Need,
): Kallsyms {
  const count = state.addresses.length;
  if (count === 0 || count > MAX_SYMBOLS) {
    throw new KallsymsError("kallsyms_num_syms", `${count} symbols can't be: expected 1 to ${MAX_SYMBOLS}`);
  }
  need?.(state.tokens, 0, state.tokens.length);
  const texts = decodeLatin1(state.tokens.subarray(0, MAX_TOKENS)).split("\0");
  // (The last NUL ends the last token.)
  if (texts.length !== TOKENS + 1 || texts[TOKENS] !== "" || state.tokens.length > MAX_TOKENS) {
    throw new KallsymsError("kallsyms_token_table", `${texts.length - 1} tokens instead of ${TOKENS}`);
  }
  const tokens = tokenTable(texts.slice(0, TOKENS));
  const { columns, chains } =
    index === undefined ? { columns: namesOf(state, tokens), chains: undefined } : indexOf(index, count);
  const names = { ...columns, bytes: state.names };
  if (need !== undefined)
    return new Kallsyms({ addresses: state.addresses, slide, need, names, tokens, chains });
  const addresses = state.addresses.slice();
  moveImage(addresses, slide);
  return new Kallsyms({ addresses, names, tokens, chains });
}

/** Goes over the names. */
function namesOf(state: KallsymsState, tokens: TokenTable): NameColumns {
  const count = state.addresses.length;
  const columns = {
    starts: new Uint32Array(count),
    lengths: new Uint16Array(count),
    hashes: new Int32Array(count),
  };
  const scan = nameScan();
  scanNames(scan, state.names, state.names.length, count, tokens, columns);
  if (scan.stop === "more") {
    throw new KallsymsError("kallsyms_names", `${scan.index} names for ${count} symbols`);
  }
  if (scan.stop !== "complete") throw nameError(scan, 0n);
  return columns;
}

/** An index, if it can be that of so many names. */
function indexOf(index: KallsymsIndex, count: number): { columns: NameColumns; chains: HashChains } {
  const { starts, lengths, hashes, heads, next } = index;
  const buckets = heads.length;
  const isWhole = [starts, lengths, hashes, next].every((column) => column.length === count);
  if (!isWhole || buckets < 2 || (buckets & (buckets - 1)) !== 0) {
    throw new KallsymsError("kallsyms_names", `an index that is not of ${count} symbols`);
  }
  return { columns: { starts, lengths, hashes }, chains: { heads, next, shift: Math.clz32(buckets) + 1 } };
}

/** Bytes of tokens that are looked at: 256 of the longest that are believed. */
const MAX_TOKENS = TOKENS * 513;
