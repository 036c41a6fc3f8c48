/**
 * Many rows of a process in one call: process_vm_readv(2).
 *
 * Rows go straight into the caller's memory where its address is known, else through memory of ours. Nothing is answered
 * before it is proved that the call read the right program; what a call moved that was not is wiped.
 */
import type { Batch } from "../../src/io/index.js";
import { addressOf, type Ffi, type FfiCall, LIBC } from "../ffi.js";
import { MemoryBases } from "../memory-bases.hot.js";
import { copyRows, type NearRows } from "../near-rows.js";
import { type PlacedMemory, wellPlacedMemory } from "../well-placed.js";
import { type MemoryFile, TOP_HIGH } from "./memory-file.js";
import { RANDOM_BYTES, type SameProgram } from "./same-program.js";

/** Rows of one call at most: IOV_MAX (more is EINVAL), the first of which reads the proof. */
const MAX_RUNS = 1023;
/**
 * Bytes of one call, unless a row alone has more. Measured, µs a random page of 4 KiB by pages in a call: 8 3.4, 16 2.6,
 * 64 2.0, 128 1.9, 256 2.0, 1,024 1.7 (readSync: 5.9); on another machine 16 1.25, 128 0.9, 512 1.4 (2.1 to 3.0).
 */
const MAX_BYTES = 2 ** 20;
/** Memory of ours. With more, it is in no near cache when it is copied from. */
const SCRATCH = 2 ** 19;
/** Fewer rows are read faster one by one: from 4 to 8 on a call of this kind pays, by machine. */
export const MIN_RUNS = 8;
/** A row of so many bytes is worth a call of its own: it then takes three quarters of the time (there are half as many copies). */
export const LARGE = 2 ** 18;
/** One call moves at most 2^31 bytes; larger rows are cut elsewhere. */
const MAX_ROW = 2 ** 30;
/** Shorter rows are read together with their neighbours, even where they could be read straight to their place. */
const MIN_DIRECT = 1024;
/** Rows that are read one by one after a call that stopped early, at first. */
const FIRST_PAUSE = 16;

const HIGH = 2 ** 32;
const ESRCH = 3;
const EFAULT = 14;

/** Why there are to be no more such calls. */
export type Ended = "refused" | "another program";

/** See the module's comment. */
export class VmCalls {
  /** Set when it is of no use any more. */
  ended: Ended | undefined;
  readonly #ffi: Ffi;
  readonly #proof: SameProgram;
  readonly #file: MemoryFile;
  readonly #near: Pick<NearRows, "end">;
  readonly #call: FfiCall;
  /** iovec columns: [address, length] a run, as words. */
  readonly #local = new Uint32Array(4 * (MAX_RUNS + 1));
  readonly #remote = new Uint32Array(4 * (MAX_RUNS + 1));
  readonly #firstRow = new Int32Array(MAX_RUNS + 1);
  readonly #endRow = new Int32Array(MAX_RUNS + 1);
  /** Where a run lies in `#scratch`; -1 of one that was read straight to its place. */
  readonly #place = new Int32Array(MAX_RUNS + 1);
  readonly #lengths = new Float64Array(MAX_RUNS + 1);
  readonly #scratch: PlacedMemory;
  readonly #bases: MemoryBases;
  #runs = 0;
  #pause = FIRST_PAUSE;

  constructor(ffi: Ffi, pid: number, proof: SameProgram, file: MemoryFile, near: Pick<NearRows, "end">) {
    this.#ffi = ffi;
    this.#proof = proof;
    this.#file = file;
    this.#near = near;
    this.#bases = new MemoryBases(ffi);
    const at = (bytes: Uint8Array) => Number(addressOf(ffi, bytes));
    this.#scratch = wellPlacedMemory(ffi, SCRATCH);
    const local = at(new Uint8Array(this.#local.buffer));
    const remote = at(new Uint8Array(this.#remote.buffer));
    put(this.#local, 0, at(proof.seen), RANDOM_BYTES);
    put(this.#remote, 0, proof.address, RANDOM_BYTES);
    const { I32, I64 } = ffi.DataType;
    this.#call = {
      library: LIBC,
      funcName: "process_vm_readv",
      retType: I64,
      paramsType: [I32, I64, I64, I64, I64, I64],
      paramsValue: [pid, local, 1, remote, 1, 0],
      errno: true,
    };
  }

  /** Reads all rows of a batch, in whatever way is fastest. */
  read(batch: Batch): void {
    for (let row = 0; row < batch.length; ) {
      const left = batch.length - row;
      if (this.ended !== undefined || (left < MIN_RUNS && (batch.lengths[row] as number) < LARGE)) {
        const next = this.ended === undefined ? this.#beforeLarge(batch, row) : batch.length;
        this.#file.read(batch, row, next);
        row = next;
        continue;
      }
      const end = this.#collect(batch, row);
      // (A row that fits no call, or a few runs at the end.)
      if (this.#runs === 0 || (this.#runs < MIN_RUNS && (batch.lengths[row] as number) < LARGE)) {
        const next = Math.max(end, row + 1);
        this.#file.read(batch, row, next);
        row = next;
      } else {
        row = this.#transfer(batch, row, end);
      }
    }
    this.#bases.forgetLast();
  }

  #beforeLarge(batch: Batch, from: number): number {
    let row = from + 1;
    while (row < batch.length && (batch.lengths[row] as number) < LARGE) row++;
    return row;
  }

  /** Makes the columns of one call. @returns the first row that is not in it. */
  #collect(batch: Batch, from: number): number {
    const { words, lengths, memory, offsets } = batch;
    let runs = 0;
    let bytes = 0;
    let scratch = 0;
    let row = from;
    while (row < batch.length && runs < MAX_RUNS) {
      const lo = words[2 * row] as number;
      const hi = words[2 * row + 1] as number;
      const length = lengths[row] as number;
      if (hi >= TOP_HIGH || (bytes !== 0 && bytes + length > MAX_BYTES) || length > MAX_ROW) break;
      const target = memory[row] as Uint8Array;
      const offset = offsets[row] as number;
      const base = length < MIN_DIRECT || offset + length > target.length ? 0 : this.#bases.of(target);
      let end = row + 1;
      let span = length;
      let local = base + offset;
      let place = -1;
      if (base === 0) {
        end = this.#near.end(batch, row);
        if (end > row + 1) span = spanOf(batch, row, end);
        if (scratch + span > SCRATCH) break;
        place = scratch;
        local = this.#scratch.address + scratch;
        scratch += span;
      }
      runs++;
      const at = 4 * runs;
      this.#remote[at] = lo;
      this.#remote[at + 1] = hi;
      this.#remote[at + 2] = span;
      put(this.#local, at, local, span);
      this.#firstRow[runs] = row;
      this.#endRow[runs] = end;
      this.#place[runs] = place;
      this.#lengths[runs] = span;
      bytes += span;
      row = end;
    }
    this.#runs = runs;
    return row;
  }

  /** Makes the call, and answers the rows that it read. @returns the row to go on with. */
  #transfer(batch: Batch, from: number, end: number): number {
    const runs = this.#runs;
    const values = this.#call.paramsValue;
    values[2] = runs + 1;
    values[4] = runs + 1;
    const { value, errnoCode } = this.#ffi.load(this.#call) as { value: number; errnoCode: number };
    let left = Number(value) - RANDOM_BYTES;
    if (left < 0) {
      // The proof itself could not be read, or the call is not allowed, or not there (ENOSYS).
      this.ended = value >= 0 || errnoCode === EFAULT || errnoCode === ESRCH ? "another program" : "refused";
      return from;
    }
    if (!this.#proof.check()) {
      for (let row = from; row < end; row++) batch.bytes(row).fill(0);
      if (!this.#proof.renew()) this.ended = "another program";
      else this.#file.read(batch, from, end);
      return this.ended === undefined ? end : from;
    }
    let run = 1;
    for (; run <= runs && left >= (this.#lengths[run] as number); run++) {
      const span = this.#lengths[run] as number;
      const place = this.#place[run] as number;
      const first = this.#firstRow[run] as number;
      if (place < 0) batch.status[first] = 0;
      else copyRows(batch, first, this.#endRow[run] as number, this.#scratch.bytes, place, span);
      left -= span;
    }
    if (run > runs) {
      this.#pause = FIRST_PAUSE;
      return end;
    }
    // It stopped at a page that it can't read: the run with it takes the other way. Where there are many such pages, so do
    // the next runs, ever more of them.
    let stop = run;
    if (run <= MIN_RUNS) {
      stop = Math.min(runs, run + this.#pause);
      this.#pause = Math.min(2 * this.#pause, MAX_RUNS);
    } else {
      this.#pause = FIRST_PAUSE;
    }
    const next = this.#endRow[stop] as number;
    this.#file.read(batch, this.#firstRow[run] as number, next);
    return next;
  }
}

/** Bytes from the first row's first to the last one's last; rows of a run may overlap. */
function spanOf(batch: Batch, first: number, end: number): number {
  const { lengths, words } = batch;
  const start = (words[2 * first + 1] as number) * HIGH + (words[2 * first] as number);
  let span = 0;
  for (let row = first; row < end; row++) {
    const at = (words[2 * row + 1] as number) * HIGH + (words[2 * row] as number) - start;
    span = Math.max(span, at + (lengths[row] as number));
  }
  return span;
}

/** Writes an iovec: `{ void *base; size_t length; }`. */
function put(columns: Uint32Array, at: number, address: number, length: number): void {
  columns[at] = address;
  columns[at + 1] = address / HIGH;
  columns[at + 2] = length;
  columns[at + 3] = 0;
}
