/** Runs of mapped memory, as columns; one run as an object. */
import { HIGH, joinAddress } from "../../io/address.js";
import { type Fault, type FaultState, faultDetail, faultState, levelOf } from "../../io/index.js";
import { type CompiledMmu, restoreEntry } from "../formats/mmu.js";
import { EXECUTABLE, GLOBAL, READABLE, type Rights, USER, WRITABLE } from "../formats/rights.js";
import { entryOf } from "../walk/translation.js";

/** Mapped memory: contiguous both virtually and physically, of one page size, with one set of rights. */
export interface MappedRun extends Rights {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  /** Physical address of the first byte. */
  readonly physical: number;
  readonly pageSize: number;
  readonly state?: undefined;
}

/**
 * What has no bytes in RAM and is more than plainly not present: `table-missing` or `malformed` (what lies there can't be
 * told), `swapped`. Ranges that are plainly not present have no run.
 */
export interface BrokenRun {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  readonly state: FaultState;
  /** Level of the entry that is malformed or swapped, or of the table that is missing. */
  readonly level: number;
  /** That entry, or the one that points to the missing table (0 for the root). */
  readonly entry: bigint;
  readonly fault: Fault;
  /** For `table-missing`: the state of the read of the table. */
  readonly cause?: FaultState;
}

/** A run of `VirtualMemory.maps`; `state` tells which. */
export type MapRun = MappedRun | BrokenRun;

/** Rows of `VirtualMemory.runs`: 2.4 MiB of columns. */
export const RUN_ROWS = 65_536;

/**
 * Runs of a range, ascending, structure of arrays: what `VirtualMemory.runs` gives. Row i is one run; columns are at
 * least `length` long. Reusable: pass it as `into` of the next call.
 */
export class RunColumns {
  /** The format of the levels. @internal */
  readonly mmu: CompiledMmu;
  length = 0;
  /** Virtual address of each run's first byte. */
  readonly starts: BigUint64Array<ArrayBuffer>;
  /** Bytes of each run. */
  readonly lengths: Float64Array;
  /** Physical address of its first byte; -1 for what can't be told. */
  readonly physical: Float64Array;
  /** 0, or why it can't be told. */
  readonly faults: Int32Array;
  /** Level of its leaves (1: the smallest page), or of the entry or table that failed. */
  readonly levels: Uint8Array;
  /** Bits as of `Rights.rights`; 0 where it failed. */
  readonly rights: Uint8Array;
  /** Entries that were looked at one by one for them, and tables fetched, in the same measure: what they cost. @internal */
  steps = 0;
  /** How far the runs reach: the end of the range, or where to go on if there was no room for more. */
  end = 0n;
  /** `starts` as `[lo, hi]`. @internal */
  readonly startWords: Int32Array;
  /** Entries of rows that failed, as `[lo, hi]`. @internal */
  readonly entryWords: Int32Array;
  /** Page number behind the last run, which an adjacent piece makes longer; -1 if nothing may. @internal */
  next = -1;
  /** Whether there are faults other than 0: those beyond `length` are 0. */
  #failed = false;

  /** @internal */
  constructor(mmu: CompiledMmu, rows: number) {
    this.mmu = mmu;
    this.starts = new BigUint64Array(rows);
    this.startWords = new Int32Array(this.starts.buffer);
    this.lengths = new Float64Array(rows);
    this.physical = new Float64Array(rows);
    this.faults = new Int32Array(rows);
    this.levels = new Uint8Array(rows);
    this.rights = new Uint8Array(rows);
    this.entryWords = new Int32Array(2 * rows);
  }

  /** Rows that there is room for. */
  get capacity(): number {
    return this.lengths.length;
  }

  /** Forgets every row. @internal */
  clear(): void {
    if (this.#failed) this.faults.fill(0);
    this.#failed = false;
    this.length = 0;
    this.steps = 0;
    this.next = -1;
  }

  /** Forgets every row but the last one, which may still grow. @internal */
  keepLast(): void {
    const last = this.length - 1;
    if (last <= 0) return;
    this.startWords.copyWithin(0, 2 * last, 2 * last + 2);
    this.entryWords.copyWithin(0, 2 * last, 2 * last + 2);
    for (const column of [this.lengths, this.physical, this.faults, this.levels, this.rights]) {
      column.copyWithin(0, last, last + 1);
    }
    if (this.#failed) this.faults.fill(0, 1);
    this.length = 1;
  }

  /**
   * Adds a piece to the last run, or as another: `false` if there is no room for that.
   *
   * @param vpn   First page number; pieces ascend.
   * @param level That of the leaf; of no meaning for what is broken, as `physical` and `rights`.
   * @param fault 0 for what is mapped, else why it is not.
   * @internal
   */
  add(
    vpn: number,
    pages: number,
    physical: number,
    level: number,
    rights: number,
    fault: Fault,
    entryLo: number,
    entryHi: number,
  ): boolean {
    const { mmu } = this;
    const bytes = pages * (mmu.size[1] as number);
    const last = this.length - 1;
    if (
      last >= 0 &&
      this.next === vpn &&
      this.faults[last] === fault &&
      (fault === 0
        ? this.levels[last] === level &&
          this.rights[last] === rights &&
          (this.physical[last] as number) + (this.lengths[last] as number) === physical
        : this.#isSameEntry(last, entryLo, entryHi))
    ) {
      (this.lengths[last] as number) += bytes;
      this.next = vpn + pages;
      return true;
    }
    if (this.length === this.capacity) return false;
    const row = this.length++;
    const hi = Math.floor(vpn / mmu.pagesIn4GiB);
    this.startWords[2 * row] = (vpn - hi * mmu.pagesIn4GiB) * (mmu.size[1] as number);
    this.startWords[2 * row + 1] = hi;
    this.lengths[row] = bytes;
    this.physical[row] = fault === 0 ? physical : -1;
    this.faults[row] = fault;
    if (fault !== 0) this.#failed = true;
    this.levels[row] = fault === 0 ? level : faultDetail(fault) & 7;
    this.rights[row] = fault === 0 ? rights : 0;
    this.entryWords[2 * row] = entryLo;
    this.entryWords[2 * row + 1] = entryHi;
    this.next = vpn + pages;
    return true;
  }

  /** Whether a row's entry is another one, as they are stored. (In the walker's form, equal ones may differ by their index.) */
  #isSameEntry(row: number, lo: number, hi: number): boolean {
    const ownLo = this.entryWords[2 * row] as number;
    const ownHi = this.entryWords[2 * row + 1] as number;
    if (ownLo === (lo | 0) && ownHi === (hi | 0)) return true;
    const { mmu } = this;
    return (
      mmu.def.form !== undefined &&
      restoreEntry(mmu, joinAddress(ownLo, ownHi)) === restoreEntry(mmu, joinAddress(lo, hi))
    );
  }

  /** Bytes of a run's pages; 0 where it failed. */
  pageSize(row: number): number {
    return this.faults[row] === 0 ? (this.mmu.size[this.levels[row] as number] as number) : 0;
  }

  /** One row as an object. @throws {RangeError} if there is no such row. */
  row(row: number): MapRun {
    if (!(row >= 0 && row < this.length)) throw new RangeError(`row ${row}: there are ${this.length}`);
    const startLo = (this.startWords[2 * row] as number) >>> 0;
    const startHi = (this.startWords[2 * row + 1] as number) >>> 0;
    const start = joinAddress(startLo, startHi);
    const sum = startLo + (this.lengths[row] as number);
    const hi = startHi + Math.floor(sum / HIGH);
    const end = hi >= HIGH ? 1n << 64n : joinAddress(sum % HIGH, hi);
    const fault = this.faults[row] as number;
    if (fault === 0) {
      const rights = this.rights[row] as number;
      // (A literal with a spread of `rightsFields` costs twice as much.)
      return {
        start,
        end,
        physical: this.physical[row] as number,
        pageSize: this.mmu.size[this.levels[row] as number] as number,
        readable: (rights & READABLE) !== 0,
        writable: (rights & WRITABLE) !== 0,
        user: (rights & USER) !== 0,
        executable: (rights & EXECUTABLE) !== 0,
        global: (rights & GLOBAL) !== 0,
        rights,
      };
    }
    const { level, cause } = levelOf(fault);
    const found = joinAddress(this.entryWords[2 * row] as number, this.entryWords[2 * row + 1] as number);
    const entry = entryOf(this.mmu, start, fault, found);
    const broken = { start, end, state: faultState(fault), level, entry, fault };
    return cause === undefined ? broken : { ...broken, cause };
  }
}

/** The address of a page number; that after the last page is 2^64. */
export function addressOf(vpn: number, pageShift: number): bigint {
  const high = 2 ** (32 - pageShift);
  const hi = Math.floor(vpn / high);
  return hi >= HIGH ? 1n << 64n : joinAddress((vpn - hi * high) * 2 ** pageShift, hi);
}
