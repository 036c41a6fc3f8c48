/**
 * Kallsyms as plain columns, to be stored and built again elsewhere: in a profile of a kernel, whose symbols the same build has
 * at other addresses after each start (KASLR).
 */
import { decodeLatin1, encodeText } from "../memory/index.js";
import { Kallsyms, MAX_SYMBOLS } from "./kallsyms.js";
import { slideAddresses } from "./kallsyms-addresses.hot.js";
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
 * @param pointerSize Bytes of the kernel's pointers: tells which addresses can be in its image.
 * @throws {KallsymsError} naming the column that can't be.
 */
export function kallsymsFromState(state: KallsymsState, slide = 0n, pointerSize: 4 | 8 = 8): Kallsyms {
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
  slideAddresses(addresses, pointerSize === 8 ? 1n << 63n : LOWEST_IMAGE, slide);
  if (pointerSize === 4)
    for (let i = 0; i < count; i++) addresses[i] = BigInt.asUintN(32, addresses[i] as bigint);
  return new Kallsyms({ addresses, names: { ...columns, bytes: state.names }, tokens });
}

/** Bytes of tokens that are looked at: 256 of the longest that are believed. */
const MAX_TOKENS = TOKENS * 513;
/** The lowest `PAGE_OFFSET` of a 32-bit kernel (arch/x86/Kconfig, `VMSPLIT_1G`; arch/arm has no lower one). */
export const LOWEST_IMAGE = 0x4000_0000n;
