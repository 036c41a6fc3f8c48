/** Areas: neighbouring runs with the same rights as one, wherever in physical memory they lie. */
import type { Routine, Sink } from "../io/index.js";
import { RunPass } from "./maps.js";
import type { PageTableIo } from "./page-table-io.js";
import { type BrokenRun, RunColumns } from "./run-columns.js";
import {
  type Access,
  accessBits,
  accessFields,
  firstPage,
  pageAddress,
  pageCount,
  sizesOf,
} from "./run-pages.js";

/** Mapped memory: contiguous virtually, with one set of rights. */
export interface MappedArea extends Access {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  /** Sizes of its pages in bytes, ascending. */
  readonly pageSizes: readonly number[];
  readonly state?: undefined;
}

/** An area of `VirtualMemory.areas`; `state` tells which. What can't be told is as in `maps`. */
export type MapArea = MappedArea | BrokenRun;

/** Rows of a batch: 150 KiB of columns. */
const ROWS = 4096;

/** The routine of `VirtualMemory.areas`. @param from First page number. @param to Last one, exclusive. */
export function* areasRoutine(sink: Sink<MapArea>, io: PageTableIo, from: number, to: number): Routine<void> {
  const runs = new RunColumns(io.mmu, ROWS);
  const pass = new RunPass(io, from, to, runs);
  // The area that may still grow: none while `start` and `end` are the same.
  let start = 0;
  let end = 0;
  let rights = 0;
  let levels = 0;
  const area = (): MappedArea => ({
    start: pageAddress(start),
    end: pageAddress(end),
    pageSizes: sizesOf(io.mmu, levels),
    ...accessFields(rights),
  });
  while (yield* pass.next()) {
    for (let row = 0; row < runs.length; row++) {
      const first = firstPage(runs, row);
      const own = accessBits(runs.rights[row] as number);
      const broken = runs.faults[row] !== 0;
      if (start !== end && (broken || first !== end || own !== rights)) {
        yield sink.emit(area());
        start = end;
      }
      if (broken) {
        yield sink.emit(runs.row(row) as BrokenRun);
        continue;
      }
      if (start === end) {
        start = first;
        rights = own;
        levels = 0;
      }
      end = first + pageCount(runs, row);
      levels |= 1 << (runs.levels[row] as number);
    }
  }
  if (start !== end) yield sink.emit(area());
}
