/** The pages that a process's page tables map, in the ranges that it has, and what these pages are. */
import { type Fault, faultState, type Routine } from "../../io/index.js";
import {
  firstPage,
  kindOfRow,
  MAPPED,
  PAGE_BYTES,
  pageAddress,
  pageCount,
} from "../../paging/maps/run-pages.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { type PageArray, readPages } from "../pages/index.js";

/** Mapped memory, contiguous both virtually and physically, with one set of rights. @internal */
export interface PageRun {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly physical: number;
  /** Bits as of `Rights.rights`. */
  readonly rights: number;
}

/** Runs of one process that are kept: page tables that share tables map one page as often as they like. */
const MAX_RUNS = 1 << 20;

/** The mapped runs of the lower half, which is a process's. That a part of the tables can't be told of is told, once. @internal */
export function* mappedRuns(memory: VirtualMemory, what: string, report: OnDamage): Routine<PageRun[]> {
  const half = 1n << BigInt(memory.mmu.splits.reduce((sum, bits) => sum + bits) - 1);
  const runs: PageRun[] = [];
  const end = memory.pointerSize === 4 ? 1n << 32n : half;
  let isTold = false;
  const cursor = memory.runBatches({ start: 0n, end }).cursor();
  try {
    for (;;) {
      const next = yield* cursor.next();
      if (next.done === true) return runs;
      const columns = next.value;
      for (let row = 0; row < columns.length; row++) {
        const page = firstPage(columns, row);
        if (kindOfRow(columns, row) !== MAPPED) {
          const fault = columns.faults[row] as Fault;
          if (!isTold && isUntold(fault)) {
            isTold = true;
            report(damage(what, pageAddress(page), "unreadable", fault));
          }
          continue;
        }
        runs.push({
          start: pageAddress(page),
          end: pageAddress(page + pageCount(columns, row)),
          physical: columns.physical[row] as number,
          rights: columns.rights[row] as number,
        });
        if (runs.length < MAX_RUNS) continue;
        report(damage(what, pageAddress(page), "too long", 0, "no more of its pages are looked at"));
        return runs;
      }
    }
  } finally {
    yield* cursor.end();
  }
}

/** Whether what lies there is not known, rather than known to be elsewhere. */
function isUntold(fault: Fault): boolean {
  const state = faultState(fault);
  return state === "malformed" || state === "table-missing";
}

/** The parts of runs that lie in a range, ascending. Runs are ascending. @internal */
export function runsWithin(runs: readonly PageRun[], start: bigint, end: bigint): PageRun[] {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((runs[middle] as PageRun).end <= start) low = middle + 1;
    else high = middle;
  }
  const found: PageRun[] = [];
  for (let i = low; i < runs.length; i++) {
    const run = runs[i] as PageRun;
    if (run.start >= end) break;
    const from = run.start > start ? run.start : start;
    const to = run.end < end ? run.end : end;
    found.push({ ...run, start: from, end: to, physical: run.physical + Number(from - run.start) });
  }
  return found;
}

/** Pages of runs. @internal */
export function pagesIn(runs: readonly PageRun[]): number {
  return runs.reduce((sum, { start, end }) => sum + Number(end - start) / PAGE_BYTES, 0);
}

/** `mapping` of an anonymous page has this bit (PAGE_MAPPING_ANON, include/linux/page-flags.h). */
const ANONYMOUS = 1n;

/** Frames whose page is anonymous: of memory of no file, or a process's own copy of a file's. @internal */
export class AnonymousFrames {
  readonly #known = new Map<number, boolean>();
  readonly #data: KernelData;
  readonly #array: PageArray;

  constructor(data: KernelData, array: PageArray) {
    this.#data = data;
    this.#array = array;
  }

  /** Reads what is not known yet. What can't be read is told of, and counts as none. */
  *load(pfns: readonly number[], report: OnDamage): Routine<void> {
    const wanted = [...new Set(pfns)].filter((pfn) => !this.#known.has(pfn));
    const rows = yield* readPages(this.#data, this.#array, wanted);
    const tails: [number, number][] = [];
    for (const { pfn, page, address, fault } of rows) {
      if (page === undefined && address !== undefined) {
        report(damage("a struct page", address, "unreadable", fault));
      }
      if (page?.head !== undefined && page.head !== pfn) tails.push([pfn, page.head]);
      this.#known.set(pfn, page !== undefined && (page.mapping & ANONYMOUS) !== 0n);
    }
    // (What a page behind the first one of several holds there is something else.)
    const heads = yield* readPages(this.#data, this.#array, [...new Set(tails.map(([, head]) => head))]);
    const byHead = new Map(heads.map(({ pfn, page }) => [pfn, page]));
    for (const [pfn, head] of tails) {
      const page = byHead.get(head);
      this.#known.set(pfn, page !== undefined && (page.mapping & ANONYMOUS) !== 0n);
    }
  }

  has(pfn: number): boolean {
    return this.#known.get(pfn) === true;
  }
}
