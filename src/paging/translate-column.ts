/** Columns of virtual records become columns of physical ones, as far as the tables are cached. */

import { HIGH } from "../io/address.js";
import { addressAt, type Column, sendColumn } from "../io/column.js";
import type { BoundView } from "../io/index.js";
import type { PageTableIo } from "./page-table-io.js";
import { type OutColumns, type SlowPath, translateCached } from "./translate-cached.hot.js";

const PAGE = 4096;

/** Leaves what the plain loop can't translate as it is: level 0. */
const LATER: SlowPath = { translateSlow: () => true };

/**
 * Forwards the records that cached tables translate and that lie in one page, runs of them at a time; every other one
 * takes the way of a single view. `io.beginRequest` was called.
 */
export function sendVirtualColumn(io: PageTableIo, column: Column, from: number, view: BoundView): void {
  const { size } = column;
  const count = view.length / size;
  const physical = translate(io, column, from, count);
  let rest: BoundView | undefined = view;
  let i = 0;
  while (rest !== undefined) {
    const piece: BoundView = rest;
    const start = i;
    const here = physical?.levels[i] ?? 0;
    for (i++; here !== 0 && i < count && physical?.levels[i] !== 0; ) i++;
    rest = i < count ? piece.split((i - start) * size) : undefined;
    if (physical === undefined || here === 0) io.sendIo(addressAt(column, from + start), piece);
    else sendColumn(io.physical, physical, start, piece);
  }
}

/** Translated records. */
interface Translated extends Column {
  /** 0: not translated. */
  readonly levels: Uint8Array;
}

function translate(io: PageTableIo, column: Column, from: number, count: number): Translated | undefined {
  const { cache, mmu } = io;
  const root = cache.find(io.root);
  if (root < 0) return undefined;
  const { buffer, byteOffset } = column.words;
  const virtual = new Int32Array(buffer, byteOffset + 8 * from, 2 * count);
  const out: OutColumns = {
    physical: new Float64Array(count),
    faults: new Int32Array(0),
    levels: new Uint8Array(count),
    rights: new Uint8Array(count),
  };
  translateCached(cache, mmu, root, virtual, 0, count, out, LATER);
  const { physical, levels } = out;
  const words = new Uint32Array(2 * count);
  const last = PAGE - column.size;
  for (let i = 0; i < count; i++) {
    const address = physical[i] as number;
    const lo = address >>> 0;
    words[2 * i] = lo;
    words[2 * i + 1] = (address - lo) / HIGH;
    if ((lo & (PAGE - 1)) > last) levels[i] = 0;
  }
  return { words, size: column.size, levels };
}
