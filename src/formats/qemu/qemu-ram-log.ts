/**
 * Where the pages of a migration stream are: a log of runs in the order of the stream, in which the last copy of a page
 * counts.
 *
 * Pages of all RAM blocks are numbered through. A run is an interval in units of `stride`, the bytes from a page to the
 * next in the file, so that pages sent one after another are one interval with one file offset, and the intervals of
 * `pieces.ts` can be laid over each other. 24 bytes a run; runs that were overwritten are dropped when there are many.
 *
 * Pages that are not stored as they are (compressed, a delta, filled with one byte) are rows of {@link SpecialPages}.
 */
import { AT_LEFT_OUT, AT_ZERO, Intervals, layIntervals } from "../pieces.js";

/** How a special page is stored. */
export const FILLED = 0;
export const DEFLATED = 1;
export const DELTA = 2;

/** Targets from here down are rows of special pages. */
const FIRST_SPECIAL = -16;

/** The row of a special page by its target in the log; -1 if it is none. */
export function specialRow(target: number): number {
  return target <= FIRST_SPECIAL ? FIRST_SPECIAL - target : -1;
}

/** Runs before overwritten ones are dropped for the first time. */
const COMPACT_FROM = 2 ** 20;
/** Runs (of which each page of a guest is one at worst) and special pages: 64 GiB of them; 400 MB each. */
const MAX_RUNS = 2 ** 24;

/** Pages that are not stored as they are: columns, a row each. */
export class SpecialPages {
  pages = new Float64Array(64);
  /** File offset of the stored bytes. */
  offsets = new Float64Array(64);
  /** Their length; of one that is `FILLED`, the byte it is filled with. */
  lengths = new Uint32Array(64);
  kinds = new Uint8Array(64);
  /** Of a `DELTA`: the target of the copy that it changes; NaN while that is not known. */
  bases = new Float64Array(64);
  length = 0;

  push(page: number, kind: number, offset: number, length: number): void {
    if (this.length === this.pages.length) {
      this.pages = doubled(this.pages, Float64Array);
      this.offsets = doubled(this.offsets, Float64Array);
      this.bases = doubled(this.bases, Float64Array);
      this.lengths = doubled(this.lengths, Uint32Array);
      this.kinds = doubled(this.kinds, Uint8Array);
    }
    this.pages[this.length] = page;
    this.offsets[this.length] = offset;
    this.lengths[this.length] = length;
    this.kinds[this.length] = kind;
    this.bases[this.length] = Number.NaN;
    this.length++;
  }
}

function doubled<T extends Float64Array | Uint32Array | Uint8Array>(
  column: T,
  make: new (length: number) => T,
): T {
  const larger = new make(column.length * 2);
  larger.set(column);
  return larger;
}

/** See the module's comment. */
export class RamLog {
  /** Bytes from a page to the next one in the file, and the unit of intervals. */
  readonly stride: number;
  readonly specials = new SpecialPages();
  /** Pages in the stream, each as often as it was sent. */
  sent = 0;
  #log = new Intervals();
  #compactAt: number;
  /** Special pages from here on may be deltas whose earlier copy was not looked for yet. */
  #unresolved = 0;

  /** @param compactFrom Runs from which on those that were overwritten are dropped. */
  constructor(stride: number, compactFrom = COMPACT_FROM) {
    this.stride = stride;
    this.#compactAt = compactFrom;
  }

  /** Whether no more can be taken. */
  get full(): boolean {
    return this.#log.length >= MAX_RUNS || this.specials.length >= MAX_RUNS;
  }

  /** A page whose bytes are at a file offset. */
  add(page: number, offset: number): void {
    this.addRun(page, 1, offset);
  }

  /** Pages that follow each other, in the file as well. */
  addRun(page: number, count: number, offset: number): void {
    const log = this.#log;
    const start = page * this.stride;
    const last = log.length - 1;
    this.sent += count;
    if (
      last >= 0 &&
      log.ends[last] === start &&
      (log.targets[last] as number) >= 0 &&
      (log.targets[last] as number) + start - (log.starts[last] as number) === offset
    ) {
      log.ends[last] = start + count * this.stride;
    } else {
      this.#push(start, start + count * this.stride, offset);
    }
  }

  /** Pages of zeros. */
  addZeros(page: number, count = 1): void {
    const log = this.#log;
    const start = page * this.stride;
    const last = log.length - 1;
    this.sent += count;
    if (last >= 0 && log.ends[last] === start && log.targets[last] === AT_ZERO) {
      log.ends[last] = start + count * this.stride;
    } else {
      this.#push(start, start + count * this.stride, AT_ZERO);
    }
  }

  /** A page that is not stored as it is. */
  addSpecial(page: number, kind: number, offset: number, length: number): void {
    const start = page * this.stride;
    this.sent++;
    // Room first: what looks for earlier copies must find the page in the log.
    this.#makeRoom();
    this.specials.push(page, kind, offset, length);
    this.#log.push(start, start + this.stride, FIRST_SPECIAL - (this.specials.length - 1));
  }

  #push(start: number, end: number, target: number): void {
    this.#makeRoom();
    this.#log.push(start, end, target);
  }

  /** Drops runs that were overwritten, once there are many. */
  #makeRoom(): void {
    if (this.#log.length < this.#compactAt) return;
    const from = this.#log.length;
    this.#resolve();
    this.#log = layIntervals(this.#log, "last");
    this.#compactAt = Math.max(from, 2 * this.#log.length);
  }

  /** What the log says of each page: ascending, disjoint, in units of `stride`; gaps were never sent. */
  lay(): Intervals {
    this.#resolve();
    this.#log = layIntervals(this.#log, "last");
    return this.#log;
  }

  /** Finds the copy that each new delta changes: the last one before it, which may be a delta too. */
  #resolve(): void {
    const { specials, stride } = this;
    const { kinds, bases } = specials;
    const pages = this.#pagesOfDeltas(this.#unresolved);
    this.#unresolved = specials.length;
    if (pages.length === 0) return;
    const latest = new Float64Array(pages.length).fill(AT_LEFT_OUT);
    const { starts, ends, targets, length } = this.#log;
    for (let i = 0; i < length; i++) {
      const start = starts[i] as number;
      const end = (ends[i] as number) / stride;
      const target = targets[i] as number;
      const row = specialRow(target);
      for (let k = firstFrom(pages, start / stride); k < pages.length; k++) {
        const page = pages[k] as number;
        if (page >= end) break;
        if (row >= 0 && kinds[row] === DELTA && Number.isNaN(bases[row])) bases[row] = latest[k] as number;
        latest[k] = target < 0 ? target : target + page * stride - start;
      }
    }
  }

  /** The pages of deltas in rows from `first` on: ascending, each once. */
  #pagesOfDeltas(first: number): Float64Array {
    const { pages, kinds, length } = this.specials;
    const all = new Float64Array(length - first);
    let count = 0;
    for (let row = first; row < length; row++) {
      if (kinds[row] === DELTA) all[count++] = pages[row] as number;
    }
    const sorted = all.subarray(0, count).sort();
    let unique = 0;
    for (let i = 0; i < count; i++) {
      if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[unique++] = sorted[i] as number;
    }
    return sorted.subarray(0, unique);
  }
}

/** The index of the first number that is not less than `value`, in ascending ones. */
function firstFrom(column: Float64Array, value: number): number {
  let low = 0;
  let high = column.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((column[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
