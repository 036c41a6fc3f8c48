/** Which bytes of a batch's rows moved, once it is answered. */
import { type Batch, type Fault, ROW_PARTIAL, ROW_UNANSWERED, UNANSWERED } from "../../src/io/index.js";

/** A part of a row: it moved (fault 0), or it did not. */
export interface RowPart {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly fault: Fault;
}

/** The parts of a batch's rows. */
export class MovedParts {
  readonly #batch: Batch;
  /** Of rows that failed in part: their faults, ascending. */
  readonly #partial = new Map<number, RowPart[]>();

  constructor(batch: Batch) {
    this.#batch = batch;
    for (const { row, start, end, fault } of batch.faults) {
      const list = this.#partial.get(row);
      if (list === undefined) this.#partial.set(row, [{ start, end, fault }]);
      else list.push({ start, end, fault });
    }
    for (const list of this.#partial.values()) list.sort((a, b) => a.start - b.start);
  }

  /** The parts of a row, in order and without gaps. A row without an answer failed. */
  of(row: number): readonly RowPart[] {
    const length = this.#batch.lengths[row] as number;
    const status = this.#batch.status[row] as number;
    if (status !== ROW_PARTIAL) {
      return [{ start: 0, end: length, fault: status === ROW_UNANSWERED ? UNANSWERED : status }];
    }
    const parts: RowPart[] = [];
    let at = 0;
    for (const { start, end, fault } of this.#partial.get(row) ?? []) {
      // (A connector may name ranges that overlap, or leave the row.)
      const from = Math.min(Math.max(start, at), length);
      const to = Math.min(end, length);
      if (from > at) parts.push({ start: at, end: from, fault: 0 });
      if (to > from) parts.push({ start: from, end: to, fault });
      at = Math.max(at, from, to);
    }
    if (at < length) parts.push({ start: at, end: length, fault: 0 });
    return parts;
  }
}
