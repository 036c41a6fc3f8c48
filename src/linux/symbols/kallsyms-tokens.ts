/**
 * The 256 tokens of which kallsyms' names are made, with what loops over them need (`kallsyms_token_table` of
 * scripts/kallsyms.c).
 *
 * The hash of a text is the sum of its characters times powers of an odd number, modulo 2^32: so the hash of a name comes from
 * those of its tokens, a multiplication and an addition each, and no text is made of it.
 */

/** Tokens a table has; a name's bytes are their numbers. */
export const TOKENS = 256;
/** The number of which a hash has the powers: FNV's prime of 32 bits, for want of a better one. */
const FACTOR = 0x01000193;

/** What {@link scanNames} looks up for each byte of a name. */
export interface TokenTable {
  /** The tokens' characters, Latin-1. */
  readonly texts: readonly string[];
  /** Characters of each. */
  readonly lengths: Uint16Array;
  /** Hash of each. */
  readonly hashes: Int32Array;
  /** `FACTOR` to the power of each length: what a hash is multiplied with before that of the token is added. */
  readonly factors: Int32Array;
  /** Hash of each without its first character, which is the type where a name begins with the token. */
  readonly tails: Int32Array;
}

/** The table of up to 256 tokens; those that are missing are empty. */
export function tokenTable(texts: readonly string[]): TokenTable {
  const lengths = new Uint16Array(TOKENS);
  const hashes = new Int32Array(TOKENS);
  const factors = new Int32Array(TOKENS).fill(1);
  const tails = new Int32Array(TOKENS);
  for (let i = 0; i < Math.min(texts.length, TOKENS); i++) {
    const text = texts[i] as string;
    lengths[i] = text.length;
    hashes[i] = hashText(text, 0);
    tails[i] = hashText(text, 1);
    let factor = 1;
    for (let k = 0; k < text.length; k++) factor = Math.imul(factor, FACTOR);
    factors[i] = factor;
  }
  return { texts, lengths, hashes, factors, tails };
}

/** The hash of a text from character `start` on, signed. */
export function hashText(text: string, start: number): number {
  let hash = 0;
  for (let i = start; i < text.length; i++) hash = (Math.imul(hash, FACTOR) + text.charCodeAt(i)) | 0;
  return hash;
}

let characters: TokenTable | undefined;

/** Each token its own character: for names that are not compressed. */
export function plainTokens(): TokenTable {
  characters ??= tokenTable(
    Array.from({ length: TOKENS }, (_, i) => (i === 0 ? "" : String.fromCharCode(i))),
  );
  return characters;
}
