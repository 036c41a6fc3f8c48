/**
 * Columns of virtual records become columns of physical ones: at once as far as the tables are cached; the others as one
 * column, too, once their tables have come, which are fetched level by level.
 */
import { HIGH } from "../../io/address.js";
import { type Column, sendColumn, sendRecords } from "../../io/column.js";
import {
  type BoundView,
  faultState,
  type PacketIo,
  type Routine,
  sendKept,
  UNANSWERED,
} from "../../io/index.js";
import type { PageTableIo } from "../page-table-io.js";
import { BLOCK, LEFT_ROW } from "./column-walker.hot.js";
import { translateColumns } from "./translate-many.js";
import { TranslationColumns } from "./translation.js";

const PAGE = 4096;
/** From this many records on, a column of those whose tables are missing costs less than a view each. */
const FEW = 4;

/** What becomes of a record. */
const MISSING = 0;
const FOUND = 1;
/** It lies in two pages, which may have different fates: it takes the way of a single view. */
const CROSSES = 2;

/** A run of records whose tables are missing: the view, kept, and its first record in the column. */
interface Waiting {
  readonly view: BoundView;
  readonly first: number;
}

/** Forwards, fails or keeps every record. `io.beginRequest` was called. */
export function sendVirtualColumn(io: PageTableIo, column: Column, from: number, view: BoundView): void {
  const { size } = column;
  const count = view.length / size;
  const { fates, physical } = translate(io, column, from, count);
  const waiting: Waiting[] = [];
  let rest: BoundView | undefined = view;
  let i = 0;
  try {
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const start = i;
      const fate = fates[i] as number;
      for (i++; fate !== CROSSES && i < count && fates[i] === fate; ) i++;
      rest = i < count ? piece.split((i - start) * size) : undefined;
      if (fate === FOUND) {
        sendColumn(io.physical, physical, start, piece);
      } else if (fate === CROSSES || count <= FEW) {
        sendRecords(io, column, from + start, piece);
      } else {
        // What follows may be answered at once, and its output may throw the rest away: so this is kept now.
        piece.keep();
        waiting.push({ view: piece, first: from + start });
      }
    }
  } finally {
    // (Also if a layer threw: these are promised.)
    if (waiting.length !== 0) startWaiting(io, column, waiting);
  }
}

/** Forwards kept records once they are translated. */
function startWaiting(io: PageTableIo, column: Column, waiting: readonly Waiting[]): void {
  const missing = waiting.reduce((sum, { view }) => sum + view.length / column.size, 0);
  io.scheduler.start(
    whenTranslated(io, column, waiting, missing),
    () => {},
    (error) => {
      for (const { view } of waiting) {
        if (view.answered) continue;
        view.packet.outputError ??= error;
        view.fail(UNANSWERED);
      }
    },
  );
}

function translate(
  io: PageTableIo,
  { words, size }: Column,
  from: number,
  count: number,
): { readonly fates: Uint8Array; readonly physical: Column } {
  const { cache, mmu } = io;
  const fates = new Uint8Array(count).fill(FOUND);
  const physical = { words: new Uint32Array(2 * count), size };
  const root = cache.find(io.rootKey);
  if (root < 0) {
    fates.fill(MISSING);
  } else {
    const walker = cache.walker(mmu, count);
    const { left } = walker;
    for (let at = 0; at < count; at += BLOCK) {
      const rows = Math.min(BLOCK, count - at);
      walker.words.set(words.subarray(2 * (from + at), 2 * (from + at + rows)));
      const leftCount = walker.walk(root, rows, false);
      for (let i = 0; i < rows; i++) setAddress(physical.words, at + i, walker.physical[i] as number);
      for (let i = 0; i < leftCount; i++) fates[at + ((left[i] as number) & LEFT_ROW)] = MISSING;
    }
  }
  const last = PAGE - size;
  for (let i = 0; i < count; i++) {
    if (((words[2 * (from + i)] as number) & (PAGE - 1)) > last) fates[i] = CROSSES;
  }
  return { fates, physical };
}

function setAddress(words: Uint32Array, i: number, address: number): void {
  const lo = address >>> 0;
  words[2 * i] = lo;
  words[2 * i + 1] = (address - lo) / HIGH;
}

/** Forwards the records of kept views, or fails them, when all of them are translated. */
function* whenTranslated(
  io: PageTableIo,
  column: Column,
  waiting: readonly Waiting[],
  count: number,
): Routine<void> {
  const { size } = column;
  const addresses = new BigUint64Array(count);
  const words = new Uint32Array(addresses.buffer);
  let row = 0;
  for (const { view, first } of waiting) {
    const records = view.length / size;
    words.set(column.words.subarray(2 * first, 2 * (first + records)), 2 * row);
    row += records;
  }
  const out = new TranslationColumns(io.mmu);
  out.reset(addresses);
  yield* translateColumns(io, out);
  const physical = { words: new Uint32Array(2 * count), size };
  for (let i = 0; i < count; i++) setAddress(physical.words, i, out.physical[i] as number);
  row = 0;
  for (const { view } of waiting) {
    const records = view.length / size;
    forward(io, out, { words, size }, physical, row, view);
    row += records;
  }
}

function sendWaited(
  send: typeof sendColumn,
  io: PacketIo<never>,
  column: Column,
  from: number,
  piece: BoundView,
): void {
  sendKept(piece, () => send(io, column, from, piece));
}

/** Forwards runs of translated records, and fails the others. */
function forward(
  io: PageTableIo,
  out: TranslationColumns,
  virtual: Column,
  physical: Column,
  from: number,
  view: BoundView,
): void {
  const { size } = physical;
  const end = from + view.length / size;
  let rest = view;
  for (let i = from; i < end; ) {
    const start = i;
    const fault = out.faults[i] as number;
    for (i++; i < end && out.faults[i] === fault; ) i++;
    const piece: BoundView = rest;
    if (i < end) rest = piece.split((i - start) * size);
    if (piece.abortFault !== 0) piece.fail(piece.abortFault);
    else if (fault === 0) sendWaited(sendColumn, io.physical, physical, start, piece);
    else if (io.swap !== undefined && faultState(fault) === "swapped")
      sendWaited(sendRecords, io, virtual, start, piece);
    else piece.fail(fault);
  }
}
