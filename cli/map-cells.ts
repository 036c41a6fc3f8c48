/** An address space in so many cells as a picture can show: what lies side by side with the same rights, as one. */
import { faultState } from "../src/io/index.js";
import { type Access, GLOBAL, type RunColumns } from "../src/paging/index.js";

/** What pages of a cell are. */
export interface Content {
  /** Undefined for what is not mapped. */
  readonly access: Access | undefined;
  /** Whether it is swapped out; what is neither that nor mapped can't be told. */
  readonly swapped: boolean;
  /** Bytes of a page; 0 for what is not mapped. */
  readonly pageSize: number;
}

/** A range without large gaps, in pages of 4 KiB. */
export interface Cell {
  readonly from: number;
  /** Exclusive. */
  to: number;
  /** Pages of 4 KiB by key of their content. Less than `to - from` in all if there are gaps in it. */
  readonly pages: Map<number, number>;
}

/** Cells that a picture is made of. */
export const MAX_CELLS = 1500;

/** Keys of what is not mapped. */
const UNKNOWN = -1;
const SWAPPED = -2;

/**
 * Takes runs, ascending, and keeps at most twice as many cells as wanted: when there are more, those that are smallest and
 * closest to their neighbour become one with it.
 */
export class MapCells {
  /** By key. */
  readonly contents = new Map<number, Content>();
  /** Pages of 4 KiB of each content, in all. */
  readonly totals = new Map<number, number>();
  readonly #limit: number;
  #cells: Cell[] = [];
  /** Rights of the last cell, if it has only one kind: such a cell grows. */
  #rights = Number.NaN;

  constructor(limit = MAX_CELLS) {
    this.#limit = limit;
  }

  /** Cells that are kept now. */
  get size(): number {
    return this.#cells.length;
  }

  /** Takes a batch of runs. */
  take(runs: RunColumns): void {
    for (let row = 0; row < runs.length; row++) {
      const start = runs.starts[row] as bigint;
      const from = Number(start >> 12n);
      const pages = (runs.lengths[row] as number) / 4096;
      const fault = runs.faults[row] as number;
      const absent = fault === 0 ? 0 : faultState(fault) === "swapped" ? SWAPPED : UNKNOWN;
      // Bits of rights that differ in "global" alone look the same.
      const bits = absent === 0 ? (runs.rights[row] as number) & ~GLOBAL : absent;
      const key = absent === 0 ? bits * 8 + (runs.levels[row] as number) : absent;
      if (!this.contents.has(key)) this.contents.set(key, contentOf(runs, row));
      this.#add(from, from + pages, bits, key, pages);
    }
  }

  #add(from: number, to: number, rights: number, key: number, pages: number): void {
    this.totals.set(key, (this.totals.get(key) ?? 0) + pages);
    const last = this.#cells[this.#cells.length - 1];
    if (last !== undefined && last.to === from && this.#rights === rights) {
      last.to = to;
      last.pages.set(key, (last.pages.get(key) ?? 0) + pages);
      return;
    }
    this.#cells.push({ from, to, pages: new Map([[key, pages]]) });
    this.#rights = rights;
    if (this.#cells.length > 2 * this.#limit) this.#condense();
  }

  /** The cells, ascending: at most as many as wanted. */
  cells(): readonly Cell[] {
    this.#condense();
    return this.#cells;
  }

  /** Joins pairs until there are few enough; each round joins at least half of what is too much. */
  #condense(): void {
    while (this.#cells.length > this.#limit) {
      const cells = this.#cells;
      const costs = new Float64Array(cells.length - 1);
      for (let i = 0; i < costs.length; i++) costs[i] = cost(cells[i] as Cell, cells[i + 1] as Cell);
      const surplus = cells.length - this.#limit;
      const dearest = Float64Array.from(costs).sort()[Math.min(surplus, costs.length) - 1] as number;
      const joined: Cell[] = [];
      let left = surplus;
      for (let i = 0; i < cells.length; i++) {
        const cell = cells[i] as Cell;
        const next = cells[i + 1];
        if (next !== undefined && left > 0 && (costs[i] as number) <= dearest) {
          joined.push(join(cell, next));
          left--;
          i++;
        } else joined.push(cell);
      }
      this.#cells = joined;
      this.#rights = Number.NaN;
    }
  }
}

function contentOf(runs: RunColumns, row: number): Content {
  const run = runs.row(row);
  return run.state === undefined
    ? { access: run, swapped: false, pageSize: run.pageSize }
    : { access: undefined, swapped: run.state === "swapped", pageSize: 0 };
}

/** What a picture loses if two neighbours become one: the gap, and how the smaller one looks. */
function cost(cell: Cell, next: Cell): number {
  return next.from - cell.to + Math.min(cell.to - cell.from, next.to - next.from);
}

function join(cell: Cell, next: Cell): Cell {
  const pages = new Map(cell.pages);
  for (const [key, count] of next.pages) pages.set(key, (pages.get(key) ?? 0) + count);
  return { from: cell.from, to: next.to, pages };
}
