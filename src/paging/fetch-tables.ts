/** Waiting for page tables: one, or many read side by side. */
import { Countdown, type Routine } from "../io/index.js";
import type { PageTableIo } from "./page-table-io.js";
import type { TableFetch, TableWaiter } from "./table-fetch.js";

/** A set of tables to wait for. */
class Arrivals extends Countdown implements TableWaiter {
  tableArrived(): void {
    this.done();
  }
}

/** Waits until tables have arrived, and holds them; sends those of `unsent` first. */
export function* arrivals(
  io: PageTableIo,
  tables: readonly TableFetch[],
  unsent: readonly TableFetch[],
): Routine<void> {
  const waiting = tables.filter((table) => !table.done);
  const rest = new Arrivals(waiting.length);
  for (const table of tables) table.hold();
  for (const table of waiting) table.wait(rest);
  for (const table of unsent) table.send(io.physical);
  yield rest;
}

/** The table at an address, read if it is not on its way or known to be broken. */
export function* fetchTable(io: PageTableIo, address: number): Routine<TableFetch> {
  const known = io.cache.broken.get(address) ?? io.cache.flights.get(address);
  if (known?.done === true) return known;
  const fetch = known ?? io.makeFetch(address);
  yield* arrivals(io, [fetch], known === undefined ? [fetch] : []);
  return fetch;
}

/** Reads tables side by side, as one batch. Those that are cached are left out: `undefined`. */
export function* fetchTables(
  io: PageTableIo,
  addresses: readonly number[],
): Routine<(TableFetch | undefined)[]> {
  const { cache } = io;
  const unsent: TableFetch[] = [];
  const tables = addresses.map((address) => {
    if (cache.find(address) >= 0) return undefined;
    const known = cache.broken.get(address) ?? cache.flights.get(address);
    if (known !== undefined) return known;
    const fetch = io.makeFetch(address);
    unsent.push(fetch);
    return fetch;
  });
  const waiting = new Set<TableFetch>();
  for (const table of tables) if (table !== undefined) waiting.add(table);
  if (waiting.size !== 0) yield* arrivals(io, [...waiting], unsent);
  return tables;
}
