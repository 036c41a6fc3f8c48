/** Numbers of rows of a column, in memory that grows and is used again; and how many may wait, for how much. */
import type { CompiledMmu } from "../formats/mmu.js";
import { BLOCK } from "./column-walker.hot.js";

/** Rows that wait at a time: what the default high-water mark admits. */
export const MAX_ROWS = 65_536;
/** Bytes of the tables that are fetched for them at a time. */
const TABLE_BYTES = 32 * 2 ** 20;

/** How many tables are fetched for a column's rows at a time, which are then in hand side by side. */
export function tablesAtATime({ tableBytes }: CompiledMmu): number {
  return TABLE_BYTES / tableBytes;
}

/** What there was, in memory for more. */
export function doubled<T extends Float64Array | Int32Array | Uint32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Lists to be used again: a list as long as a column of many addresses costs more than what is done with it. */
const spareLists: RowList[] = [];
const MAX_SPARE_LISTS = 4;

/** Row numbers, in memory that grows: up to `MAX_ROWS` and a block. */
export class RowList {
  rows = new Uint32Array(BLOCK);
  length = 0;

  add(row: number): void {
    if (this.length === this.rows.length) this.rows = doubled(this.rows, new Uint32Array(2 * this.length));
    this.rows[this.length++] = row;
  }

  static take(): RowList {
    return spareLists.pop() ?? new RowList();
  }

  /** Must not be used any more. */
  give(): void {
    this.length = 0;
    if (spareLists.length < MAX_SPARE_LISTS) spareLists.push(this);
  }
}
