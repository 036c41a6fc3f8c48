/** Areas: neighbouring runs with the same rights as one, wherever in physical memory they lie. */
import { type Fault, type FaultState, faultState, levelOf, type Routine, type Sink } from "../../io/index.js";
import type { CompiledMmu } from "../formats/mmu.js";
import type { PageTableIo } from "../page-table-io.js";
import { RunPass } from "./maps.js";
import { RunColumns } from "./run-columns.js";
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

/** What is swapped out or can't be told, side by side for the same reason. (The entries are in `maps`.) */
export interface UnmappedArea {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  readonly state: FaultState;
  /** Level of the entries that are malformed or swapped, or of the tables that are missing. */
  readonly level: number;
  /** For `table-missing`: the state of the read of the table. */
  readonly cause?: FaultState;
}

/** An area of `VirtualMemory.areas`; `state` tells which. */
export type MapArea = MappedArea | UnmappedArea;

/** Rows of a batch: 150 KiB of columns. */
const ROWS = 4096;

/** The area that may still grow. */
class Growing {
  readonly #mmu: CompiledMmu;
  #start = 0;
  #end = 0;
  #rights = 0;
  #levels = 0;
  #fault: Fault = 0;

  constructor(mmu: CompiledMmu) {
    this.#mmu = mmu;
  }

  get isEmpty(): boolean {
    return this.#start === this.#end;
  }

  goesOn(first: number, rights: number, fault: Fault): boolean {
    return first === this.#end && rights === this.#rights && fault === this.#fault;
  }

  begin(first: number, rights: number, fault: Fault): void {
    this.#start = first;
    this.#rights = rights;
    this.#fault = fault;
    this.#levels = 0;
  }

  grow(end: number, level: number): void {
    this.#end = end;
    this.#levels |= 1 << level;
  }

  area(): MapArea {
    const range = { start: pageAddress(this.#start), end: pageAddress(this.#end) };
    if (this.#fault === 0) {
      return { ...range, pageSizes: sizesOf(this.#mmu, this.#levels), ...accessFields(this.#rights) };
    }
    const { level, cause } = levelOf(this.#fault);
    const unmapped = { ...range, state: faultState(this.#fault), level };
    return cause === undefined ? unmapped : { ...unmapped, cause };
  }
}

/** The routine of `VirtualMemory.areas`. @param from First page number. @param to Last one, exclusive. */
export function* areasRoutine(sink: Sink<MapArea>, io: PageTableIo, from: number, to: number): Routine<void> {
  const runs = new RunColumns(io.mmu, ROWS);
  const pass = new RunPass(io, from, to, runs);
  const growing = new Growing(io.mmu);
  while (yield* pass.next()) {
    for (let row = 0; row < runs.length; row++) {
      const first = firstPage(runs, row);
      const rights = accessBits(runs.rights[row] as number);
      const fault = runs.faults[row] as number;
      if (growing.isEmpty) {
        growing.begin(first, rights, fault);
      } else if (!growing.goesOn(first, rights, fault)) {
        yield sink.emit(growing.area());
        growing.begin(first, rights, fault);
      }
      growing.grow(first + pageCount(runs, row), runs.levels[row] as number);
    }
  }
  if (!growing.isEmpty) yield sink.emit(growing.area());
}
