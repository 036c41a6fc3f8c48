/**
 * The memory of one scatter call, made once and grown as needed: `[pointers][MEM_SCATTER][results]`, and a page for each.
 * Rows of a batch are cut into MEMs, none of which crosses a page. What is read goes straight to the caller's memory where
 * its address is known, else through a page of the block. A call in another thread never sees the caller's memory, which could
 * be gone before the call ends.
 */
import { type Batch, ROW_UNANSWERED } from "../../src/io/batch.hot.js";
import { copyBytes } from "../../src/io/copy.hot.js";
import type { Fault } from "../../src/io/fault.js";
import { addressOf, type Ffi } from "../ffi.js";
import { wellPlacedMemory } from "../well-placed.js";
import { SCATTER, SCATTER_VERSION } from "./abi.js";
import { hasMemory, NO_MEMORY } from "./row-memory.js";

const PAGE = 4096;
const HIGH = 4294967296;
const POINTER = 8;
/** MEMs in one call at most: 4 MiB, enough for an FPGA's rounds of 80 to 192 KiB to be all but full. */
export const MAX_MEMS = 1024;
const FIRST_MEMS = 16;
const words = {
  version: SCATTER.version / 4,
  f: SCATTER.f / 4,
  address: SCATTER.address / 4,
  bytes: SCATTER.bytes / 4,
  length: SCATTER.length / 4,
  stackDepth: SCATTER.stackDepth / 4,
};
const MEM_WORDS = SCATTER.size / 4;

/** See the module's comment. */
export class ScatterBlock {
  /** MEMs that are filled. */
  count = 0;
  /** Address of the array of pointers, signed as a foreign call takes it. */
  pointers = 0n;
  /** Address of the results of `LcReadScatterEx`. */
  resultsAt = 0n;
  #capacity = 0;
  /** Keeps the memory where it is. */
  #u32 = new Uint32Array(0);
  #stage: Uint8Array = new Uint8Array(0);
  #results = new Uint32Array(0);
  /** Word at which the MEMs begin. */
  #mems = 0;
  /** Columns, one entry a MEM: its row, where its bytes begin in that row, how many the row wants, and how many come before. */
  #row = new Int32Array(0);
  #from = new Float64Array(0);
  #bytes = new Int32Array(0);
  #lead = new Int32Array(0);
  /** 1 of a MEM whose bytes go straight to the caller's memory. */
  #isDirect = new Uint8Array(0);
  /** Address of the first page. */
  #stageAt = 0;

  /** Makes room for as many MEMs, at most `MAX_MEMS`. What it held is lost. */
  reserve(ffi: Ffi, mems: number): void {
    this.count = 0;
    if (mems <= this.#capacity) return;
    let capacity = Math.max(this.#capacity, FIRST_MEMS);
    while (capacity < mems) capacity *= 4;
    if (capacity > MAX_MEMS) capacity = MAX_MEMS;
    const memsAt = capacity * POINTER;
    const resultsAt = memsAt + capacity * SCATTER.size;
    const memory = new ArrayBuffer(resultsAt + capacity * 4);
    const address = addressOf(ffi, new Uint8Array(memory));
    const stage = wellPlacedMemory(ffi, capacity * PAGE);
    this.#stage = stage.bytes;
    this.#stageAt = stage.address;
    this.#u32 = new Uint32Array(memory);
    this.#results = new Uint32Array(memory, resultsAt, capacity);
    this.#mems = memsAt / 4;
    this.#row = new Int32Array(capacity);
    this.#from = new Float64Array(capacity);
    this.#bytes = new Int32Array(capacity);
    this.#lead = new Int32Array(capacity);
    this.#isDirect = new Uint8Array(capacity);
    this.#capacity = capacity;
    this.pointers = BigInt.asIntN(64, address);
    this.resultsAt = BigInt.asIntN(64, address + BigInt(resultsAt));
    const pointers = new BigUint64Array(memory, 0, capacity);
    for (let i = 0; i < capacity; i++) {
      pointers[i] = address + BigInt(memsAt + i * SCATTER.size);
      this.#u32[this.#mems + i * MEM_WORDS + words.version] = SCATTER_VERSION;
    }
  }

  get isFull(): boolean {
    return this.count === this.#capacity;
  }

  /**
   * Adds a MEM for bytes of one page.
   *
   * @param from Of the row, its first byte.
   * @param lead Bytes that are moved before them, and `tail` behind them, for the device's sake.
   * @param place Address of memory for them, which stays where it is until the call has ended; 0: a page of the block's.
   */
  add(
    row: number,
    from: number,
    address: number,
    bytes: number,
    lead: number,
    tail: number,
    place: number,
  ): void {
    const i = this.count++;
    this.#row[i] = row;
    this.#from[i] = from;
    this.#bytes[i] = bytes;
    this.#lead[i] = lead;
    this.#isDirect[i] = place === 0 ? 0 : 1;
    const target = place === 0 ? this.#stageAt + i * PAGE : place;
    const u32 = this.#u32;
    const mem = this.#mems + i * MEM_WORDS;
    const start = address - lead;
    const low = start >>> 0;
    u32[mem + words.f] = 0;
    u32[mem + words.address] = low;
    u32[mem + words.address + 1] = (start - low) / HIGH;
    u32[mem + words.bytes] = target >>> 0;
    u32[mem + words.bytes + 1] = target / HIGH;
    u32[mem + words.length] = lead + bytes + tail;
    u32[mem + words.stackDepth] = 0;
    this.#results[i] = 0;
  }

  /** Copies what the rows of a write hold to where the library finds it. */
  gather(batch: Batch): void {
    for (let i = 0; i < this.count; i++) {
      const row = this.#row[i] as number;
      const at = (batch.offsets[row] as number) + (this.#from[i] as number);
      const into = i * PAGE + (this.#lead[i] as number);
      copyBytes(batch.memory[row] as Uint8Array, at, this.#stage, into, this.#bytes[i] as number);
    }
  }

  /** Whether the library moved a MEM. With results, they must say so too. */
  isMoved(i: number, hasResults: boolean): boolean {
    if (this.#u32[this.#mems + i * MEM_WORDS + words.f] === 0) return false;
    const result = this.#results[i] as number;
    return !hasResults || result === 1 || result === 2;
  }

  /** How many were moved. */
  moved(hasResults: boolean): number {
    let moved = 0;
    for (let i = 0; i < this.count; i++) if (this.isMoved(i, hasResults)) moved++;
    return moved;
  }

  /** Where a MEM begins, with what comes before the row's bytes for the device's sake. */
  addressOf(i: number): number {
    const mem = this.#mems + i * MEM_WORDS + words.address;
    return (this.#u32[mem + 1] as number) * HIGH + (this.#u32[mem] as number);
  }

  /** Bytes of a MEM. */
  lengthOf(i: number): number {
    return this.#u32[this.#mems + i * MEM_WORDS + words.length] as number;
  }

  /**
   * Answers the rows: brings the bytes of a read, and says what did not move.
   *
   * @param faultOf What a MEM fails with, by its result (0 where there are none).
   */
  settle(batch: Batch, hasResults: boolean, faultOf: (result: number) => Fault): void {
    const { lengths, memory, offsets, status } = batch;
    const isRead = batch.direction === "read";
    for (let i = 0; i < this.count; i++) {
      const row = this.#row[i] as number;
      const from = this.#from[i] as number;
      const bytes = this.#bytes[i] as number;
      if (!this.isMoved(i, hasResults)) {
        batch.failRange(row, from, from + bytes, faultOf(this.#results[i] as number));
      } else if (isRead && !hasMemory(batch, row, from + bytes)) {
        batch.failRange(row, from, from + bytes, NO_MEMORY);
      } else if (isRead && this.#isDirect[i] === 0) {
        const at = i * PAGE + (this.#lead[i] as number);
        copyBytes(this.#stage, at, memory[row] as Uint8Array, (offsets[row] as number) + from, bytes);
      }
      const isLast = from + bytes === lengths[row];
      if (isLast && status[row] === ROW_UNANSWERED) status[row] = 0;
    }
  }
}
