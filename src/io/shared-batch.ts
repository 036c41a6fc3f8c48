/**
 * A batch in shared memory, so that a thread can wait for a source that lives in another: the columns and the bytes
 * travel in one `SharedArrayBuffer`, and the calling thread is parked by whoever has a way to park it.
 *
 * Layout, in bytes: 16 of control words (`[state, faults]`), then per row a u64 address, f64 length, f64 data offset, i32 status (columns,
 * each `rows` long), then room for range faults (four i32 and two f64 each), then the rows' bytes.
 */
import { Batch, ROW_PARTIAL, type RowFault } from "./batch.hot.js";
import type { Direction } from "./packet.js";

const CONTROL_BYTES = 16;
const ROW_BYTES = 8 + 8 + 8 + 4;
const FAULT_BYTES = 8 + 8 + 8;

/** Control word that the worker sets to 1 (and notifies) when the batch is answered. */
export const STATE_WORD = 0;
const FAULTS_WORD = 1;

/** Range faults that one answer can carry; rows with more fail whole, which costs only precision. */
const MAX_FAULTS = 4096;

/** What the other thread needs to find its way in the buffer. */
export interface SharedHeader {
  readonly buffer: SharedArrayBuffer;
  readonly direction: Direction;
  readonly rows: number;
}

/** Bytes that a shared copy of these rows takes. */
export function sharedSize(batch: Batch, from: number, to: number): number {
  let bytes = align(CONTROL_BYTES + (to - from) * ROW_BYTES) + MAX_FAULTS * FAULT_BYTES;
  for (let row = from; row < to; row++) bytes += batch.lengths[row] as number;
  return bytes;
}

interface Columns {
  readonly control: Int32Array;
  readonly addresses: BigUint64Array;
  readonly lengths: Float64Array;
  readonly offsets: Float64Array;
  readonly status: Int32Array;
  readonly faults: Float64Array;
  readonly bytes: Uint8Array;
}

function columns(buffer: SharedArrayBuffer, rows: number): Columns {
  let at = CONTROL_BYTES;
  const addresses = new BigUint64Array(buffer, at, rows);
  at += rows * 8;
  const lengths = new Float64Array(buffer, at, rows);
  at += rows * 8;
  const offsets = new Float64Array(buffer, at, rows);
  at += rows * 8;
  const status = new Int32Array(buffer, at, rows);
  at = align(at + rows * 4);
  const faults = new Float64Array(buffer, at, (MAX_FAULTS * FAULT_BYTES) / 8);
  at += MAX_FAULTS * FAULT_BYTES;
  return {
    control: new Int32Array(buffer, 0, CONTROL_BYTES / 4),
    addresses,
    lengths,
    offsets,
    status,
    faults,
    bytes: new Uint8Array(buffer, at),
  };
}

function align(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** Copies rows `from` to `to` (exclusive) of a batch into shared memory: all but the bytes of reads. */
export function packBatch(batch: Batch, from: number, to: number, buffer: SharedArrayBuffer): SharedHeader {
  const rows = to - from;
  const shared = columns(buffer, rows);
  shared.control.fill(0);
  let at = 0;
  for (let i = 0; i < rows; i++) {
    const row = from + i;
    const length = batch.lengths[row] as number;
    shared.addresses[i] = batch.addresses[row] as bigint;
    shared.lengths[i] = length;
    shared.offsets[i] = at;
    shared.status[i] = batch.status[row] as number;
    if (batch.direction !== "read") shared.bytes.set(batch.bytes(row), at);
    at += length;
  }
  return { buffer, direction: batch.direction, rows };
}

/** The other thread's view of the rows: a batch whose memory is the shared buffer. */
export function openShared(header: SharedHeader): Batch {
  const { rows } = header;
  const shared = columns(header.buffer, rows);
  const batch = new Batch();
  batch.reset(header.direction, rows);
  batch.length = rows;
  for (let i = 0; i < rows; i++) {
    batch.addresses[i] = shared.addresses[i] as bigint;
    batch.lengths[i] = shared.lengths[i] as number;
    batch.offsets[i] = shared.offsets[i] as number;
    batch.status[i] = shared.status[i] as number;
    batch.memory[i] = shared.bytes;
  }
  return batch;
}

/** Writes a served batch's statuses back, and marks it answered. The caller notifies `STATE_WORD`. */
export function answerShared(header: SharedHeader, batch: Batch): void {
  const shared = columns(header.buffer, header.rows);
  const count = Math.min(batch.faults.length, MAX_FAULTS);
  for (let i = 0; i < header.rows; i++) shared.status[i] = batch.status[i] as number;
  for (let i = 0; i < count; i++) {
    const { row, start, end, fault } = batch.faults[i] as Batch["faults"][number];
    shared.faults[3 * i] = row * 2 ** 30 + fault;
    shared.faults[3 * i + 1] = start;
    shared.faults[3 * i + 2] = end;
  }
  for (let i = count; i < batch.faults.length; i++) {
    const { row, fault } = batch.faults[i] as Batch["faults"][number];
    shared.status[row] = fault;
  }
  shared.control[FAULTS_WORD] = count;
  Atomics.store(shared.control, STATE_WORD, 1);
}

/**
 * Parks the thread until a batch is answered.
 *
 * @param timeout in milliseconds. @returns whether it was answered in time.
 */
export function awaitAnswer(header: SharedHeader, timeout: number): boolean {
  const control = new Int32Array(header.buffer);
  const end = Date.now() + timeout;
  // More than once: the notice of the answer before may come after this memory was reused.
  while (Atomics.load(control, STATE_WORD) === 0) {
    if (Atomics.wait(control, STATE_WORD, 0, Math.max(0, end - Date.now())) === "timed-out") return false;
  }
  return true;
}

/** Copies an answer back into rows `from` on of the caller's batch: statuses, and the bytes of reads and exchanges. */
export function unpackBatch(header: SharedHeader, batch: Batch, from: number): void {
  const shared = columns(header.buffer, header.rows);
  for (let i = 0; i < header.rows; i++) {
    const row = from + i;
    const status = shared.status[i] as number;
    if (status !== ROW_PARTIAL) batch.status[row] = status;
    if (header.direction === "write" || status !== 0) continue;
    const at = shared.offsets[i] as number;
    batch.bytes(row).set(shared.bytes.subarray(at, at + (shared.lengths[i] as number)));
  }
  const partial = new Map<number, RowFault[]>();
  for (let i = 0; i < (shared.control[FAULTS_WORD] as number); i++) {
    const packed = shared.faults[3 * i] as number;
    const fault = packed % 2 ** 30;
    const row = (packed - fault) / 2 ** 30;
    if (shared.status[row] !== ROW_PARTIAL) continue;
    const start = shared.faults[3 * i + 1] as number;
    const end = shared.faults[3 * i + 2] as number;
    batch.failRange(from + row, start, end, fault);
    const list = partial.get(row);
    if (list === undefined) partial.set(row, [{ row, start, end, fault }]);
    else list.push({ row, start, end, fault });
  }
  if (header.direction === "write") return;
  for (const [row, faults] of partial) unpackGood(shared, row, faults, batch.bytes(from + row));
}

/** Copies what lies between a row's faults: the shared memory behind those may hold an earlier answer's bytes. */
function unpackGood(shared: Columns, row: number, faults: RowFault[], into: Uint8Array): void {
  const origin = shared.offsets[row] as number;
  let at = 0;
  const copyTo = (end: number) => {
    if (end > at) into.set(shared.bytes.subarray(origin + at, origin + end), at);
  };
  for (const { start, end } of faults.sort((a, b) => a.start - b.start)) {
    copyTo(start);
    at = Math.max(at, end);
  }
  copyTo(into.length);
}
