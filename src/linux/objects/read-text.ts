/** Strings of a kernel. */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "./damage.js";
import { textAt } from "./record.js";

/** Bytes that are read at first: most strings are shorter. */
const PIECE = 64;

/**
 * Reads a string that ends at a NUL, of at most `limit` bytes.
 *
 * @returns what was read of one that goes on where nothing can be read; `undefined` if nothing could.
 */
export function* readText(
  memory: AddressSpace,
  at: bigint,
  limit: number,
  what: string,
  report: OnDamage,
): Routine<string | undefined> {
  for (let size = Math.min(limit, PIECE); ; size = Math.min(limit, 8 * size)) {
    const { bytes, holes } = yield* memory.readPartial(at, size);
    const end = holes[0]?.start ?? size;
    const nul = bytes.subarray(0, end).indexOf(0);
    if (nul >= 0 || (holes.length === 0 && size === limit)) return textAt(bytes, 0, nul < 0 ? size : nul);
    if (holes[0] === undefined) continue;
    report(damage(what, at + BigInt(end), "unreadable", holes[0].fault));
    return end === 0 ? undefined : textAt(bytes, 0, end);
  }
}
