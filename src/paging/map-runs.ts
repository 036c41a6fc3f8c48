/** Runs of mapped memory, and how pieces that touch become one. */
import { HIGH, joinAddress } from "../io/address.js";
import { type Fault, type FaultState, faultState, levelOf } from "../io/index.js";
import type { CompiledMmu } from "./mmu.js";
import { type Rights, rightsFields } from "./translation.js";

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

/** What can't be told: `table-missing` or `malformed`. (Ranges that are plainly not present have no run.) */
export interface BrokenRun {
  readonly start: bigint;
  /** Exclusive; may be 2^64. */
  readonly end: bigint;
  readonly state: FaultState;
  /** Level of the entry that is malformed, or of the table that is missing. */
  readonly level: number;
  /** The malformed entry, or the one that points to the missing table (0 for the root). */
  readonly entry: bigint;
  readonly fault: Fault;
  /** For `table-missing`: the state of the read of the table. */
  readonly cause?: FaultState;
}

/** A run of `VirtualMemory.maps`; `state` tells which. */
export type MapRun = MappedRun | BrokenRun;

/** Merges ascending pieces, clipped to a range of pages, into runs. */
export class RunMerger {
  /** The run that was ended last. */
  done: MapRun | undefined;
  readonly #mmu: CompiledMmu;
  readonly #from: number;
  readonly #to: number;
  // The run that may still grow; pages 0 if there is none.
  #start = 0;
  #pages = 0;
  #physical = 0;
  #pageLevel = 0;
  #rights = 0;
  #fault: Fault = 0;
  #entryLo = 0;
  #entryHi = 0;

  /** @param from First page number. @param to Last one, exclusive. */
  constructor(mmu: CompiledMmu, from: number, to: number) {
    this.#mmu = mmu;
    this.#from = from;
    this.#to = to;
  }

  /**
   * Adds a piece to the run under way, or begins another: `true` if the one before is then `done`.
   *
   * @param vpn   First page number; pieces ascend.
   * @param level That of the leaf; without meaning for what is broken, as `physical` and `rights`.
   * @param fault 0 for what is mapped, else why it is not.
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
    const start = Math.max(vpn, this.#from);
    const count = Math.min(vpn + pages, this.#to) - start;
    if (count <= 0) return false;
    const { pageShift } = this.#mmu;
    const at = fault === 0 ? physical + (start - vpn) * 2 ** pageShift : 0;
    if (
      this.#pages !== 0 &&
      this.#start + this.#pages === start &&
      this.#fault === fault &&
      (fault === 0
        ? this.#pageLevel === level &&
          this.#rights === rights &&
          this.#physical + this.#pages * 2 ** pageShift === at
        : this.#entryLo === entryLo && this.#entryHi === entryHi)
    ) {
      this.#pages += count;
      return false;
    }
    const emit = this.flush();
    this.#start = start;
    this.#pages = count;
    this.#physical = at;
    this.#pageLevel = level;
    this.#rights = rights;
    this.#fault = fault;
    this.#entryLo = entryLo;
    this.#entryHi = entryHi;
    return emit;
  }

  /** Ends the run under way: `true` if there was one, which is then `done`. */
  flush(): boolean {
    if (this.#pages === 0) return false;
    const mmu = this.#mmu;
    const start = addressOf(this.#start, mmu.pageShift);
    const end = addressOf(this.#start + this.#pages, mmu.pageShift);
    this.#pages = 0;
    if (this.#fault === 0) {
      const pageSize = mmu.size[this.#pageLevel] as number;
      this.done = { start, end, physical: this.#physical, pageSize, ...rightsFields(this.#rights) };
      return true;
    }
    const { level, cause } = levelOf(this.#fault);
    const entry = joinAddress(this.#entryLo, this.#entryHi);
    const broken = { start, end, state: faultState(this.#fault), level, entry, fault: this.#fault };
    this.done = cause === undefined ? broken : { ...broken, cause };
    return true;
  }
}

/** The address of a page number; that after the last page is 2^64. */
function addressOf(vpn: number, pageShift: number): bigint {
  const high = 2 ** (32 - pageShift);
  const hi = Math.floor(vpn / high);
  if (hi >= HIGH) return 1n << 64n;
  return joinAddress((vpn - hi * high) * 2 ** pageShift, hi);
}
