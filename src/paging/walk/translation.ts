/** What a translation gives: one as an object, many as columns. */
import { joinAddress } from "../../io/address.js";
import {
  type Fault,
  type FaultState,
  faultDetail,
  faultState,
  levelOf,
  MemtoolError,
} from "../../io/index.js";
import { type CompiledMmu, restoreEntry } from "../formats/mmu.js";
import { type Rights, rightsFields } from "../formats/rights.js";
import { isPointed } from "../tables/root.js";

/** A virtual address that is mapped. */
export interface MappedAddress extends Rights {
  readonly virtual: bigint;
  /** Physical address of the byte (not of its page). */
  readonly physical: number;
  /** Bytes of the page: 4096, 2 MiB, … */
  readonly pageSize: number;
  readonly state?: undefined;
}

/** A virtual address that is not, and why. */
export interface UnmappedAddress {
  readonly virtual: bigint;
  readonly state: FaultState;
  /** Level of the entry that says so, or of the table that is missing; 0 for `non-canonical`. */
  readonly level: number;
  /**
   * That entry, or the one that points to the missing table; 0 where there is none (the root, `non-canonical`) or it
   * is itself in the unreadable part of a table.
   */
  readonly entry: bigint;
  readonly fault: Fault;
  /** For `table-missing`: the state of the read of the table. */
  readonly cause?: FaultState;
}

/** The outcome for one address; `state` tells which. */
export type Translation = MappedAddress | UnmappedAddress;

/**
 * The entry that a fault is about, as it was stored. (What points to a missing root is none, where the walker has one.)
 *
 * @param virtual Of what failed.
 * @param found   In the walker's form.
 */
export function entryOf(mmu: CompiledMmu, virtual: bigint, fault: Fault, found: bigint): bigint {
  const isOfRoot = (faultDetail(fault) & 7) === mmu.levels - 1 && faultState(fault) === "table-missing";
  return isOfRoot && isPointed(mmu.def, virtual) ? 0n : restoreEntry(mmu, found);
}

/** An {@link UnmappedAddress} of its fault. @param found The entry in the walker's form. */
export function unmapped(mmu: CompiledMmu, virtual: bigint, fault: Fault, found: bigint): UnmappedAddress {
  const entry = entryOf(mmu, virtual, fault, found);
  const { level, cause } = levelOf(fault);
  const failed = { virtual, state: faultState(fault), level, entry, fault };
  return cause === undefined ? failed : { ...failed, cause };
}

/**
 * Many translations, structure of arrays. Row i belongs to address i; columns are at least `length` long.
 * Reusable: pass it as `into` of the next call.
 */
export class TranslationColumns {
  /** The format of the levels. @internal */
  readonly mmu: CompiledMmu;
  /** The addresses that were asked for. */
  addresses = new BigUint64Array(0);
  length = 0;
  /** Physical address of each byte; -1 where it has none. */
  physical = new Float64Array(0);
  /** 0, or why there is none. */
  faults = new Int32Array(0);
  /** Level of the leaf (1: the smallest page), or of the entry or table that failed; 0 if not canonical. */
  levels = new Uint8Array(0);
  /** Bits as of `Rights.rights`; 0 where it failed. */
  rights = new Uint8Array(0);
  /** Number of rows that failed. */
  failed = 0;
  /** Entries of failed rows as `[lo, hi]`; empty while no row failed. */
  #entryWords = new Uint32Array(0);

  /** @internal */
  constructor(mmu: CompiledMmu) {
    this.mmu = mmu;
  }

  /** Makes room for the rows of `addresses`, all untranslated. @internal */
  reset(addresses: BigUint64Array<ArrayBuffer>): void {
    const rows = addresses.length;
    const before = this.length;
    const dirty = this.failed !== 0;
    this.addresses = addresses;
    this.length = rows;
    this.failed = 0;
    if (this.physical.length < rows) {
      this.physical = new Float64Array(rows);
      this.faults = new Int32Array(rows);
      this.levels = new Uint8Array(rows);
      this.rights = new Uint8Array(rows);
    } else if (dirty) {
      // Only then is there anything to forget: a million rows cost less than their translation.
      this.faults.fill(0, 0, before);
    }
    if (dirty) this.#entryWords.fill(0, 0, 2 * before);
  }

  /** Notes a failed row. @internal */
  fail(row: number, fault: Fault, entryLo: number, entryHi: number): void {
    if (this.#entryWords.length < 2 * this.length)
      this.#entryWords = new Uint32Array(2 * this.physical.length);
    this.physical[row] = -1;
    this.faults[row] = fault;
    // The level of `levelOf`, without an object.
    this.levels[row] = faultDetail(fault) & 7;
    this.rights[row] = 0;
    this.#entryWords[2 * row] = entryLo;
    this.#entryWords[2 * row + 1] = entryHi;
    this.failed++;
  }

  /** Bytes of a row's page; 0 where it failed. */
  pageSize(row: number): number {
    return this.faults[row] === 0 ? (this.mmu.size[this.levels[row] as number] as number) : 0;
  }

  /** A failed row's page-table entry (see {@link UnmappedAddress}), else 0. */
  entry(row: number): bigint {
    const virtual = this.addresses[row] ?? 0n;
    return entryOf(this.mmu, virtual, this.faults[row] as number, this.#entry(row));
  }

  #entry(row: number): bigint {
    const lo = this.#entryWords[2 * row];
    return lo === undefined ? 0n : joinAddress(lo, this.#entryWords[2 * row + 1] as number);
  }

  /** One row as an object. @throws {RangeError} if there is no such row. */
  row(row: number): Translation {
    const virtual = row < this.length ? this.addresses[row] : undefined;
    if (virtual === undefined) throw new RangeError(`row ${row}: there are ${this.length}`);
    const fault = this.faults[row] as number;
    if (fault !== 0) return unmapped(this.mmu, virtual, fault, this.#entry(row));
    return {
      virtual,
      physical: this.physical[row] as number,
      pageSize: this.pageSize(row),
      ...rightsFields(this.rights[row] as number),
    };
  }
}

/** @throws {MemtoolError} `WRONG_COLUMNS` for columns that were made by an address space of another format. */
export function checkColumns(columns: { readonly mmu: CompiledMmu }, mmu: CompiledMmu): void {
  if (columns.mmu === mmu) return;
  throw new MemtoolError("WRONG_COLUMNS", `columns of ${columns.mmu.name} can't take results of ${mmu.name}`);
}
