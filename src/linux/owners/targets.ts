/** The physical addresses that owners are asked of, a page at a time. */
import type { PhysicalSpan } from "../../paging/index.js";

/** Physical addresses, or ranges of them, or both. */
export type OwnerTargets = number | PhysicalSpan | Iterable<number | PhysicalSpan>;

/**
 * Addresses in the order given; of a range, its first one and the first one of each further page.
 *
 * @throws {RangeError} for what is no physical address, or no range. @internal
 */
export function* addressesOf(targets: OwnerTargets, pageSize: number): Generator<number, void, void> {
  const all = typeof targets === "object" && Symbol.iterator in targets ? targets : [targets];
  for (const target of all) {
    if (typeof target === "number") {
      yield checked(target);
      continue;
    }
    const { start, end } = target;
    if (checked(start) > checked(end))
      throw new RangeError(`not a range of physical addresses: ${start} to ${end}`);
    for (let at = start; at < end; at = at - (at % pageSize) + pageSize) yield at;
  }
}

/** What has 52 bits at most. */
function checked(address: number): number {
  if (Number.isSafeInteger(address) && address >= 0) return address;
  throw new RangeError(`not a physical address: ${String(address)}`);
}
