/**
 * What `struct page`s say of some pages, and what else is needed to name their owners: each is read once for all of them.
 *
 * Facts: include/linux/page-flags.h (`PAGE_MAPPING_ANON` and its like: the lowest bits of `mapping`), include/linux/swapops.h
 * (`swp_type`, `swp_offset`: the type is in the highest five bits of what an entry of an xarray can hold), fs/proc/page.c
 * (`stable_page_flags`), mm/hugetlb.c (`HUGETLB_PAGE_DTOR`; a flag of the second page in 6.7 and 6.8, since then a type).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { hasStruct, int, maybe, record, word } from "../objects/record.js";
import {
  type PageArray,
  type PageFrame,
  type PageNames,
  type PageRow,
  readOrders,
  readPages,
} from "../pages/index.js";
import { stripped } from "../types/c-type.js";
import { type FileOfPages, readFilesOfPages } from "./file-pages.js";
import { findFreeBlocks, freeOrder } from "./free-pages.js";
import type { FreeOwner, SwapCacheOwner } from "./owner.js";

/** Bits of `mapping` that say that it is no file's. */
const MAPPING_BITS = 3n;
const ANONYMOUS = 1n;
/** MAX_SWAPFILES_SHIFT. */
const SWAP_TYPE_BITS = 5n;

/** What pages are, as far as their structures say. @internal */
export type PageUse =
  | "free"
  /** Nobody refers to it, and it is in no free block: in a CPU's list, or within an allocation of several pages. */
  | "unreferenced"
  | "slab"
  | "hugetlb"
  | "reserved"
  | "anonymous"
  | "file"
  | "table"
  | "other"
  | "none"
  | "unreadable";

/** One page. @internal */
export interface PageFacts {
  readonly pfn: number;
  readonly row: PageRow;
  /** Its own structure, or that of the first page of what it is part of. */
  readonly head: PageFrame | undefined;
  readonly use: PageUse;
}

/** Facts of many pages. @internal */
export interface FactsOfPages {
  readonly pages: ReadonlyMap<number, PageFacts>;
  readonly files: ReadonlyMap<bigint, FileOfPages>;
  /** By first page: how many pages are together. */
  readonly orders: ReadonlyMap<number, number>;
  /** Blocks by their pages. */
  readonly free: ReadonlyMap<number, FreeOwner>;
}

/** Reads them. @param pfns Ascending. @internal */
export function* readFacts(
  data: KernelData,
  array: PageArray,
  names: PageNames,
  pfns: readonly number[],
  report: OnDamage,
): Routine<FactsOfPages> {
  const rows = yield* readPages(data, array, pfns);
  const known = new Map(rows.map((row) => [row.pfn, row]));
  for (const { page, fault, address } of rows) {
    if (page === undefined && address !== undefined)
      report(damage("a struct page", address, "unreadable", fault));
    if (page !== undefined && page.head === undefined) {
      report(
        damage(
          "a struct page",
          page.address,
          "mismatch",
          0,
          "it says that it is part of what it can't be part of",
        ),
      );
    }
  }
  const heads = rows.flatMap(({ page }) =>
    page?.head === undefined || known.has(page.head) ? [] : [page.head],
  );
  for (const row of yield* readPages(data, array, [...new Set(heads)])) known.set(row.pfn, row);
  const large = rows.flatMap(({ page }) => {
    const head = page?.head === undefined ? undefined : known.get(page.head)?.page;
    return head !== undefined && names.has(head.flags, "head") ? [head.pfn] : [];
  });
  const orders = yield* readOrders(data, array, large, report);
  const huge = yield* hugePages(data, array, names, new Set(large));
  const pages = new Map<number, PageFacts>();
  for (const row of rows) {
    const head = headOf(row, known, orders);
    pages.set(row.pfn, { pfn: row.pfn, row, head, use: useOf(row, head, names, huge) });
  }
  const spaces = [...pages.values()].flatMap(({ head, use }) =>
    use === "file" && head !== undefined ? [head.mapping] : [],
  );
  const files = yield* readFilesOfPages(data, spaces, report);
  const free = yield* freePages(data, array, names, [...pages.values()]);
  return { pages, files, orders, free };
}

/** The first page of what a page is part of. Who says to be part of what ends before it, is not. */
function headOf(
  { page }: PageRow,
  known: ReadonlyMap<number, PageRow>,
  orders: ReadonlyMap<number, number>,
): PageFrame | undefined {
  if (page === undefined || page.head === page.pfn) return page;
  const head = page.head === undefined ? undefined : known.get(page.head)?.page;
  if (head === undefined || head.head !== head.pfn) return undefined;
  const order = orders.get(head.pfn);
  return order !== undefined && page.pfn - head.pfn < 2 ** order ? head : undefined;
}

function useOf(
  row: PageRow,
  head: PageFrame | undefined,
  names: PageNames,
  huge: ReadonlySet<number>,
): PageUse {
  const { page } = row;
  if (page === undefined) return row.address === undefined ? "none" : "unreadable";
  if (freeOrder(row, names) !== undefined) return "free";
  if (head === undefined) return "other";
  const type = names.type(head.type);
  if (names.has(head.flags, "reserved")) return "reserved";
  if (head.refCount === 0 && head === page) return "unreferenced";
  if (type === "slab" || names.has(head.flags, "slab")) return "slab";
  if (type === "hugetlb" || huge.has(head.pfn)) return "hugetlb";
  if (type === "table") return "table";
  if (type !== undefined) return "other";
  if ((head.mapping & ANONYMOUS) !== 0n) return "anonymous";
  return head.mapping !== 0n && (head.mapping & MAPPING_BITS) === 0n ? "file" : "other";
}

/** Free blocks' pages, by number. */
function* freePages(
  data: KernelData,
  array: PageArray,
  names: PageNames,
  pages: readonly PageFacts[],
): Routine<ReadonlyMap<number, FreeOwner>> {
  const free = new Map<number, FreeOwner>();
  for (const { pfn, row } of pages) {
    const order = freeOrder(row, names);
    if (order !== undefined) free.set(pfn, { kind: "free", order, list: "buddy" });
  }
  const inside = pages.filter(({ use }) => use === "unreferenced").map(({ pfn }) => pfn);
  for (const [pfn, order] of yield* findFreeBlocks(data, array, names, inside)) {
    free.set(pfn, { kind: "free", order, list: "buddy" });
  }
  return free;
}

const TAIL = record("page", { destructor: maybe(int("compound_dtor")) });
const FOLIO = record("folio", { destructor: maybe(int("_folio_dtor")), flags: maybe(word("_flags_1")) });
/** HUGETLB_PAGE_DTOR, where types don't have it. */
const HUGETLB_DESTRUCTOR = 2;

/** Which compound pages are hugetlb's, of kernels that have no type for these. */
function* hugePages(
  { types, memory }: KernelData,
  array: PageArray,
  names: PageNames,
  heads: ReadonlySet<number>,
): Routine<ReadonlySet<number>> {
  const folio = FOLIO.onIf(types);
  const tail = TAIL.on(types);
  const inFolio = folio?.offsetOf("destructor") !== undefined;
  const inPage = !inFolio && tail.offsetOf("destructor") !== undefined;
  const byFlag = !inFolio && !inPage && names.knows("hugetlb") && hasStruct(types, "folio");
  if (heads.size === 0 || !(inFolio || inPage || byFlag)) return new Set();
  const pfns = [...heads];
  const wanted = huge(types.find("enum", "compound_dtor_id"));
  const found = new Set<number>();
  const at = pfns.map((pfn) => array.addressOf(inPage ? pfn + 1 : pfn) ?? 0n);
  if (inPage) {
    for (const [i, { value }] of (yield* tail.read(memory, at)).entries()) {
      if (value?.destructor === wanted) found.add(pfns[i] as number);
    }
  } else if (folio !== undefined) {
    for (const [i, { value }] of (yield* folio.read(memory, at)).entries()) {
      const isHuge = inFolio ? value?.destructor === wanted : names.has(value?.flags ?? 0n, "hugetlb");
      if (isHuge) found.add(pfns[i] as number);
    }
  }
  return found;
}

function huge(type: Parameters<typeof stripped>[0] | undefined): number {
  const named = stripped(type ?? { kind: "void" });
  if (named.kind !== "enum") return HUGETLB_DESTRUCTOR;
  return Number(
    named.enumerators.find(({ name }) => name === "HUGETLB_PAGE_DTOR")?.value ?? HUGETLB_DESTRUCTOR,
  );
}

/** The place in swap of an anonymous page that has one. @internal */
export function swapCacheOf(
  { row, head }: PageFacts,
  names: PageNames,
  pointerSize: 4 | 8,
): SwapCacheOwner | undefined {
  const { page } = row;
  if (page === undefined || head === undefined) return undefined;
  if (!names.has(head.flags, "swapcache") || !names.has(head.flags, "swapbacked")) return undefined;
  // (Each page of a large one has its own until 6.12, and then they follow each other.)
  const entry = head.private;
  const bits = BigInt(8 * pointerSize - 1) - SWAP_TYPE_BITS;
  const slot = Number(entry & ((1n << bits) - 1n)) + page.pfn - head.pfn;
  return { kind: "swap cache", type: Number((entry >> bits) & 31n), slot };
}
