/** Strings that pointers of the kernel lead to. */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "./damage.js";
import { textAt } from "./record.js";

/** Bytes that are read at once: most strings are shorter. */
const PIECE = 64;

/**
 * Reads the string at each address, up to its NUL: `undefined` for null pointers and for what can't be read. Equal pointers
 * are read once.
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
    const text = isWhole ? textAt(piece, 0, PIECE) : yield* readLong(memory, address, what, report, limit);
    if (text !== undefined) found.set(address, text);
  }
  return pointers.map((pointer) => (pointer === undefined ? undefined : found.get(pointer)));
}

/** One that is longer than a piece, or near to a page that is missing. */
function* readLong(
  memory: AddressSpace,
  address: bigint,
  what: string,
  report: OnDamage,
  limit: number,
): Routine<string | undefined> {
  const { bytes, holes } = yield* memory.readPartial(address, limit);
  const hole = holes[0];
  const end = hole?.start ?? limit;
  const nul = bytes.subarray(0, end).indexOf(0);
  if (nul >= 0) return textAt(bytes, 0, nul);
  if (hole === undefined) {
    report(damage(what, address, "too long", 0, `more than ${limit} bytes`));
    return textAt(bytes, 0, limit);
  }
  report(damage(what, address, "unreadable", hole.fault));
  return undefined;
}
