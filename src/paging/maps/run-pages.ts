/**
 * Runs in pages of 4 KiB, whatever the format's smallest page is: exact in a double, and comparable between formats. And
 * what their rights say to people.
 */
import { faultState } from "../../io/index.js";
import type { CompiledMmu } from "../formats/mmu.js";
import { GLOBAL, type Rights, rightsFields } from "../formats/rights.js";
import { addressOf, type RunColumns } from "./run-columns.js";

/** Bytes of a page here. */
export const PAGE_BYTES = 4096;

/** What code may do with a page: its rights, without how long the TLB keeps them. */
export type Access = Omit<Rights, "global">;

/** The bits of a `rights` value that {@link Access} is made of. */
export function accessBits(rights: number): number {
  return rights & ~GLOBAL;
}

/** The names of those bits. */
export function accessFields(rights: number): Access {
  const { global: _, ...access } = rightsFields(accessBits(rights));
  return access;
}

/** What a row is: mapped, known to be elsewhere, or not known. */
export const MAPPED = 0;
export const SWAPPED_OUT = 1;
export const UNKNOWN = 2;

/** See {@link MAPPED}. */
export function kindOfRow(runs: RunColumns, row: number): number {
  const fault = runs.faults[row] as number;
  if (fault === 0) return MAPPED;
  return faultState(fault) === "swapped" ? SWAPPED_OUT : UNKNOWN;
}

/** Number of the page that a row begins at. */
export function firstPage(runs: RunColumns, row: number): number {
  const lo = (runs.startWords[2 * row] as number) >>> 12;
  return ((runs.startWords[2 * row + 1] as number) >>> 0) * 2 ** 20 + lo;
}

/** Pages of a row. */
export function pageCount(runs: RunColumns, row: number): number {
  return (runs.lengths[row] as number) / PAGE_BYTES;
}

/** Virtual address of a page; that behind the last one is 2^64. */
export function pageAddress(page: number): bigint {
  return addressOf(page, 12);
}

/** The page sizes of a set of levels (bit n: level n), ascending. */
export function sizesOf(mmu: CompiledMmu, levels: number): readonly number[] {
  const sizes: number[] = [];
  for (let level = 1; level <= mmu.levels; level++) {
    if ((levels & (1 << level)) !== 0) sizes.push(mmu.size[level] as number);
  }
  return sizes;
}
