/**
 * The pages that an `address_space` has: page frames, and what else is kept where pages are missing.
 *
 * Facts: include/linux/fs.h (`struct address_space`), include/linux/xarray.h (`xa_to_value`: values are odd; before 4.20, exceptional
 * entries have bit 1), mm/workingset.c (shadows), include/linux/swapops.h (`radix_to_swp_entry`, `swp_type`: the area's number in the highest
 * five bits of a value, in every architecture), fs/dax.c. A large folio is one entry since 5.17 (6b24ca4a1a8d), and before its pages
 * were one each, which all name its first one. Of hugetlbfs, an index is a huge page until 6.7 (a08c7193e4f1), and a page since: an
 * entry stands for many indices then.
 */
import type { Fault, Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { type DamageReason, damage, type OnDamage } from "../objects/damage.js";
import { walkXarray, type XarrayEntry } from "../objects/xarray.js";
import {
  type PageArray,
  type PageFrame,
  type PageRow,
  pageNames,
  readOrders,
  readPages,
} from "../pages/index.js";
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
  /** What has no page there is zeros, so that nothing may be missed. */
  readonly isInMemory: boolean;
  /** Pages that the `address_space` says it has; `undefined` if that is not known. */
  readonly pageCount: bigint | undefined;
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

/** Reads all entries. @param others Nodes of other files' arrays: see `walkXarray`. @internal */
export function* readEntries(
  data: KernelData,
  array: PageArray,
  file: EntriesOf,
  report: OnDamage,
  others?: Set<bigint>,
): Routine<FileEntries> {
  const entries = yield* walkXarray(data.memory, data.types, file.pages, file.what, report, others);
  const runs = new Runs(file.size);
  const swapped = new SwappedRuns(file.size);
  const pages: XarrayEntry[] = [];
  let evicted = 0;
  let dax = 0;
  for (const entry of entries) {
    if ((entry.entry & 3n) === 0n) {
      pages.push(entry);
    } else if (file.isShmem) {
      const problem = swapped.add(swappedRun(data, array.pageSize, entry));
      if (problem !== undefined)
        report(damage(file.what, entry.entry, "invalid", 0, `page ${entry.index} ${problem}`));
    } else if (file.isDax) {
      dax += entry.count ?? 1;
    } else {
      evicted += entry.count ?? 1;
      // (Only what has another place is thrown out of memory.)
      if (file.isInMemory) {
        report(damage(file.what, entry.entry, "invalid", 0, `page ${entry.index} is said to be thrown out`));
      }
    }
  }
  // (A huge page that stands for one index is one of a kernel that counts huge pages.)
  const countsHuge = file.isHugetlb && pages.every(({ count }) => count === undefined);
  let taken = 0;
  for (let from = 0; from < pages.length; from += PIECE) {
    taken += yield* readPiece(data, array, file, pages.slice(from, from + PIECE), countsHuge, runs, report);
  }
  // (Of huge pages, kernels count one each, or all that they are made of.)
  const said = file.isHugetlb ? undefined : file.pageCount;
  if (file.isInMemory && said !== undefined && BigInt.asIntN(64, said) > BigInt(taken)) {
    report(
      damage(file.what, file.pages, "mismatch", 0, `${taken} pages are there of the ${said} that it has`),
    );
  }
  return { runs: runs.all, swapped: swapped.all, evicted, dax };
}

/** @returns how many pages are right. */
function* readPiece(
  data: KernelData,
  array: PageArray,
  { mapping, what }: EntriesOf,
  entries: readonly XarrayEntry[],
  countsHuge: boolean,
  runs: Runs,
  report: OnDamage,
): Routine<number> {
  const names = pageNames(data);
  const folios = yield* readFolios(data, array, entries, report);
  let taken = 0;
  for (const [i, { index, count = 1, entry }] of entries.entries()) {
    const wrong = (reason: DamageReason, more: string, fault: Fault = 0) =>
      report(damage(what, entry, reason, fault, more));
    const found = folios[i] as Folio;
    if ("problem" in found) {
      wrong(found.fault === 0 ? "invalid" : "unreadable", `page ${index} ${found.problem}`, found.fault);
      continue;
    }
    const { page, head, size } = found;
    // Where in its folio the page is that the index is of: an entry names the first one, or (before 5.17) its own.
    const first = Number(head.index);
    const behind = index - first;
    const isIts = head.mapping === mapping && behind >= 0 && behind < (countsHuge ? 1 : size);
    if (!isIts || (page.pfn !== head.pfn && page.pfn - head.pfn !== behind)) {
      wrong("mismatch", `page ${index} is another file's, or page ${first + page.pfn - head.pfn} of it`);
      continue;
    }
    if (countsHuge && size === 1) {
      wrong("invalid", `page ${index} is a huge page whose size is not known`);
      continue;
    }
    const room = size - behind;
    if (count > room) wrong("mismatch", `${room} pages that are ${count}`);
    const length = countsHuge ? size : Math.min(count, room);
    const start = index * (countsHuge ? size : 1) * array.pageSize;
    const problem = runs.add({
      start,
      end: start + length * array.pageSize,
      physical: (head.pfn + behind) * array.pageSize,
      dirty: names.has(head.flags, "dirty"),
      writeback: names.has(head.flags, "writeback"),
      uptodate: names.has(head.flags, "uptodate"),
    });
    if (problem === undefined) taken += length;
    else wrong("invalid", `page ${index} ${problem}`);
  }
  return taken;
}

/** The page that an entry leads to, and the first one of its folio, which says whose it is. */
type Folio =
  | { readonly page: PageFrame; readonly head: PageFrame; readonly size: number }
  | { readonly problem: string; readonly fault: Fault };

/** What each entry leads to. */
function* readFolios(
  data: KernelData,
  array: PageArray,
  entries: readonly XarrayEntry[],
  report: OnDamage,
): Routine<Folio[]> {
  const names = pageNames(data);
  const frames = entries.map(({ entry }) => array.pfnOf(entry));
  const rows = new Map<number, PageRow>();
  const read = function* (pfns: Iterable<number | undefined>): Routine<void> {
    const fresh = [...new Set(pfns)].filter((pfn) => pfn !== undefined && !rows.has(pfn)) as number[];
    for (const row of yield* readPages(data, array, fresh)) rows.set(row.pfn, row);
  };
  yield* read(frames);
  yield* read(frames.map((pfn) => (pfn === undefined ? undefined : rows.get(pfn)?.page?.head)));
  const heads: number[] = [];
  for (const { page } of rows.values()) {
    if (page !== undefined && page.head === page.pfn && names.has(page.flags, "head")) heads.push(page.pfn);
  }
  const orders = yield* readOrders(data, array, heads, report);
  yield* read([...orders].map(([pfn, order]) => pfn + 2 ** order - 1));
  return frames.map((pfn): Folio => {
    if (pfn === undefined) return { problem: "leads to no page structure", fault: 0 };
    const { page, fault = 0 } = rows.get(pfn) ?? {};
    if (page === undefined) return { problem: "leads to a page structure that there is none of", fault };
    const head = page.head === undefined ? undefined : rows.get(page.head);
    if (head?.page?.head !== head?.pfn || head?.page === undefined) {
      return { problem: "leads to a page behind another, which is not there", fault: head?.fault ?? 0 };
    }
    const size = 2 ** (orders.get(head.pfn) ?? 0);
    if (rows.get(head.pfn + size - 1)?.page?.head !== head.pfn) {
      return { problem: `is said to be one of ${size}, of which the last is another's`, fault: 0 };
    }
    return { page, head: head.page, size };
  });
}

/** Runs that grow by what follows. */
class Runs {
  readonly all: CachedRun[] = [];
  readonly #size: number;
  /** Of the last, also where it ends behind the file. */
  #end = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /** They ascend. @returns what is wrong with it. */
  add(run: CachedRun): string | undefined {
    const last = this.all.at(-1);
    if (!isPlace(run.end)) return BEYOND;
    if (run.start < this.#end) return OVERLAP;
    this.#end = run.end;
    const { start, physical } = run;
    const end = Math.min(run.end, this.#size);
    if (start >= end) return undefined;
    const joins =
      last !== undefined &&
      last.end === start &&
      last.physical + (last.end - last.start) === physical &&
      last.dirty === run.dirty &&
      last.writeback === run.writeback &&
      last.uptodate === run.uptodate;
    if (joins) this.all[this.all.length - 1] = { ...last, end };
    else this.all.push({ ...run, end });
    return undefined;
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

/** As {@link Runs}. */
class SwappedRuns {
  readonly all: SwappedRun[] = [];
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  /** They ascend, and don't overlap: they are entries of one array. @returns what is wrong with it. */
  add(run: SwappedRun): string | undefined {
    const end = Math.min(run.end, this.#size);
    if (run.start >= end) return undefined;
    if (!isPlace(end)) return BEYOND;
    if (!isPlace(run.offset + (end - run.start)))
      return "is at a place in a swap area that lies beyond 2^53 bytes";
    const last = this.all.at(-1);
    const joins =
      last !== undefined &&
      last.end === run.start &&
      last.area === run.area &&
      last.offset + (last.end - last.start) === run.offset;
    if (joins) this.all[this.all.length - 1] = { ...last, end };
    else this.all.push({ ...run, end });
    return undefined;
  }
}

const BEYOND = "lies beyond 2^53 bytes";
const OVERLAP = "overlaps the one in front of it";

function isPlace(offset: number): boolean {
  return Number.isSafeInteger(offset);
}
