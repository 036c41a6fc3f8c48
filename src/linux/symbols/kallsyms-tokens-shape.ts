/**
 * What makes 256 strings the tokens of a kernel's symbols (scripts/kallsyms.c, `insert_real_symbols_in_table`,
 * `optimize_result`): each character that symbols use is the token of its own number, always; any other token is two or more
 * of these.
 */
import { decodeLatin1 } from "../../memory/index.js";
import { MAX_TOKEN } from "./kallsyms-shape.hot.js";
import { TOKENS } from "./kallsyms-tokens.js";

/** Alignments of the tables: `ALGN` is `.balign` 4 or 8; `.align` before, of which some assemblers make a power of two. */
export const MOST_PADDING = 256;

/**
 * Where `kallsyms_token_table` begins.
 *
 * @param index The table that follows it, as words of 16 bits.
 * @param bytes What lies before that.
 * @returns bytes from the end of `bytes` back to its beginning, or `undefined` if there is none.
 */
export function findTokenTable(index: Uint16Array, bytes: Uint8Array): number | undefined {
  const last = index[TOKENS - 1] as number;
  for (let back = (last + 4) & ~3; back <= last + MAX_TOKEN + 1 + MOST_PADDING; back += 4) {
    if (back > bytes.length) return undefined;
    if (areTokens(index, bytes.subarray(bytes.length - back))) return back;
  }
  return undefined;
}

function areTokens(index: Uint16Array, table: Uint8Array): boolean {
  const end = table.indexOf(0, index[TOKENS - 1] as number);
  if (end < 0 || table.length - end > MOST_PADDING || table.subarray(end).some((byte) => byte !== 0))
    return false;
  const single = (code: number) => {
    const start = index[code] as number;
    return table[start] === code && table[start + 1] === 0;
  };
  let singles = 0;
  for (let i = 0; i < TOKENS; i++) {
    const start = index[i] as number;
    const nul = i === TOKENS - 1 ? end : (index[i + 1] as number) - 1;
    if (table.indexOf(0, start) !== nul) return false;
    if (nul === start) continue;
    if (
      nul === start + 1
        ? table[start] !== i
        : !decodeLatin1(table, start, nul)
            .split("")
            .every((c) => single(c.charCodeAt(0)))
    )
      return false;
    // (Printable: a symbol has no blanks or control characters.)
    if (nul === start + 1) {
      if (i <= 32 || i === 127) return false;
      singles++;
    }
  }
  // Every kernel has functions, global or local.
  return singles > 1 && (single(0x54) || single(0x74));
}
