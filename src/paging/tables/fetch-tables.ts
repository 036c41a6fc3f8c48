/** Waiting for page tables: one, or many read side by side. */
import { Countdown, type Routine } from "../../io/index.js";
import type { PageTableIo } from "../page-table-io.js";
import type { ColumnFetch } from "./column-fetch.js";
import type { TableFetch, TableWaiter } from "./table-fetch.js";

/** A set of tables to wait for. */
class Arrivals extends Countdown implements TableWaiter {
  tableArrived(): void {
    this.done();
  }
}

/**
 * Waits until tables have arrived, and holds them; sends those of `unsent`, and a column of others, first. (Some of the
 * tables may come with the column: they must be held before that is sent, for it may come at once.)
 */
export function* arrivals(
  io: PageTableIo,
  tables: readonly TableFetch[],
  unsent: readonly TableFetch[],
  column?: ColumnFetch,
): Routine<void> {
  const waiting = tables.filter((table) => !table.done);
  const rest = new Arrivals(waiting.length);
  for (const table of tables) table.hold();
  for (const table of waiting) table.wait(rest);
  column?.send(io.physical);
  for (const table of unsent) table.send(io.physical);
  if (waiting.length !== 0) yield rest;
  if (column !== undefined) yield column;
}

/** The table at an address, read if it is not on its way or known to be broken. */
export function* fetchTable(io: PageTableIo, address: number): Routine<TableFetch> {
  const known = io.cache.broken.get(address) ?? io.cache.flightOf(address);
  if (known?.done === true) return known;
  const fetch = known ?? io.makeFetch(address);
  yield* arrivals(io, [fetch], known === undefined ? [fetch] : []);
  return fetch;
}

/**
 * Reads tables side by side, as one batch and without an object each, as far as there is room for them in the cache.
 * Those that are cached then are left out: `undefined`.
 */
export function* fetchTables(
  io: PageTableIo,
  addresses: readonly number[],
): Routine<(TableFetch | undefined)[]> {
  const { cache } = io;
  const waiting = new Set<TableFetch>();
  const wanted = new Set<number>();
  const unsent: TableFetch[] = [];
  for (const address of addresses) {
    if (wanted.has(address) || cache.find(address) >= 0) continue;
    const known = cache.broken.get(address) ?? cache.flightOf(address);
    if (known !== undefined) waiting.add(known);
    else if (address >= 0) wanted.add(address);
    else unsent.push(io.makeFetch(address)); // (A root that is no table like others.)
  }
  let column: ColumnFetch | undefined;
  if (wanted.size !== 0 && cache.hasRoom(wanted.size)) {
    column = io.makeColumnFetch([...wanted]);
  } else {
    for (const address of wanted) unsent.push(io.makeFetch(address));
  }
  for (const fetch of unsent) waiting.add(fetch);
  try {
    yield* arrivals(io, [...waiting], unsent, column);
  } finally {
    column?.letGo();
  }
  const tables = new Map<number, TableFetch>(column?.inHand);
  for (const table of waiting) tables.set(table.address, table);
  return addresses.map((address) => tables.get(address));
}
