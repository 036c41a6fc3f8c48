/** A file in memory, a window at a time: mapped when first asked for, and the one used longest ago makes room. */
import { fstatSync } from "node:fs";
import { type Fault, withDetail } from "../src/io/index.js";
import { errnoOf } from "./errors.js";
import { FAILED, SHRUNK } from "./file.js";
import { MapError, type MappedBytes, type Mapper } from "./mmap.js";

/**
 * Bytes of a window, 1 GiB: a buffer may have 4 on Node 20, but offsets from 2^31 on are no small integers to V8. A
 * multiple of every page size.
 */
const WINDOW = 2 ** 30;
/**
 * At most so many are mapped, 1 TiB of addresses: the page tables of one whose pages were all touched take 2 MiB. Beyond it,
 * each window that makes room for another costs a collection of garbage (V8 counts its GiB as memory to be freed), some
 * 1 ms and more.
 */
const MAX_WINDOWS = 1024;

const NONE = new Uint8Array(0);

/** For tests: windows of another size, and fewer. */
export interface WindowOptions {
  /** A multiple of 64 KiB. */
  readonly windowBytes?: number | undefined;
  readonly maxWindows?: number | undefined;
}

interface Window extends MappedBytes {
  readonly start: number;
  /** When it was chosen last. */
  used: number;
}

/**
 * The windows of a file. `seek` chooses one; until the next `seek`, `check` or `close`, its bytes are `bytes`, of which
 * those from file offset `start` to `end` (exclusive) may be touched, and no others: a touch beyond the file's end would
 * end the program (SIGBUS).
 */
export class FileWindows {
  /** The chosen window. Never to be kept: it is unmapped when others need its place. */
  bytes: Uint8Array = NONE;
  start = 0;
  end = 0;
  readonly #mapper: Mapper;
  readonly #fd: number;
  readonly #size: number;
  readonly #windowBytes: number;
  readonly #maxWindows: number;
  readonly #windows = new Map<number, Window>();
  #uses = 0;
  /** What there is now: the size at opening, or less. */
  #limit: number;
  /** Why there is no more. */
  #beyond: Fault = SHRUNK;
  #closed = false;

  /** @param size Bytes, when the file was opened: what it grows by later is not seen. */
  constructor(mapper: Mapper, fd: number, size: number, options: WindowOptions = {}) {
    this.#mapper = mapper;
    this.#fd = fd;
    this.#size = size;
    this.#limit = size;
    this.#windowBytes = options.windowBytes ?? WINDOW;
    this.#maxWindows = options.maxWindows ?? MAX_WINDOWS;
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** How many windows are mapped. */
  get mapped(): number {
    return this.#windows.size;
  }

  /** Asks how long the file is now. What is beyond is not touched from here on. */
  check(): void {
    if (this.#closed) return;
    try {
      this.#limit = Math.min(this.#size, fstatSync(this.#fd).size);
      this.#beyond = SHRUNK;
    } catch (error) {
      this.#limit = 0;
      this.#beyond = withDetail(FAILED, errnoOf(error));
    }
    this.#choose(this.bytes, this.start);
  }

  /**
   * Chooses the window that holds `offset`, which is below the size at opening.
   *
   * @returns 0, or why that byte can't be had.
   */
  seek(offset: number): Fault {
    if (offset >= this.#limit) return this.#beyond;
    const index = Math.floor(offset / this.#windowBytes);
    let window = this.#windows.get(index);
    if (window === undefined) {
      try {
        window = this.#map(index);
      } catch (error) {
        if (error instanceof MapError) return withDetail(FAILED, error.errno);
        throw error;
      }
    }
    this.#uses++;
    window.used = this.#uses;
    this.#choose(window.bytes, window.start);
    return 0;
  }

  #map(index: number): Window {
    if (this.#windows.size >= this.#maxWindows) this.#unmapOldest();
    const start = index * this.#windowBytes;
    const { bytes, unmap } = this.#mapper.map(
      this.#fd,
      start,
      Math.min(this.#windowBytes, this.#size - start),
    );
    const window = { bytes, unmap, start, used: 0 };
    this.#windows.set(index, window);
    return window;
  }

  #unmapOldest(): void {
    let oldest = Number.POSITIVE_INFINITY;
    let which = -1;
    for (const [index, { used }] of this.#windows) {
      if (used >= oldest) continue;
      oldest = used;
      which = index;
    }
    const window = this.#windows.get(which);
    if (window === undefined) return;
    if (this.start === window.start) this.#choose(NONE, 0);
    this.#windows.delete(which);
    window.unmap();
  }

  #choose(bytes: Uint8Array, start: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = Math.min(start + bytes.length, this.#limit);
  }

  /** Unmaps everything. `seek` fails from here on as if the file had become empty. */
  close(): void {
    this.#closed = true;
    this.#limit = 0;
    this.#choose(NONE, 0);
    const windows = [...this.#windows.values()];
    this.#windows.clear();
    for (const window of windows) window.unmap();
  }
}
