/** What a space maps, in numbers: pages and bytes by page size and rights. */
import type { Routine } from "../../io/index.js";
import type { PageTableIo } from "../page-table-io.js";
import { RunPass } from "./maps.js";
import { RUN_ROWS, RunColumns } from "./run-columns.js";
import {
  type Access,
  accessBits,
  accessFields,
  firstPage,
  kindOfRow,
  MAPPED,
  PAGE_BYTES,
  pageCount,
  SWAPPED_OUT,
} from "./run-pages.js";

/** Mappings of one page size with one set of rights. */
export interface SummaryRow extends Access {
  /** Bytes of a page. */
  readonly pageSize: number;
  /** Mappings of such pages. */
  readonly pages: number;
  /** What of them lies in the range; each mapping counts, also where several map the same frame. */
  readonly bytes: bigint;
}

/** What `VirtualMemory.summary` gives. */
export interface MapSummary {
  /** By page size, ascending, then by rights; only what there is. */
  readonly rows: readonly SummaryRow[];
  /** Pages of the system that are not in RAM now. */
  readonly swapped: { readonly ranges: number; readonly bytes: bigint };
  /** What can't be told: tables that are missing, entries that are malformed. */
  readonly unknown: { readonly ranges: number; readonly bytes: bigint };
}

/** Values of a `rights` column. */
const RIGHTS = 256;

/** The routine of `VirtualMemory.summary`. @param from First page number. @param to Last one, exclusive. */
export function* summaryRoutine(io: PageTableIo, from: number, to: number): Routine<MapSummary> {
  const { mmu } = io;
  const runs = new RunColumns(mmu, RUN_ROWS);
  const pass = new RunPass(io, from, to, runs);
  /** Pages of their own size, and of 4 KiB, by level and rights. */
  const pages = new Float64Array((mmu.levels + 1) * RIGHTS);
  const small = new Float64Array((mmu.levels + 1) * RIGHTS);
  const swapped = { ranges: 0, pages: 0 };
  const unknown = { ranges: 0, pages: 0 };
  while (yield* pass.next()) {
    for (let row = 0; row < runs.length; row++) {
      const count = pageCount(runs, row);
      const kind = kindOfRow(runs, row);
      if (kind !== MAPPED) {
        const sum = kind === SWAPPED_OUT ? swapped : unknown;
        sum.ranges++;
        sum.pages += count;
        continue;
      }
      const level = runs.levels[row] as number;
      const at = level * RIGHTS + accessBits(runs.rights[row] as number);
      (small[at] as number) += count;
      // A range may hold a part of a large page.
      const each = (mmu.size[level] as number) / PAGE_BYTES;
      const first = firstPage(runs, row);
      (pages[at] as number) += Math.floor((first + count - 1) / each) - Math.floor(first / each) + 1;
    }
  }
  const rows: SummaryRow[] = [];
  for (let level = 1; level <= mmu.levels; level++) {
    for (let rights = 0; rights < RIGHTS; rights++) {
      const at = level * RIGHTS + rights;
      if (pages[at] === 0) continue;
      rows.push({
        pageSize: mmu.size[level] as number,
        pages: pages[at] as number,
        bytes: BigInt(small[at] as number) * BigInt(PAGE_BYTES),
        ...accessFields(rights),
      });
    }
  }
  return { rows, swapped: inBytes(swapped), unknown: inBytes(unknown) };
}

function inBytes({ ranges, pages }: { readonly ranges: number; readonly pages: number }) {
  return { ranges, bytes: BigInt(pages) * BigInt(PAGE_BYTES) };
}
