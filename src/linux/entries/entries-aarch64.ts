/** Linux's entries that are not present on AArch64; see `absent-entries.ts`. */
import type { AbsentPage } from "../../paging/formats/absent-entries.js";
import { KERNEL_EXECUTABLE, READABLE, USER, USER_EXECUTABLE, WRITABLE } from "../../paging/formats/rights.js";
import { layoutAarch64, type SwapLayout } from "../swap/swap-entries.js";
import type { SwapTypes } from "../swap/swap-types.js";
import {
  type EntryFormat,
  INVALIDATED,
  LinuxEntries,
  maskFrom,
  NEITHER,
  PROT_NONE,
  UNMAPPED,
} from "./entries-base.js";
import { releaseOf } from "./release.js";

/** AArch64. */
export class Aarch64Entries extends LinuxEntries {
  readonly #layout: SwapLayout;
  readonly #granule: number;
  readonly #physical52: boolean;
  readonly #overlaid: boolean;

  constructor(paging: EntryFormat, types: SwapTypes, release: number, physicalBits: number) {
    // Blocks two levels up exist with pages of 4 KiB only (`PUD_SIZE`; pud_sect_supported).
    super(paging, types, release, physicalBits, paging.splits.at(-1) === 12 ? 3 : 2);
    this.#layout = layoutAarch64(release);
    this.#granule = this.shifts[1] as number;
    this.#physical52 = paging.address[1] === 51;
    this.#overlaid = release >= releaseOf(6, 10);
  }

  protected present(level: number, lo: number, hi: number, page: AbsentPage): number {
    const kind = this.#kindOf(level, lo, hi);
    if (kind === NEITHER) return NEITHER;
    const shift = this.shifts[level] as number;
    let high = hi & 0xffff;
    if (this.#physical52 && this.#granule === 16) high |= (lo & 0xf000) << 4;
    else if (this.#physical52) high |= (hi & 0x3_0000) | ((lo & 0x300) << 10);
    page.lo = lo & maskFrom(Math.max(this.#granule, shift), 0);
    page.hi = high & maskFrom(shift, 32);
    // AP[2] (read-only), unless the hardware is to clear it at the first write (DBM); AP[1] (user); UXN; PXN.
    page.rights =
      kind !== INVALIDATED
        ? 0
        : READABLE |
          ((lo & (1 << 7)) === 0 || (hi & (1 << 19)) !== 0 ? WRITABLE : 0) |
          ((lo & (1 << 6)) !== 0 ? USER : 0) |
          ((hi & (1 << 22)) === 0 ? USER_EXECUTABLE : 0) |
          ((hi & (1 << 21)) === 0 ? KERNEL_EXECUTABLE : 0);
    return kind;
  }

  #kindOf(level: number, lo: number, hi: number): number {
    // Above the last level, bit 1 would be that of a table.
    if ((lo & 1) !== 0 || (level > 1 && (lo & 2) !== 0)) return NEITHER;
    if (this.#overlaid ? (lo & (1 << 11)) !== 0 : (hi & (1 << 26)) !== 0) {
      const hidden = !this.#overlaid || ((lo & (1 << 6)) === 0 && (hi & (1 << 22)) !== 0);
      return hidden ? PROT_NONE : INVALIDATED;
    }
    if (level === 1) return (lo & 2) !== 0 ? UNMAPPED : NEITHER;
    return !this.#overlaid && (hi & (1 << 27)) !== 0 ? INVALIDATED : NEITHER;
  }

  protected layoutOf(_level: number, lo: number, hi: number): SwapLayout | undefined {
    const marks = this.#overlaid ? (lo & (1 << 11)) | (hi & ~0x3fff_ffff) : hi & ~0x03ff_ffff;
    return (lo & 3) !== 0 || marks !== 0 ? undefined : this.#layout;
  }
}
