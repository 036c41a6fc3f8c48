/** Hits with their owners, and what rows have of them. */
import { escapeText } from "../render/escape.js";
import type { RowColumn } from "../rows/write-rows.js";
import type { HitOwner, HitOwners } from "./owners.js";
import type { Place } from "./places.js";

/** Hits whose owners are asked for together: each time takes a second, and a pass over all page tables. */
const BATCH = 16_384;
/** Characters of their texts that wait meanwhile: one has up to 64 Ki. */
const BATCH_CHARACTERS = 1 << 26;

/** Where a hit is, and whose that is: the first columns of every row of one. */
export const OWNER_COLUMNS: readonly RowColumn<HitOwner>[] = [
  { field: "physical", type: "address", value: ({ physical }) => physical },
  { field: "virtual", type: "address", value: ({ virtual }) => virtual },
  { field: "pid", type: "integer", value: ({ pid }) => pid },
  { field: "owner", value: ({ owner }) => owner },
  { field: "kind", value: ({ kind }) => kind },
];

/** In words, for people; "?" where nothing is known. */
export function ownerText({ kind, owner }: HitOwner): string {
  const who = [kind, owner].filter((each) => each !== null && each !== "").join("  ");
  return who === "" ? "?" : escapeText(who);
}

/** Each hit with its owners, one at least. */
export async function* eachWithOwners<T extends { readonly address: bigint; readonly text?: string }>(
  owners: Pick<HitOwners, "of">,
  place: Place,
  hits: AsyncIterable<T>,
): AsyncGenerator<readonly [hit: T, owners: readonly HitOwner[]], void, void> {
  let batch: T[] = [];
  let characters = 0;
  for await (const hit of hits) {
    batch.push(hit);
    characters += hit.text?.length ?? 0;
    if (batch.length < BATCH && characters < BATCH_CHARACTERS) continue;
    yield* ofBatch(owners, place, batch);
    batch = [];
    characters = 0;
  }
  yield* ofBatch(owners, place, batch);
}

async function* ofBatch<T extends { readonly address: bigint }>(
  owners: Pick<HitOwners, "of">,
  place: Place,
  hits: readonly T[],
): AsyncGenerator<readonly [hit: T, owners: readonly HitOwner[]], void, void> {
  if (hits.length === 0) return;
  const found = await owners.of(
    place,
    hits.map(({ address }) => address),
  );
  for (const [i, hit] of hits.entries()) yield [hit, found[i] ?? []];
}

/** Each hit as often as it has owners, once at least. */
export async function* withOwners<T extends { readonly address: bigint }>(
  owners: Pick<HitOwners, "of">,
  place: Place,
  hits: AsyncIterable<T>,
): AsyncGenerator<T & HitOwner, void, void> {
  for await (const [hit, all] of eachWithOwners(owners, place, hits))
    for (const owner of all) yield { ...hit, ...owner };
}
