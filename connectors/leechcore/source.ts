/** A device of LeechCore's as a source: scatter reads and writes, with one status a MEM. */
import type { RawRange } from "../../src/formats/index.js";
import {
  AddressRanges,
  type Batch,
  DEVICE_CODE,
  type Fault,
  fault,
  type Source,
  withDetail,
} from "../../src/io/index.js";

import { ConnectorError } from "../errors.js";
import type { FfiCall } from "../ffi.js";
import { MemoryBases } from "../memory-bases.hot.js";
import { type MemForm, RowCutter } from "./cut-rows.hot.js";
import { deviceString } from "./device-string.js";
import { LeechCoreHandle } from "./handle.js";
import { loadLeechCore } from "./library.js";
import { MAX_MEMS, ScatterBlock } from "./scatter-block.hot.js";

/** Options of {@link openLeechCore}. */
export interface LeechCoreOptions {
  /** Path of leechcore.so, or of its folder. Default: LEECHCORE_PATH, beside memtool, the system's. */
  readonly library?: string | undefined;
  /** LeechCore's address of a remote agent, `grpc://…`. */
  readonly remote?: string | undefined;
  /** Parameters of the device, in LeechCore's words: `algo`, `ip`, `devindex` … */
  readonly parameters?: ReadonlyMap<string, string> | undefined;
  /** Allows writes, where the device does. Default: false. */
  readonly write?: boolean | undefined;
  /** What there is of physical memory, and where the device has it, instead of what it says itself. */
  readonly memoryMap?: readonly RawRange[] | undefined;
  /** End of physical memory, bytes. Default: the device finds it out. */
  readonly maxAddress?: number | undefined;
}

/** A device as a source; addresses are physical. */
export interface LeechCoreSource extends Source {
  /** As LeechCore calls it: `file`, `fpga` … */
  readonly device: string;
  /** LeechCore's version, `2.23.3`. */
  readonly version: string;
  /** File of the library. */
  readonly library: string;
  /** The ranges of physical memory, and where the device has them; empty where it has no map. */
  memoryMap(): RawRange[];
  /**
   * Replaces the memory map as a whole, and reads it back.
   *
   * @param ranges Bounds are multiples of 4096. @throws {ConnectorError} `BAD_MEMORY_MAP` if LeechCore did not take it, or
   * the device is another's (`existing`); `BUSY` while calls are under way, which began with the map that there is (those of aborted operations too).
   */
  setMemoryMap(ranges: readonly RawRange[]): void;
  /** The value of an option (see `LEECHCORE_OPTIONS`); `undefined` where the device has none such. */
  getOption(option: bigint): bigint | undefined;
  /** Sets an option. @returns whether the device took it. */
  setOption(option: bigint, value: bigint): boolean;
}

const FAILED: Fault = fault("io", "device", "connector");
const GONE: Fault = fault("gone", "device", "connector");
const READ_ONLY: Fault = fault("read-only", "device", "connector");

const PAGE = 4096;
/** Calls under way in threads of their own at most; each holds up to 4 MiB. LeechCore's file device takes four. */
const MAX_CALLS = 4;
/** Places that were read well, each in a page of its own, to be asked for when nothing is. */
const WITNESSES = 4;
/**
 * MEMs of a call, as estimated, whose bytes go straight to the caller's memory. Fewer go through the block: its pages are
 * well placed and stay in a near cache. Measured, µs a page of the caller's at 16 in its page, through the block and straight:
 * 128 pages 3.2 and 4.2, 1,024 5.5 and 4.0.
 */
const MIN_DIRECT = 512;
/** What a MEM of any device begins and ends at. */
const UNIT = 8;

/** A place inside a page. */
interface Piece {
  readonly address: number;
  readonly bytes: number;
}

const pageOf = (address: number) => Math.floor(address / PAGE);

/**
 * Opens a device through LeechCore, which the user has installed.
 *
 * Reads and writes fail a page at a time: `outside` where the memory map has nothing; `io` where the device could not, with
 * what it says as the detail (from 512 on: see `LEECHCORE_RESULTS`) where LeechCore is 2.23 or later; `gone` once nothing can be
 * read any more that could before.
 *
 * @param target `fpga`, `file:PATH`, `rawudp:ip=…` or a device string of LeechCore's with `://` in it.
 * @throws {ConnectorError} `BAD_TARGET`, `NOT_HERE`, `NO_FFI`, `NO_LIBRARY`, `BAD_LIBRARY`, `OPEN_FAILED`, `READ_ONLY`,
 * `BAD_MEMORY_MAP`.
 */
export async function openLeechCore(
  target: string,
  options: LeechCoreOptions = {},
): Promise<LeechCoreSource> {
  const name = target === "" ? "leechcore" : `leechcore:${target}`;
  const write = options.write ?? false;
  const what = deviceString(name, target, options.parameters ?? new Map(), options.remote);
  const library = await loadLeechCore(name, options.library);
  const handle = LeechCoreHandle.open(name, library, what, options.maxAddress);
  try {
    if (write && handle.device.kind === "file") {
      throw new ConnectorError(
        "READ_ONLY",
        name,
        "LeechCore keeps what is written to a file in buffers that its own reads don't see: write to it through " +
          "the connector file, as in file:PATH:write=true",
      );
    }
    if (write && !handle.device.isWritable) {
      throw new ConnectorError(
        "READ_ONLY",
        name,
        `the device ${handle.device.kind} can't be written to: leave out the option write`,
      );
    }
    if (options.memoryMap !== undefined) handle.setMemoryMap(options.memoryMap);
    return new OpenLeechCore(handle, write);
  } catch (error) {
    handle.close();
    throw error;
  }
}

/** A block, and the calls that are made with it. */
interface Worker {
  readonly block: ScatterBlock;
  readonly read: FfiCall;
  readonly write: FfiCall;
}

class OpenLeechCore implements LeechCoreSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly device: string;
  readonly #handle: LeechCoreHandle;
  readonly #readForm: MemForm;
  readonly #writeForm: MemForm;
  /** For synchronous calls; the asynchronous have `#idle` and more. */
  readonly #here: Worker;
  readonly #bases: MemoryBases;
  readonly #idle: Worker[] = [];
  /** Calls under way in other threads. */
  #calls = 0;
  /** Calls of `transfer` that have not ended. */
  #transfers = 0;
  readonly #waiting: (() => void)[] = [];
  #whenIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #ranges: AddressRanges;
  #witnesses: readonly Piece[] = [];

  constructor(handle: LeechCoreHandle, write: boolean) {
    this.#handle = handle;
    this.device = handle.device.kind;
    this.supports = { write, live: handle.device.isVolatile };
    const isFile = this.device === "file";
    // LeechCore's header asks for 8 bytes at least, and some FPGA algorithms for multiples of that.
    this.#readForm = { unit: isFile ? 1 : UNIT, disjoint: false };
    // Cards write single bytes by their enable bits.
    this.#writeForm = { unit: 1, disjoint: true };
    this.#here = this.#worker();
    this.#bases = new MemoryBases(handle.library.ffi);
    this.#ranges = this.#askRanges();
    this.#seek();
  }

  get name(): string {
    return this.#handle.name;
  }

  get version(): string {
    return this.#handle.version;
  }

  get library(): string {
    return this.#handle.library.path;
  }

  ranges(): AddressRanges {
    return this.#ranges;
  }

  memoryMap(): RawRange[] {
    return this.#handle.memoryMap();
  }

  setMemoryMap(ranges: readonly RawRange[]): void {
    if (this.#transfers > 0) {
      throw new ConnectorError(
        "BUSY",
        this.name,
        "reads or writes are under way, which began with the memory map that there is: replace it when they have ended",
      );
    }
    try {
      this.#handle.setMemoryMap(ranges);
    } finally {
      // What it refuses, it may have taken in part. What could be read by the old map tells nothing of the new one.
      this.#ranges = this.#askRanges();
      this.#seek();
    }
  }

  getOption(option: bigint): bigint | undefined {
    return this.#handle.getOption(option);
  }

  setOption(option: bigint, value: bigint): boolean {
    return this.#handle.setOption(option, value);
  }

  #askRanges(): AddressRanges {
    const map = this.#handle.memoryMap();
    return map.length > 0 ? AddressRanges.from(map) : AddressRanges.single(0, this.#handle.device.maxAddress);
  }

  /** Reads the first page of each of the first ranges, and the last one of the first, so that it is known what can be read. */
  #seek(): void {
    this.#witnesses = [];
    const { starts, ends } = this.#ranges;
    const places = [...starts.slice(0, WITNESSES)];
    if (starts.length > 0) {
      places.push(Math.max(starts[0] as number, Math.floor(((ends[0] as number) - 1) / PAGE) * PAGE));
    }
    for (const place of places) {
      const start = Math.ceil(place / UNIT) * UNIT;
      const end = Math.min(
        (pageOf(place) + 1) * PAGE,
        this.#ranges.ends[this.#ranges.indexAfter(place)] as number,
      );
      const piece = { address: start, bytes: end - (end % UNIT) - start };
      if (piece.bytes > 0 && this.#isThere([piece])) this.#keepWitness(piece);
    }
  }

  /** The last ones are kept. */
  #keepWitness(piece: Piece): void {
    const kept = this.#witnesses;
    if (kept.some(({ address }) => pageOf(address) === pageOf(piece.address))) return;
    this.#witnesses = [...kept.slice(kept.length === WITNESSES ? 1 : 0), piece];
  }

  #worker(): Worker {
    const { library, hasResults } = this.#handle;
    return {
      block: new ScatterBlock(),
      read: hasResults
        ? library.call("LcReadScatterEx", "pipp", [0n, 0, 0n, 0n], "I32")
        : library.call("LcReadScatter", "pip", [0n, 0, 0n], "Void"),
      write: library.call("LcWriteScatter", "pip", [0n, 0, 0n], "Void"),
    };
  }

  transferSync(batch: Batch): void {
    if (this.#refuses(batch)) return;
    const worker = this.#here;
    const { block } = worker;
    const { ffi } = this.#handle.library;
    const cutter = new RowCutter(batch, this.#ranges, this.#form(batch));
    try {
      for (;;) {
        const mems = cutter.estimate(MAX_MEMS);
        block.reserve(ffi, mems);
        const isDirect = batch.direction === "read" && mems >= MIN_DIRECT;
        if (!cutter.fill(block, isDirect ? this.#bases : undefined)) return;
        ffi.load(this.#callFor(worker, batch));
        const hasResults = this.#hasResults(batch);
        const isGone = block.moved(hasResults) === 0 && !this.#isThere(this.#witnesses);
        this.#settle(worker, batch, hasResults, isGone);
      }
    } finally {
      this.#bases.forgetLast();
    }
  }

  async transfer(batch: Batch): Promise<void> {
    if (this.#refuses(batch)) return;
    this.#transfers++;
    try {
      await this.#transfer(batch);
    } finally {
      this.#transfers--;
      if (this.#transfers === 0) this.#whenIdle?.();
    }
  }

  async #transfer(batch: Batch): Promise<void> {
    const cutter = new RowCutter(batch, this.#ranges, this.#form(batch));
    const calls: Promise<void>[] = [];
    try {
      for (;;) {
        const next = await this.#next(cutter, batch);
        if (next === undefined) break;
        // Writes are applied in their order.
        next.call.catch(() => {});
        if (batch.direction === "read") calls.push(next.call);
        else await next.call;
      }
    } finally {
      // Whatever went wrong, nobody touches the batch when this has ended.
      await Promise.allSettled(calls);
    }
    await Promise.all(calls);
  }

  /** Begins the next call, when there is a place for it. (In an object: a promise would be waited for.) */
  async #next(cutter: RowCutter, batch: Batch): Promise<{ readonly call: Promise<void> } | undefined> {
    const worker = await this.#take();
    let isFilled = false;
    try {
      worker.block.reserve(this.#handle.library.ffi, cutter.estimate(MAX_MEMS));
      isFilled = cutter.fill(worker.block);
    } finally {
      if (!isFilled) this.#give(worker);
    }
    return isFilled ? { call: this.#moveElsewhere(worker, batch) } : undefined;
  }

  /** Makes the calls for a filled block in another thread. The block stays where it is until then: the worker holds it. */
  async #moveElsewhere(worker: Worker, batch: Batch): Promise<void> {
    try {
      const { ffi } = this.#handle.library;
      await ffi.load({ ...this.#callFor(worker, batch), runInNewThread: true });
      const hasResults = this.#hasResults(batch);
      const isGone = worker.block.moved(hasResults) === 0 && !(await this.#isThereElsewhere(this.#witnesses));
      this.#settle(worker, batch, hasResults, isGone);
    } finally {
      this.#give(worker);
    }
  }

  /** The call that moves what is in a block. */
  #callFor({ block, read, write }: Worker, batch: Batch): FfiCall {
    if (batch.direction === "read") return this.#aim(read, block);
    block.gather(batch);
    return this.#aim(write, block);
  }

  #aim(call: FfiCall, block: ScatterBlock): FfiCall {
    const values = call.paramsValue;
    values[0] = this.#handle.value;
    values[1] = block.count;
    values[2] = block.pointers;
    if (values.length > 3) values[3] = block.resultsAt;
    return call;
  }

  #form(batch: Batch): MemForm {
    return batch.direction === "read" ? this.#readForm : this.#writeForm;
  }

  #hasResults(batch: Batch): boolean {
    return batch.direction === "read" && this.#handle.hasResults;
  }

  #settle({ block }: Worker, batch: Batch, hasResults: boolean, isGone: boolean): void {
    if (batch.direction === "read" && block.isMoved(0, hasResults)) {
      this.#keepWitness({ address: block.addressOf(0), bytes: block.lengthOf(0) });
    }
    block.settle(batch, hasResults, (result) =>
      isGone ? GONE : result > 2 ? withDetail(FAILED, DEVICE_CODE + result) : FAILED,
    );
  }

  /**
   * Whether one of these places can be read, now that nothing else could: a device that is there answers for what it
   * answered for before. True where there are none to ask for.
   */
  #isThere(pieces: readonly Piece[]): boolean {
    if (pieces.length === 0) return true;
    const worker = this.#asking(pieces);
    this.#handle.library.ffi.load(this.#aim(worker.read, worker.block));
    return worker.block.moved(this.#handle.hasResults) > 0;
  }

  /** The same in another thread: a device that does not answer may take seconds to be given up. */
  async #isThereElsewhere(pieces: readonly Piece[]): Promise<boolean> {
    if (pieces.length === 0) return true;
    const worker = this.#asking(pieces);
    const call = this.#aim(worker.read, worker.block);
    await this.#handle.library.ffi.load({ ...call, runInNewThread: true });
    return worker.block.moved(this.#handle.hasResults) > 0;
  }

  #asking(pieces: readonly Piece[]): Worker {
    const worker = this.#worker();
    worker.block.reserve(this.#handle.library.ffi, pieces.length);
    pieces.forEach(({ address, bytes }, i) => {
      worker.block.add(i, 0, address, bytes, 0, 0, 0);
    });
    return worker;
  }

  #refuses(batch: Batch): boolean {
    const { supports } = this;
    const why = !this.#handle.isOpen ? GONE : batch.direction !== "read" && !supports.write ? READ_ONLY : 0;
    if (why !== 0) for (let row = 0; row < batch.length; row++) batch.fail(row, why);
    return why !== 0;
  }

  async #take(): Promise<Worker> {
    if (this.#calls < MAX_CALLS) this.#calls++;
    // Whoever gives a place back hands it on.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#idle.pop() ?? this.#worker();
  }

  #give(worker: Worker): void {
    this.#idle.push(worker);
    const next = this.#waiting.shift();
    if (next === undefined) this.#calls--;
    else next();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#transfers > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    this.#handle.close();
  }
}
