/**
 * What the first page of a slab says of it.
 *
 * Facts: mm/slab.h (`struct slab`, apart from `struct page` since 5.17, d122019bf061), include/linux/mm_types.h (`struct page`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { hasStruct, int, maybe, place, type Row, record, type Values, word } from "../objects/record.js";
import type { TypeTable } from "../types/type-table.js";

const FIELDS = {
  cache: word("slab_cache"),
  // `lru` before 5.0 (916ac0527837).
  list: place("slab_list", "lru"),
  next: maybe(word("next")),
  freelist: word("freelist"),
  inUse: int("inuse"),
  objects: int("objects"),
} as const;

const SLAB = record("slab", FIELDS);
const PAGE = record("page", FIELDS);

/** A slab's own structure. @internal */
export type SlabRow = Row<Values<typeof FIELDS>>;

/** Where in a slab's structure its members are, and how large a page's is. @internal */
export function slabLayout(types: TypeTable): ReturnType<typeof SLAB.on> {
  return hasStruct(types, "slab") ? SLAB.on(types) : PAGE.on(types);
}

/** Bytes from a slab's structure to the node of the list that it is in. @internal */
export function slabListOffset(types: TypeTable): bigint {
  return BigInt(slabLayout(types).offsetOf("list") ?? 0);
}

/** Slabs read at a time. */
const PIECE = 8192;

/** Reads slabs' structures, however many. @internal */
export function* readSlabs({ types, memory }: KernelData, addresses: readonly bigint[]): Routine<SlabRow[]> {
  const layout = slabLayout(types);
  const rows: SlabRow[] = [];
  for (let from = 0; from < addresses.length; from += PIECE) {
    for (const row of yield* layout.read(memory, addresses.slice(from, from + PIECE))) rows.push(row);
  }
  return rows;
}
