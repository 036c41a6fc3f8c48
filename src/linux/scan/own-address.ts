/** Where a structure that was found in physical memory says that it is. */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { pointersIn } from "../objects/pointers.js";

/**
 * The address that its empty lists say it has: they lead to themselves.
 *
 * @param bytes    Of the structure.
 * @param rings    Bytes from its beginning to heads of lists that may be empty.
 * @param physical Where it was found.
 * @param mapped   The address of that in the linear map.
 * @returns false if they say one where it is not; `undefined` if it has none. @internal
 */
export function* ownAddress(
  { memory }: KernelData,
  bytes: Uint8Array,
  rings: readonly number[],
  physical: number,
  mapped: bigint,
): Routine<bigint | false | undefined> {
  const size = memory.pointerSize;
  const votes = new Map<bigint, number>();
  for (const at of rings) {
    const [next, previous] = pointersIn(memory, bytes.subarray(at, at + 2 * size));
    if (next === undefined || next !== previous || next < BigInt(at)) continue;
    const address = next - BigInt(at);
    votes.set(address, (votes.get(address) ?? 0) + 1);
  }
  const best = [...votes].sort(([, a], [, b]) => b - a)[0];
  // (One alone may be a list of one node.)
  if (best === undefined || (best[1] < 2 && best[0] !== mapped)) return undefined;
  if (best[0] === mapped) return mapped;
  const found = yield* memory.translate(best[0]);
  return "physical" in found && found.physical === physical ? best[0] : false;
}
