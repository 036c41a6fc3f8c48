/** Brings the statuses of a batch's rows back to the views that the rows were made of. */
import { HIGH } from "./address.js";
import { type Batch, ROW_PARTIAL, ROW_UNANSWERED, type RowFault } from "./batch.hot.js";
import { type Fault, fault, isTargetGone, UNANSWERED } from "./fault.js";
import { FragmentQueue, type QueuedColumn } from "./fragment-queue.hot.js";
import type { BoundView } from "./view.js";

const THREW: Fault = fault("io", "device", "connector");

/** See the module's comment. */
export class Answers {
  /**
   * Views to ask for again, each alone: their rows had one status for several views' bytes, and a fault is to cost
   * only its own.
   */
  again: FragmentQueue | undefined = undefined;
  /** The first fault that says that the target has vanished; else 0. */
  gone: Fault = 0;
  private readonly batch: Batch;
  private readonly queue: FragmentQueue;
  private readonly threw: { readonly error: unknown } | undefined;
  private faults: Map<number, RowFault[]> | undefined;
  /** The next view, and its first record. */
  private next = 0;
  private record = 0;

  /** @param threw What the connector threw. */
  constructor(batch: Batch, queue: FragmentQueue, threw: { readonly error: unknown } | undefined) {
    this.batch = batch;
    this.queue = queue;
    this.threw = threw;
  }

  /** Answers every view that has no answer yet. @throws what a layer's mistake makes a view throw; then `skip`. */
  go(): void {
    const { views, rows, columns, length } = this.queue;
    const { status } = this.batch;
    while (this.next < length) {
      const view = views[this.next] as BoundView;
      const record = this.record;
      if (columns !== undefined) {
        const column = columns.get(view);
        if (column !== undefined) {
          this.answerColumn(view, record, column);
          continue;
        }
      }
      if (status[rows[record] as number] === 0) view.complete();
      else this.answerOther(view, record);
      this.next++;
      this.record = record + 1;
    }
  }

  /** The view that threw had an answer already. */
  skip(error: unknown): void {
    const view = this.queue.views[this.next] as BoundView;
    view.packet.outputError ??= error;
    this.record += this.queue.recordsOf(view);
    this.next++;
  }

  private answerColumn(view: BoundView, first: number, { size, count }: QueuedColumn): void {
    const { rows } = this.queue;
    const { status } = this.batch;
    const end = first + count;
    let good = first;
    while (good < end && status[rows[good] as number] === 0) good++;
    if (good === end) {
      view.complete();
    } else {
      let rest = view;
      for (let record = first; record < end; record++) {
        const tail = record + 1 < end ? rest.split(size) : undefined;
        if (status[rows[record] as number] === 0) rest.complete();
        else this.answerOther(rest, record);
        if (tail !== undefined) rest = tail;
      }
    }
    this.next++;
    this.record = end;
  }

  /** Answers a view whose row did not move as a whole. */
  private answerOther(view: BoundView, record: number): void {
    const batch = this.batch;
    const row = this.queue.rows[record] as number;
    let status = batch.status[row] as number;
    // Where in its row the view begins.
    const from = view.packet.base + view.start - (batch.offsets[row] as number);
    if (this.threw !== undefined) view.packet.cause ??= this.threw.error;
    if (view.abortFault !== 0 && status !== ROW_PARTIAL) {
      // Not to be asked for again: the caller may have its memory back.
      view.fail(view.abortFault);
      return;
    }
    if (status === ROW_PARTIAL) {
      if (this.faults === undefined) {
        this.faults = faultsByRow(batch.faults);
        for (const { fault } of batch.faults) this.note(fault);
      }
      answerPartly(view, from, this.faults.get(row) ?? []);
      return;
    }
    if (status === ROW_UNANSWERED) status = this.threw === undefined ? UNANSWERED : THREW;
    if (status > 0) this.note(status);
    const isPart = view.length < (batch.lengths[row] as number);
    if (batch.direction === "read" && isPart && this.threw === undefined) {
      if (this.again === undefined) {
        this.again = new FragmentQueue();
        this.again.open("read", false);
      }
      const sum = (batch.words[2 * row] as number) + from;
      const lo = sum >>> 0;
      this.again.push(lo, (batch.words[2 * row + 1] as number) + (sum - lo) / HIGH, view);
      return;
    }
    // A negative number is no fault that a connector may set.
    view.fail(status < 0 ? UNANSWERED : status);
  }

  private note(status: Fault): void {
    if (this.gone === 0 && isTargetGone(status)) this.gone = status;
  }
}

function faultsByRow(faults: readonly RowFault[]): Map<number, RowFault[]> {
  const byRow = new Map<number, RowFault[]>();
  for (const entry of faults) {
    const list = byRow.get(entry.row);
    if (list === undefined) byRow.set(entry.row, [entry]);
    else list.push(entry);
  }
  for (const list of byRow.values()) list.sort((a, b) => a.start - b.start);
  return byRow;
}

/** Answers a view with the faults of its row; `from` is the view's first byte, relative to the row. */
function answerPartly(view: BoundView, from: number, faults: readonly RowFault[]): void {
  let rest: BoundView | undefined = view;
  let at = from;
  for (const { start, end, fault } of faults) {
    if (rest === undefined) return;
    const stop: number = at + rest.length;
    if (end <= at || start >= stop) continue;
    if (start > at) {
      const tail: BoundView = rest.split(start - at);
      rest.complete();
      rest = tail;
      at = start;
    }
    const tail: BoundView | undefined = end < stop ? rest.split(end - at) : undefined;
    rest.fail(fault);
    rest = tail;
    at = end;
  }
  rest?.complete();
}
