/**
 * Kallsyms as plain columns, to be stored and built again elsewhere: in a profile of a kernel, whose symbols the same build has
 * at other addresses after each start (KASLR).
 */
import { decodeLatin1, encodeText } from "../memory/index.js";
import { Kallsyms, MAX_SYMBOLS } from "./kallsyms.js";
import { slideAddresses, wordsOf } from "./kallsyms-addresses.hot.js";
import { nameScan, scanNames } from "./kallsyms-names.hot.js";
import { KallsymsError, nameError } from "./kallsyms-tables.js";
import { TOKENS, tokenTable } from "./kallsyms-tokens.js";

/** What a {@link Kallsyms} is made of. The arrays are its own: not to be changed. */
export interface KallsymsState {
  /** As `kallsyms_names` has them: of each symbol a length, then that many tokens. */
  readonly names: Uint8Array;
  /** As `kallsyms_token_table`: 256 strings in Latin-1, each with its NUL. */
  readonly tokens: Uint8Array;
  /** Address of each symbol. */
  readonly addresses: BigUint64Array;
}

/** The state of a table of symbols. */
export function kallsymsState(kallsyms: Kallsyms): KallsymsState {
  const { names, tokens, addresses } = Kallsyms.partsOf(kallsyms);
  const texts = Array.from({ length: TOKENS }, (_, i) => `${tokens.texts[i] ?? ""}\0`);
  return { names: names.bytes, tokens: encodeText(texts.join(""), "latin-1"), addresses };
}

/**
 * Builds the table again. Everything is checked, as a file may hold anything; the names are kept, not copied.
 *
 * @param slide What is added to the addresses in the kernel's image, modulo 2^64: how far KASLR has moved the kernel beyond where it was. Those of
 * the per-CPU area and other small numbers stay.
 * @throws {KallsymsError} naming the column that can't be.
 */
export function kallsymsFromState(state: KallsymsState, slide = 0n): Kallsyms {
  const count = state.addresses.length;
  if (count === 0 || count > MAX_SYMBOLS) {
    throw new KallsymsError("kallsyms_num_syms", `${count} symbols can't be: expected 1 to ${MAX_SYMBOLS}`);
  }
  const texts = decodeLatin1(state.tokens.subarray(0, MAX_TOKENS)).split("\0");
  // (The last NUL ends the last token.)
  if (texts.length !== TOKENS + 1 || texts[TOKENS] !== "" || state.tokens.length > MAX_TOKENS) {
    throw new KallsymsError("kallsyms_token_table", `${texts.length - 1} tokens instead of ${TOKENS}`);
  }
  const tokens = tokenTable(texts.slice(0, TOKENS));
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
  const addresses = state.addresses.slice();
  moveImage(addresses, slide);
  return new Kallsyms({ addresses, names: { ...columns, bytes: state.names }, tokens });
}

/** Bytes of tokens that are looked at: 256 of the longest that are believed. */
const MAX_TOKENS = TOKENS * 513;
/** The lowest `PAGE_OFFSET` of a 32-bit kernel (arch/x86/Kconfig, `VMSPLIT_1G`; arch/arm has no lower one). */
const LOWEST_PAGE_OFFSET = 0x4000_0000n;

/** The lowest address that can be in the image of the kernel whose symbols these are. */
export function lowestImage(addresses: BigUint64Array): bigint {
  const words = wordsOf(addresses);
  // A kernel of 64 bits has its image in the upper half.
  for (let i = 1; i < words.length; i += 2) if (words[i] !== 0) return 1n << 63n;
  return LOWEST_PAGE_OFFSET;
}

/** Moves the addresses in the kernel's image, in place: modulo 2^64, or 2^32 where none is larger. */
export function moveImage(addresses: BigUint64Array, by: bigint): void {
  const lowest = lowestImage(addresses);
  slideAddresses(addresses, lowest, by);
  if (lowest !== LOWEST_PAGE_OFFSET) return;
  const words = wordsOf(addresses);
  for (let i = 1; i < words.length; i += 2) words[i] = 0;
}
