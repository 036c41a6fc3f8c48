/** Many strings that pointers of the kernel lead to, as one batch. */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import type { OnDamage } from "./damage.js";
import { readText } from "./read-text.js";
import { textAt } from "./record.js";

/** Bytes that are read at once: most strings are shorter. */
const PIECE = 64;

/**
 * Reads the string at each address, up to its NUL, as `readText` does: `undefined` for null pointers and for what can't be
 * read. Equal pointers are read once.
 *
 * @param what For reports: "the name of a device".
 * @param limit Longer strings are cut there, in bytes.
 */
export function* readStrings(
  memory: AddressSpace,
  pointers: readonly (bigint | undefined)[],
  what: string,
  report: OnDamage,
  limit = 4096,
): Routine<(string | undefined)[]> {
  const found = new Map<bigint, string>();
  const wanted = [...new Set(pointers)].filter((each) => each !== undefined && each !== 0n) as bigint[];
  const gathered = yield* memory.gather(wanted, PIECE);
  for (const [i, address] of wanted.entries()) {
    const piece = gathered.at(i);
    const isWhole = piece?.includes(0) === true;
    // (One that is longer, or near to a page that is missing.)
    const text = isWhole ? textAt(piece, 0, PIECE) : yield* readText(memory, address, limit, what, report);
    if (text !== undefined) found.set(address, text);
  }
  return pointers.map((pointer) => (pointer === undefined ? undefined : found.get(pointer)));
}
