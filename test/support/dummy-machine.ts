/** A machine of this test suite's own: RAM, page tables over shuffled, partly missing frames, and the truth beside it. */
import {
  AddressRanges,
  MemoryIo,
  type PacketIo,
  type Scheduler,
  SourceIo,
  withMapping,
} from "../../src/io/index.js";
import { memorySource } from "../suite/memory-source.js";

const PAGE = 4096;
/** What can be missing: whole blocks. */
const BLOCK = 512;

/** A small deterministic generator (mulberry32): 32 bits a call. */
export function randomBits(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** What a page is mapped with. */
export interface DummyRights {
  readonly writable?: boolean;
  readonly user?: boolean;
  readonly executable?: boolean;
  readonly global?: boolean;
}

/** What the machine knows of a mapped page. */
export interface DummyPage extends Required<DummyRights> {
  /** On x86, whatever is present may be read. */
  readonly readable: true;
  /** The same rights as bits, as `Rights.rights` has them. */
  readonly rights: number;
  readonly physical: number;
  readonly pageSize: number;
}

/** Options of {@link DummyMachine}. */
export interface DummyOptions {
  /** Of everything that is random about it (default 1). */
  readonly seed?: number;
  /** Frames of RAM (default 256). */
  readonly frames?: number;
  /** Physical address of the first frame (default 0). */
  readonly base?: number;
}

/**
 * x86-64, four levels. Frames are handed out in a shuffled order, so that nothing is contiguous by accident.
 * `pages` is the oracle: it is filled by `map`, never by reading tables.
 */
export class DummyMachine {
  readonly bytes: Uint8Array;
  readonly words: DataView;
  readonly base: number;
  readonly root: number;
  /** By virtual page number (4 KiB) of the page's start. */
  readonly pages = new Map<bigint, DummyPage>();
  /** Physical addresses of the blocks of 512 bytes that sources leave out. */
  readonly missing = new Set<number>();
  readonly #free: number[];
  /** 32 random bits a call. */
  readonly random: () => number;

  constructor(options: DummyOptions = {}) {
    const frames = options.frames ?? 256;
    this.base = options.base ?? 0;
    this.random = randomBits(options.seed ?? 1);
    this.bytes = new Uint8Array(frames * PAGE);
    this.words = new DataView(this.bytes.buffer);
    this.#free = Array.from({ length: frames }, (_, i) => this.base + i * PAGE);
    for (let i = frames - 1; i > 0; i--) {
      const j = this.random() % (i + 1);
      const swap = this.#free[i] as number;
      this.#free[i] = this.#free[j] as number;
      this.#free[j] = swap;
    }
    this.root = this.frame();
  }

  /** A frame that nothing uses. */
  frame(): number {
    const frame = this.#free.pop();
    if (frame === undefined) throw new Error("dummy machine: out of frames");
    return frame;
  }

  /** Fills a frame with a pattern of its own. */
  fill(physical: number): void {
    const at = physical - this.base;
    for (let i = 0; i < PAGE; i += 4) this.words.setUint32(at + i, this.random(), true);
  }

  /** The eight bytes at a physical address. */
  readEntry(physical: number): bigint {
    return this.words.getBigUint64(physical - this.base, true);
  }

  /** Puts eight bytes at a physical address: any entry, also a malformed one. */
  writeEntry(physical: number, entry: bigint): void {
    this.words.setBigUint64(physical - this.base, entry, true);
  }

  /** Physical address of the entry of `level` for an address, making the tables above it (below any root). */
  entryAt(virtual: bigint, level: number, root = this.root): number {
    let table = root;
    for (let at = 4; at > level; at--) {
      const slot = table + Number((virtual >> BigInt(12 + 9 * (at - 1))) & 511n) * 8;
      if ((this.readEntry(slot) & 1n) === 0n) this.writeEntry(slot, BigInt(this.frame()) | 7n);
      table = Number(this.readEntry(slot) & 0x000f_ffff_ffff_f000n);
    }
    return table + Number((virtual >> BigInt(12 + 9 * (level - 1))) & 511n) * 8;
  }

  /**
   * Maps a page: of 4 KiB (`level` 1), 2 MiB (2) or 1 GiB (3), to a new frame or a given address. Tables above it
   * grant everything, unless they were changed by `restrict`.
   */
  map(virtual: bigint, rights: DummyRights = {}, level = 1, physical?: number): DummyPage {
    const target = physical ?? this.frame();
    if (physical === undefined) this.fill(target);
    const { writable = true, user = true, executable = true, global = false } = rights;
    let entry = BigInt(target) | 1n;
    if (writable) entry |= 2n;
    if (user) entry |= 4n;
    if (global) entry |= 256n;
    if (level > 1) entry |= 128n;
    if (!executable) entry |= 1n << 63n;
    this.writeEntry(this.entryAt(virtual, level), entry);
    const page = {
      physical: target,
      pageSize: 2 ** (12 + 9 * (level - 1)),
      writable,
      user,
      executable,
      global,
      readable: true,
      rights: 32 | (writable ? 1 : 0) | (user ? 2 : 0) | (executable ? 4 + 16 : 0) | (global ? 8 : 0),
    } as const;
    this.pages.set(virtual >> 12n, page);
    return page;
  }

  /** Leaves a frame, or only blocks of it, out of the dump. `length` is a multiple of 512. */
  lose(physical: number, length = PAGE): void {
    for (let at = physical; at < physical + length; at += BLOCK) this.missing.add(at);
  }

  /** Whether the dump has a byte of RAM. */
  has(physical: number): boolean {
    if (physical < this.base || physical >= this.base + this.bytes.length) return false;
    return !this.missing.has(Math.floor(physical / BLOCK) * BLOCK);
  }

  /** What exists, ascending. */
  present(): AddressRanges {
    const ranges: { start: number; end: number }[] = [];
    for (let start = this.base; start < this.base + this.bytes.length; start += BLOCK) {
      if (this.has(start)) ranges.push({ start, end: start + BLOCK });
    }
    return AddressRanges.from(ranges);
  }

  /** The RAM as a layer that answers at once. */
  inlineIo(scheduler?: Scheduler): PacketIo<number> {
    const io = new MemoryIo(this.bytes, scheduler === undefined ? {} : { scheduler });
    const pieces = [...this.present()].map(({ start, end }) => ({
      start,
      size: end - start,
      target: start - this.base,
    }));
    return withMapping(io, pieces);
  }

  /** The RAM as a source that counts; `turns` microtasks late if given, and then asynchronous only. */
  sourceIo(options: { scheduler?: Scheduler; turns?: number } = {}): SourceIo {
    const { turns } = options;
    const gate = async () => {
      for (let i = 1; i < (turns ?? 0); i++) await null;
    };
    const mode = turns === undefined ? "sync" : "async";
    const source = memorySource(this.bytes, { base: this.base, mode, gate });
    return new SourceIo({ ...source, ranges: () => this.present() }, options.scheduler);
  }

  /** For the reference walker: entries by physical address, or why not. */
  reader(): (physical: bigint) => bigint | string {
    return (physical) => {
      const at = Number(physical);
      return this.has(at) ? this.readEntry(at) : "outside";
    };
  }
}
