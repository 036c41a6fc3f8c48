/** Whose memory a hit is in. The one place to change for owners of physical pages: `ownersOf`. */
import type { SearchHit } from "../../src/search/index.js";

/** Who has a hit's memory: a process or the kernel at a virtual address, or what else is known of a physical one. */
export interface HitOwner {
  readonly pid?: number | undefined;
  readonly virtual?: bigint | undefined;
  readonly physical?: bigint | undefined;
  /** In words; `undefined` if nothing tells. */
  readonly owner?: string | undefined;
}

/** Where was searched. */
export interface Searched {
  readonly isPhysical: boolean;
  readonly pid: number | undefined;
  readonly name: string;
}

/** Owners of a batch of hits, in their order; each has one at least. */
export async function ownersOf(hits: readonly SearchHit[], searched: Searched): Promise<HitOwner[][]> {
  const { isPhysical, pid, name } = searched;
  return hits.map(({ address }) => [
    isPhysical ? { physical: address } : { virtual: address, pid, owner: name },
  ]);
}
