/** How many pages of mapped ranges are in RAM, swapped out, or not there: by a pass over the process's page table. */
import type { Routine } from "../../io/index.js";
import {
  firstPage,
  kindOfRow,
  MAPPED,
  PAGE_BYTES,
  pageCount,
  SWAPPED_OUT,
} from "../../paging/maps/run-pages.js";
import type { LinuxKernel } from "../kernel.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { Task } from "./task.js";

/** Pages of a range, of the kernel's page size. `undefined` where they were not counted, or there is no page table. */
export interface PageCounts {
  /** Mapped by the page table; pages of zeros that were only read are among them (smaps' Rss leaves those out). */
  readonly resident: number | undefined;
  /** Of which the page table names a place in swap, or in another kind of memory. */
  readonly swapped: number | undefined;
  /** Never touched, or given back. */
  readonly absent: number | undefined;
  /** Of which nothing can be told: their page tables can't be read. */
  readonly unknown: number | undefined;
}

const NOT_COUNTED: PageCounts = {
  resident: undefined,
  swapped: undefined,
  absent: undefined,
  unknown: undefined,
};

/** Counts the pages of ranges that are ascending and apart. @internal */
export function* countPages(
  kernel: LinuxKernel,
  task: Task,
  ranges: readonly { readonly value: { readonly start: bigint; readonly end: bigint } }[],
  wanted: boolean,
  report: OnDamage,
): Routine<PageCounts[]> {
  const [first, last] = [ranges[0], ranges.at(-1)];
  if (!wanted || task.root === undefined || first === undefined || last === undefined)
    return ranges.map(() => NOT_COUNTED);
  const starts = Float64Array.from(ranges, ({ value }) => Number(value.start / BigInt(PAGE_BYTES)));
  const ends = Float64Array.from(ranges, ({ value }) => Number(value.end / BigInt(PAGE_BYTES)));
  const counts = [0, 1, 2].map(() => new Float64Array(ranges.length));
  const cursor = kernel
    .addressSpace(task.root)
    .runBatches({ start: first.value.start, end: last.value.end })
    .cursor();
  try {
    for (let at = 0; ; ) {
      const next = yield* cursor.next();
      if (next.done === true) break;
      const runs = next.value;
      for (let row = 0; row < runs.length; row++) {
        const from = firstPage(runs, row);
        const to = from + pageCount(runs, row);
        const kind = kindOfRow(runs, row);
        const column = counts[kind === MAPPED ? 0 : kind === SWAPPED_OUT ? 1 : 2] as Float64Array;
        while (at < ends.length && (ends[at] as number) <= from) at++;
        // A run may go over several ranges; the next one may begin in the last of these.
        for (let i = at; i < ends.length && (starts[i] as number) < to; i++) {
          (column[i] as number) += Math.min(to, ends[i] as number) - Math.max(from, starts[i] as number);
        }
      }
    }
  } finally {
    yield* cursor.end();
  }
  const each = (kernel.vmcoreinfo.pageSize ?? PAGE_BYTES) / PAGE_BYTES;
  return ranges.map(({ value }, i) => {
    const [resident = 0, swapped = 0, unknown = 0] = counts.map((column) => (column[i] as number) / each);
    const pages = ((ends[i] as number) - (starts[i] as number)) / each;
    if (unknown > 0) {
      const more = `the page tables of ${unknown} of its pages can't be read`;
      report(damage(`a mapped range of process ${task.tgid}`, value.start, "invalid", 0, more));
    }
    return { resident, swapped, absent: pages - resident - swapped - unknown, unknown };
  });
}
