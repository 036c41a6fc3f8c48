/**
 * Translations of many addresses at once, as columns. Rows go through the links of cached tables (`column-rounds.ts`);
 * those that links can't tell about go by hand (`rows-by-hand.ts`).
 */
import type { Routine } from "../../io/index.js";
import type { PageTableIo } from "../page-table-io.js";
import { fetchTable } from "../tables/fetch-tables.js";
import type { TableFetch } from "../tables/table-fetch.js";
import { ColumnRounds } from "./column-rounds.js";
import { MAX_ROWS, RowList } from "./row-list.js";
import { RowsByHand } from "./rows-by-hand.js";
import { checkColumns, TranslationColumns } from "./translation.js";

/** Translates the addresses of columns, which were reset to them. `io.beginRequest` was called. */
export function* translateColumns(io: PageTableIo, out: TranslationColumns): Routine<void> {
  const { cache } = io;
  const { addresses, length } = out;
  const words = new Uint32Array(addresses.buffer, addresses.byteOffset, 2 * length);
  const byHand = RowList.take();
  const inHand = new Map<number, TableFetch>();
  const rest = new RowsByHand(io, out, words, byHand, inHand);
  const rounds = new ColumnRounds(io, out, words, byHand, rest, inHand);
  for (let at = 0; at < length; ) {
    let root: TableFetch | undefined;
    let slot = cache.find(io.rootKey);
    // What is remembered needs no root, should that have made room for another table.
    if (slot < 0 && cache.tlb.isEmpty) {
      root = yield* fetchTable(io, io.rootKey);
      slot = cache.find(io.rootKey);
    }
    if (slot >= 0) {
      at = yield* rounds.run(at, slot);
    } else {
      for (const end = Math.min(length, at + MAX_ROWS); at < end; at++) byHand.add(at);
    }
    yield* rest.run(root);
  }
  rounds.give();
  byHand.give();
}

/** The routine of `VirtualMemory.translateMany`. */
export function* translateManyRoutine(
  io: PageTableIo,
  addresses: BigUint64Array<ArrayBuffer>,
  into: TranslationColumns | undefined,
): Routine<TranslationColumns> {
  const out = into ?? new TranslationColumns(io.mmu);
  checkColumns(out, io.mmu);
  io.beginRequest();
  out.reset(addresses);
  yield* translateColumns(io, out);
  return out;
}
