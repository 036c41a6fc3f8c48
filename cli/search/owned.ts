/** Hits with their owners. */
import type { HitOwner, HitOwners } from "./owners.js";
import type { Place } from "./places.js";

/** Each hit as often as it has owners, once at least. */
export async function* withOwners<T extends { readonly address: bigint }>(
  owners: HitOwners,
  place: Place,
  hits: readonly T[],
): AsyncGenerator<T & HitOwner> {
  if (hits.length === 0) return;
  const found = await owners.of(
    place,
    hits.map(({ address }) => address),
  );
  for (const [i, hit] of hits.entries()) for (const owner of found[i] ?? []) yield { ...hit, ...owner };
}
