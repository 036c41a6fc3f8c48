/**
 * What the kernel knows of a page frame: `struct page`, of many frames at once.
 *
 * Facts: include/linux/mm_types.h (`struct page`, `struct folio`), include/linux/page-flags.h (`compound_head`: a tail page's word has
 * the address of its head, plus one), include/linux/mm.h (`folio_order`, `compound_order`: kept in the first tail page).
 */
import type { Fault, Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { hasStruct, int, maybe, record, word } from "../objects/record.js";
import type { PageArray } from "./page-array.js";

const PAGE = record("page", {
  // (Since 6.18 in a structure of its own.)
  flags: word("flags.f", "flags"),
  mapping: word("mapping"),
  // Since 6.16 by another name.
  index: word("index", "__folio_index"),
  private: word("private"),
  mapCount: int("_mapcount.counter"),
  refCount: int("_refcount.counter"),
  // (A union with the number of mappings.)
  type: maybe(int("page_type")),
  head: word("compound_head"),
});

/** The order of a compound page: in the structure behind its first one. */
const ORDER_IN_PAGE = record("page", { order: maybe(int("compound_order")) });
/** Since 6.6 (ebc1baf5c9b4) the lowest byte of the first tail page's flags; before, since 5.18, a member of the folio. */
const ORDER_IN_FOLIO = record("folio", { order: maybe(int("_folio_order")), flags: maybe(word("_flags_1")) });

/** One page frame as its `struct page` has it. */
export interface PageFrame {
  /** The frame's number: its physical address by the size of a page. */
  readonly pfn: number;
  /** Address of its `struct page`. */
  readonly address: bigint;
  /** With the zone, node and section in the highest bits. */
  readonly flags: bigint;
  /** Of a file's page its `address_space`, of an anonymous one its `anon_vma` plus 1; other bits tell of other kinds. */
  readonly mapping: bigint;
  /** Of a file's page its number in the file. */
  readonly index: bigint;
  /** The order of a free block, the place in swap, buffers: as the kind of page has it. */
  readonly private: bigint;
  /** How often page tables map it, less one. */
  readonly mapCount: number;
  readonly refCount: number;
  /** `page_type` as a number of 32 bits; see `PageNames.type`. */
  readonly type: number;
  /** Frame of the compound page's first one; its own for a page that is not behind another; `undefined` if it leads nowhere. */
  readonly head: number | undefined;
}

/** A frame that was asked for, with what could be read of it. */
export interface PageRow {
  readonly pfn: number;
  /** `undefined` if it has no structure, or that can't be read. */
  readonly page: PageFrame | undefined;
  /** Why it can't be read; 0 if it was, or has none. */
  readonly fault: Fault;
  /** Address of the structure; `undefined` if it has none. */
  readonly address: bigint | undefined;
}

/** Frames read at a time. */
const PIECE = 8192;

/**
 * Reads the structures of page frames, in the order given. Never throws for what can't be read.
 *
 * @throws {TypesError} `NO_MEMBER`, for a `struct page` that is not as any known kernel has it.
 */
export function* readPages(
  { types, memory }: KernelData,
  array: PageArray,
  pfns: readonly number[],
): Routine<PageRow[]> {
  const layout = PAGE.on(types);
  const found: PageRow[] = [];
  for (let from = 0; from < pfns.length; from += PIECE) {
    const piece = pfns.slice(from, from + PIECE);
    const addresses = piece.map((pfn) => array.addressOf(pfn));
    const rows = yield* layout.read(
      memory,
      addresses.filter((address) => address !== undefined),
    );
    let next = 0;
    for (const [i, pfn] of piece.entries()) {
      const address = addresses[i];
      const row = address === undefined ? undefined : rows[next++];
      const value = row?.value;
      if (value === undefined || address === undefined) {
        found.push({ pfn, page: undefined, fault: row?.fault ?? 0, address });
        continue;
      }
      const { head, type, ...rest } = value;
      const page: PageFrame = {
        pfn,
        address,
        ...rest,
        type: (type ?? value.mapCount) >>> 0,
        head: (head & 1n) === 0n ? pfn : headOf(array, pfn, head - 1n),
      };
      found.push({ pfn, page, fault: 0, address });
    }
  }
  return found;
}

/** The frame that a tail page says is its first one, if it can be: one below, near enough to be of one allocation. */
function headOf(array: PageArray, pfn: number, address: bigint): number | undefined {
  const head = array.pfnOf(address);
  return head !== undefined && head < pfn && pfn - head < MAX_FOLIO ? head : undefined;
}

/** Pages of the largest folio: 16 GiB of 4 KiB (a huge page of powerpc). */
const MAX_FOLIO = 2 ** 22;

/**
 * The orders of compound pages (2^order pages each) by their first frames; without those that can't be read or can't be.
 *
 * @param heads Frames with the flag `head`.
 */
export function* readOrders(
  { types, memory }: KernelData,
  array: PageArray,
  heads: readonly number[],
  report: OnDamage,
): Routine<ReadonlyMap<number, number>> {
  const orders = new Map<number, number>();
  const inFolio = ORDER_IN_FOLIO.onIf(types);
  const useFolio =
    inFolio !== undefined &&
    (inFolio.offsetOf("order") !== undefined || inFolio.offsetOf("flags") !== undefined) &&
    hasStruct(types, "folio");
  const distinct = [...new Set(heads)];
  const at = distinct.flatMap((pfn) => {
    // (A folio begins at its head; of a page, it is the next one that has the order.)
    const address = array.addressOf(useFolio ? pfn : pfn + 1);
    return address === undefined ? [] : [{ pfn, address }];
  });
  const addresses = at.map(({ address }) => address);
  const numbers: (number | undefined)[] = [];
  if (useFolio) {
    for (const { partial, fault } of yield* inFolio.read(memory, addresses)) {
      const order =
        partial.order ?? (partial.flags === undefined ? undefined : Number(partial.flags & 0xffn));
      numbers.push(fault === 0 ? order : undefined);
    }
  } else {
    for (const { value } of yield* ORDER_IN_PAGE.on(types).read(memory, addresses))
      numbers.push(value?.order);
  }
  for (const [i, { pfn, address }] of at.entries()) {
    const order = numbers[i];
    if (order === undefined) continue;
    if (order >= 1 && order <= 22) orders.set(pfn, order);
    else report(damage("a compound page", address, "invalid", 0, `2^${order} pages`));
  }
  return orders;
}
