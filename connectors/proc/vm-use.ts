/** Decides when the rows of a process are worth calls of process_vm_readv(2), and the package that makes them. */
import type { Batch } from "../../src/io/index.js";
import { type Ffi, loadFfiNow } from "../ffi.js";
import { NearRows } from "../near-rows.js";
import { MAX_JOIN, type MemoryFile } from "./memory-file.js";
import type { SameProgram } from "./same-program.js";
import { LARGE, MIN_RUNS, VmCalls } from "./vm-calls.hot.js";

/** How calls are used; for tests. */
export interface VmUse {
  /** Rows after which `ffi-rs` is loaded, if nobody has yet; default {@link PAYS}. Infinite: never is it used. */
  readonly after?: number;
  /** Gets the package. */
  readonly load?: () => Ffi;
}

/** Reads batches of a process. */
export interface FastReads {
  read(batch: Batch): void;
  /** Calls that were made so far: `undefined` before the first large batch, or where they can't be. */
  readonly calls: VmCalls | undefined;
}

/**
 * Loading the package takes 13 to 80 ms, and a call saves 1 to 4 µs a row: so many rows pay for it. Until then nobody can
 * know whether it will be worth it; so the price is at most twice what the better choice would have cost.
 */
const PAYS = 8192;
/** Bytes of a large row that save as much as a row among many. */
const LARGE_ROW = 16_384;

/** Of this program; `null` where it can't be had. */
let loaded: Ffi | null | undefined;

export function fastReads(
  pid: number,
  file: MemoryFile,
  prove: () => SameProgram | undefined,
  { after = PAYS, load = loadFfiNow }: VmUse,
): FastReads {
  return new ByWorth(pid, file, prove, after, load);
}

class ByWorth implements FastReads {
  calls: VmCalls | undefined;
  readonly #pid: number;
  readonly #file: MemoryFile;
  /** Taken when the process is opened: later it may run another program. */
  readonly #proof: SameProgram | undefined;
  readonly #after: number;
  readonly #load: () => Ffi;
  #rows = 0;
  #never = false;

  constructor(
    pid: number,
    file: MemoryFile,
    prove: () => SameProgram | undefined,
    after: number,
    load: () => Ffi,
  ) {
    this.#pid = pid;
    this.#file = file;
    this.#proof = prove();
    this.#after = after;
    this.#load = load;
  }

  read(batch: Batch): void {
    if (this.calls === undefined && !this.#never && this.#isWorth(batch)) this.#start();
    if (this.calls === undefined) return this.#file.read(batch, 0, batch.length);
    this.calls.read(batch);
    if (this.calls.ended === undefined) return;
    this.calls = undefined;
    this.#never = true;
  }

  #isWorth({ length, lengths }: Batch): boolean {
    let large = 0;
    for (let row = 0; row < length; row++) {
      const bytes = lengths[row] as number;
      if (bytes >= LARGE) large += bytes;
    }
    const rows = length < MIN_RUNS ? 0 : length;
    if (rows === 0 && large === 0) return false;
    this.#rows += rows + large / LARGE_ROW;
    const isThere = loaded !== undefined && loaded !== null && Number.isFinite(this.#after);
    return isThere || this.#rows >= this.#after;
  }

  #start(): void {
    const ffi = this.#proof === undefined ? null : this.#package();
    if (ffi === null || this.#proof === undefined) {
      this.#never = true;
      return;
    }
    const near = new NearRows(MAX_JOIN, () => 0);
    this.calls = new VmCalls(ffi, this.#pid, this.#proof, this.#file, near);
  }

  /** Without it, everything is read as well, only slower. */
  #package(): Ffi | null {
    if (loaded !== undefined && this.#load === loadFfiNow) return loaded;
    let ffi: Ffi | null;
    try {
      ffi = this.#load();
    } catch {
      ffi = null;
    }
    if (this.#load === loadFfiNow) loaded = ffi;
    return ffi;
  }
}
