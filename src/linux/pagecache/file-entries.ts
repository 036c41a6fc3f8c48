/**
 * The pages that an `address_space` has: page frames, and what else is kept where pages are missing.
 *
 * Facts: include/linux/fs.h (`struct address_space`), include/linux/xarray.h (`xa_to_value`: values are odd; before 4.20, exceptional
 * entries have bit 1), mm/workingset.c (shadows), include/linux/swapops.h (`radix_to_swp_entry`, `swp_type`: the area's number in the highest
 * five bits of a value, in every architecture), fs/dax.c. A large folio is one entry since 5.17 (6b24ca4a1a8d), and before its pages
 * were one each, which all name its first one. Of hugetlbfs, an index is a huge page until 6.7 (a08c7193e4f1), and a page since: an
 * entry stands for many indices then.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkXarray, type XarrayEntry } from "../objects/xarray.js";
import { type PageArray, type PageFrame, pageNames, readOrders, readPages } from "../pages/index.js";
import type { CachedRun, SwappedRun } from "./cached-file.js";

/** What an `address_space` is of. @internal */
export interface EntriesOf {
  /** Address of the `address_space`, and of its array. */
  readonly mapping: bigint;
  readonly pages: bigint;
  /** tmpfs: values are places in swap areas. */
  readonly isShmem: boolean;
  readonly isHugetlb: boolean;
  readonly isDax: boolean;
  /** Bytes of the file; pages behind are left out. */
  readonly size: number;
  /** For reports. */
  readonly what: string;
}

/** What is found. @internal */
export interface FileEntries {
  readonly runs: readonly CachedRun[];
  readonly swapped: readonly SwappedRun[];
  readonly evicted: number;
  readonly dax: number;
}

/** Entries that are looked at at a time. */
const PIECE = 8192;
/** `MAX_SWAPFILES_SHIFT`. */
const AREA_BITS = 5n;

/** Reads all entries. @internal */
export function* readEntries(
  data: KernelData,
  array: PageArray,
  file: EntriesOf,
  report: OnDamage,
): Routine<FileEntries> {
  const entries = yield* walkXarray(data.memory, data.types, file.pages, file.what, report);
  const runs = new Runs(file.size);
  const swapped: SwappedRun[] = [];
  const pages: XarrayEntry[] = [];
  let evicted = 0;
  let dax = 0;
  for (const entry of entries) {
    if ((entry.entry & 3n) === 0n) pages.push(entry);
    else if (file.isShmem) addSwapped(swapped, swappedRun(data, array.pageSize, entry), file.size);
    else if (file.isDax) dax += entry.count ?? 1;
    else evicted += entry.count ?? 1;
  }
  // (A huge page that stands for one index is one of a kernel that counts huge pages.)
  const countsHuge = file.isHugetlb && pages.every(({ count }) => count === undefined);
  for (let from = 0; from < pages.length; from += PIECE) {
    yield* readPiece(data, array, file, pages.slice(from, from + PIECE), countsHuge, runs, report);
  }
  return { runs: runs.all, swapped, evicted, dax };
}

function* readPiece(
  data: KernelData,
  array: PageArray,
  { mapping, what }: EntriesOf,
  entries: readonly XarrayEntry[],
  countsHuge: boolean,
  runs: Runs,
  report: OnDamage,
): Routine<void> {
  const names = pageNames(data);
  const placed = entries.flatMap((each) => {
    const pfn = array.pfnOf(each.entry);
    if (pfn !== undefined) return [{ ...each, pfn }];
    report(damage(what, each.entry, "invalid", 0, `page ${each.index} leads to no page structure`));
    return [];
  });
  const rows = yield* readPages(
    data,
    array,
    placed.map(({ pfn }) => pfn),
  );
  const isHead = (page: PageFrame) => page.head === page.pfn && names.has(page.flags, "head");
  const heads = rows.flatMap(({ page }) => (page !== undefined && isHead(page) ? [page.pfn] : []));
  const orders = yield* readOrders(data, array, heads, report);
  for (const [i, { index, count = 1, pfn, entry }] of placed.entries()) {
    const page = rows[i]?.page;
    if (page === undefined) {
      report(
        damage(what, entry, "unreadable", rows[i]?.fault ?? 0, "a page structure that there is none of"),
      );
      continue;
    }
    // (A page behind the first of its folio says neither: of old kernels, each is an entry.)
    const isTail = page.head !== pfn;
    const pagesOf = 2 ** (orders.get(pfn) ?? 0);
    const behind = isTail ? 0 : index - Number(page.index);
    if (!isTail && (page.mapping !== mapping || behind < 0 || behind >= pagesOf)) {
      const more = `page ${index} is another file's, or page ${page.index} of it`;
      report(damage(what, entry, "mismatch", 0, more));
      continue;
    }
    if (count > pagesOf) report(damage(what, entry, "mismatch", 0, `${pagesOf} pages that are ${count}`));
    const unit = countsHuge ? pagesOf : 1;
    const length = countsHuge ? pagesOf : Math.min(count, pagesOf);
    const start = index * unit * array.pageSize;
    const fits = runs.add({
      start,
      end: start + length * array.pageSize,
      physical: (pfn + (countsHuge ? 0 : behind)) * array.pageSize,
      dirty: names.has(page.flags, "dirty"),
      writeback: names.has(page.flags, "writeback"),
      uptodate: names.has(page.flags, "uptodate"),
    });
    if (!fits) report(damage(what, entry, "invalid", 0, `page ${index} lies beyond 2^53 bytes`));
  }
}

/** Runs that grow by what follows. */
class Runs {
  readonly all: CachedRun[] = [];
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  /** Ascending by `start`; what overlaps is not taken twice. @returns whether its place is a number. */
  add(run: CachedRun): boolean {
    if (!Number.isSafeInteger(run.end)) return false;
    const last = this.all.at(-1);
    const start = Math.max(run.start, last?.end ?? 0);
    const end = Math.min(run.end, this.#size);
    if (start >= end) return true;
    const physical = run.physical + start - run.start;
    const joins =
      last !== undefined &&
      last.end === start &&
      last.physical + (last.end - last.start) === physical &&
      last.dirty === run.dirty &&
      last.writeback === run.writeback &&
      last.uptodate === run.uptodate;
    if (joins) this.all[this.all.length - 1] = { ...last, end };
    else this.all.push({ ...run, start, end, physical });
    return true;
  }
}

/** Where a page of tmpfs is in a swap area. */
function swappedRun({ memory }: KernelData, pageSize: number, { index, entry, count = 1 }: XarrayEntry) {
  const value = (entry & 1n) === 1n ? entry >> 1n : entry >> 2n;
  const bits = BigInt(8 * memory.pointerSize - 1) - AREA_BITS;
  const page = value & ((1n << bits) - 1n);
  return {
    start: index * pageSize,
    end: (index + count) * pageSize,
    area: Number(value >> bits),
    offset: Number(page) * pageSize,
  };
}

function addSwapped(all: SwappedRun[], run: SwappedRun, size: number): void {
  const end = Math.min(run.end, size);
  if (run.start >= end || !Number.isSafeInteger(run.offset + run.end)) return;
  const last = all.at(-1);
  const joins =
    last !== undefined &&
    last.end === run.start &&
    last.area === run.area &&
    last.offset + (last.end - last.start) === run.offset;
  if (joins) all[all.length - 1] = { ...last, end };
  else all.push({ ...run, end });
}
