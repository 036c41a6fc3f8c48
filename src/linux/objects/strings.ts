/** Many strings that pointers of the kernel lead to, as one batch. */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "./damage.js";
import { textAt } from "./record.js";

/** Bytes that are read at once: most strings are shorter. */
const PIECE = 64;

/**
 * Reads the string at each address, up to its NUL: `undefined` for null pointers and for what can't be read; what there is
 * of one that goes on where nothing can be read. Equal pointers are read once.
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
  const gathered = yield* memory.gather(BigUint64Array.from(wanted), PIECE);
  for (const [i, address] of wanted.entries()) {
    const piece = gathered.at(i);
    const isWhole = piece?.includes(0) === true;
    // (One that is longer, or near to a page that is missing.)
    const text = isWhole ? textAt(piece, 0, PIECE) : yield* readLong(memory, address, limit, what, report);
    if (text !== undefined) found.set(address, text);
  }
  return pointers.map((pointer) => (pointer === undefined ? undefined : found.get(pointer)));
}

function* readLong(
  memory: AddressSpace,
  at: bigint,
  limit: number,
  what: string,
  report: OnDamage,
): Routine<string | undefined> {
  const { bytes, holes } = yield* memory.readPartial(BigInt.asUintN(64, at), limit);
  const hole = holes[0];
  const end = hole?.start ?? limit;
  const nul = bytes.subarray(0, end).indexOf(0);
  if (nul >= 0) return textAt(bytes, 0, nul);
  if (hole === undefined) report(damage(what, at, "too long", 0, `more than ${limit} bytes`));
  else report(damage(what, at + BigInt(end), "unreadable", hole.fault));
  return end === 0 ? undefined : textAt(bytes, 0, end);
}
