/** Transfers through /proc/PID/mem: it reads and writes whatever its process has mapped, whatever the pages' rights. */
import { readSync, writeSync } from "node:fs";
import { type AddressRanges, type Batch, type Fault, fault, withDetail } from "../../src/io/index.js";
import { errnoOf } from "../errors.js";
import { NearRows } from "../near-rows.js";

const UNMAPPED: Fault = fault("outside", "address", "connector");
const FAILED: Fault = fault("io", "memory", "connector");
const EXITED: Fault = fault("gone", "process", "connector");

const MAX_CALL = 2 ** 30;
/**
 * Rows are read together where a row and the gap before it have up to this many bytes: then no page is touched that
 * nobody asked for. Measured with Node 20, CPU time a row of a call each against one for all: 4 KiB with no gap 1,580
 * against 1,300 ns, 100 bytes with gaps of 900 660 against 300, 8 bytes with gaps of 56 570 against 40.
 */
export const MAX_JOIN = 4096;
/** `readSync` takes positions up to 2^63 - 1. No process has readable memory above (the vsyscall page is not). */
export const TOP_HIGH = 0x8000_0000;

/** See the module's comment. */
export class MemoryFile {
  readonly #fd: number;
  readonly #pageSize: number;
  readonly #ranges: () => AddressRanges;
  /** Asked once a batch, and only when something fails. */
  #mapped: AddressRanges | undefined;
  readonly #near: NearRows;

  /** @param ranges What is mapped now; none once the address space is gone. */
  constructor(fd: number, pageSize: number, ranges: () => AddressRanges) {
    this.#fd = fd;
    this.#pageSize = pageSize;
    this.#ranges = ranges;
    this.#near = new NearRows(MAX_JOIN, (into, at, length, position) =>
      readSync(this.#fd, into, at, length, position),
    );
  }

  /** Before the rows of a batch. */
  begin(): void {
    this.#mapped = undefined;
  }

  /** Reads rows `from` to `to` (exclusive) of those that have no answer yet. */
  read(batch: Batch, from: number, to: number): void {
    for (let row = from; row < to; ) {
      const end = Math.min(to, this.#near.end(batch, row));
      if (end > row + 1) this.#near.read(batch, row, end);
      for (; row < end; row++) if (batch.status[row] !== 0) this.#move(batch, row);
    }
  }

  /** Writes all rows, in their order. */
  write(batch: Batch): void {
    for (let row = 0; row < batch.length; row++) this.#move(batch, row);
  }

  #move(batch: Batch, row: number): void {
    const length = batch.lengths[row] as number;
    const high = batch.words[2 * row + 1] as number;
    if (high >= TOP_HIGH) return batch.fail(row, UNMAPPED);
    const write = batch.direction === "write";
    // Positions of writes have to be numbers; no user address is that high.
    if (write && high >= 0x20_0000) return batch.fail(row, UNMAPPED);
    const memory = batch.memory[row] as Uint8Array;
    const offset = batch.offsets[row] as number;
    const start = batch.address(row);
    const exact = high >= 0x20_0000 ? batch.addresses[row] : undefined;
    batch.done(row);
    let at = 0;
    while (at < length) {
      const position = exact === undefined ? start + at : exact + BigInt(at);
      const moved = this.#call(write, memory, offset + at, Math.min(MAX_CALL, length - at), position);
      if (moved > 0) {
        at += moved;
        continue;
      }
      if (moved === 0) return batch.failRange(row, at, length, EXITED);
      const address = start + at;
      this.#mapped ??= this.#ranges();
      const ranges = this.#mapped;
      if (ranges.length === 0) return batch.failRange(row, at, length, EXITED);
      const i = ranges.indexAfter(address);
      const next = ranges.starts[i] ?? Number.POSITIVE_INFINITY;
      const inside = next <= address;
      // Unmapped up to the next range, or one page that can't be moved.
      const end = Math.min(
        length,
        at + (inside ? this.#pageSize - (address % this.#pageSize) : next - address),
      );
      batch.failRange(row, at, end, inside ? withDetail(FAILED, -moved) : UNMAPPED);
      at = end;
    }
  }

  /** @returns bytes moved; 0 if the process is gone; below 0 the errno, negative. */
  #call(write: boolean, memory: Uint8Array, at: number, length: number, position: number | bigint): number {
    try {
      if (write) return writeSync(this.#fd, memory, at, length, position as number);
      return readSync(this.#fd, memory, at, length, position);
    } catch (error) {
      const errno = errnoOf(error);
      return errno === 0 ? -5 : -errno;
    }
  }
}
