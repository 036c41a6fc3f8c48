/** Linux's entries that are not present on x86; see `absent-entries.ts`. */
import type { AbsentPage } from "../../paging/formats/absent-entries.js";
import { KERNEL_EXECUTABLE, READABLE, USER, USER_EXECUTABLE, WRITABLE } from "../../paging/formats/rights.js";
import { invertedLayout, layout32, PLAIN_PAE, plainLayout64, type SwapLayout } from "../swap/swap-entries.js";
import type { SwapTypes } from "../swap/swap-types.js";
import {
  type EntryFormat,
  INVALIDATED,
  KEPT_FREE,
  LinuxEntries,
  maskFrom,
  NEITHER,
  PROT_NONE,
  UNMAPPED,
} from "./entries-base.js";
import { releaseOf } from "./release.js";

const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PSE = 1 << 7;
const PROT_NONE_X86 = 1 << 8;

/** x86 with entries of 8 bytes. */
export class X86Entries extends LinuxEntries {
  readonly #inverted: SwapLayout;
  readonly #plain: SwapLayout;
  readonly #pae: boolean;
  /** Since 4.19 all swap entries are complemented; of older ones, each tells. */
  readonly #always: boolean;
  /** Bits of which one set in an entry of the last level makes it none of a swap area. */
  readonly #notSwap: number;
  readonly #addressLo: Int32Array;
  readonly #addressHi: Int32Array;

  constructor(paging: EntryFormat, types: SwapTypes, release: number, physicalBits: number) {
    const pae = paging.splits.length === 4;
    super(paging, types, release, physicalBits, pae ? 2 : 3);
    this.#pae = pae;
    this.#inverted = invertedLayout(release, this.#pae);
    this.#plain = this.#pae ? PLAIN_PAE : plainLayout64(release);
    this.#always = Number.isFinite(release) && release >= releaseOf(4, 19);
    const early = !pae && release < releaseOf(4, 8);
    // While bit 5 was one of the type's, bit 6 was free (since 4.0: before, it was `_PAGE_FILE`).
    if (early) this.#notSwap = release < releaseOf(4, 0) ? 0 : DIRTY;
    else this.#notSwap = ACCESSED | (!pae && release >= releaseOf(4, 14) ? PSE : 0);
    this.#addressLo = Int32Array.from(this.shifts, (shift) => maskFrom(Math.max(12, shift), 0));
    let high = 0xf_ffff;
    for (const bit of paging.notAddress ?? []) if (bit >= 32) high &= ~(1 << (bit - 32));
    this.#addressHi = Int32Array.from(this.shifts, (shift) => maskFrom(shift, 32) & high);
  }

  protected present(level: number, lo: number, hi: number, page: AbsentPage): number {
    const kind = presentX86(level, lo, this.#notSwap);
    if (kind === NEITHER) return NEITHER;
    const flip = isComplement(hi) ? -1 : 0;
    page.lo = (lo ^ flip) & (this.#addressLo[level] as number);
    page.hi = (hi ^ flip) & (this.#addressHi[level] as number);
    page.rights =
      kind === INVALIDATED ? rightsX86(lo) | (hi < 0 ? 0 : USER_EXECUTABLE | KERNEL_EXECUTABLE) : 0;
    if (kind !== PROT_NONE) return kind;
    if (this.#always && flip === 0) return UNMAPPED;
    return (page.lo | page.hi) === 0 ? KEPT_FREE : PROT_NONE;
  }

  protected override noteOf(present: number, lo: number, hi: number): string {
    const note = super.noteOf(present, lo, hi);
    return present === PROT_NONE && isComplement(hi)
      ? `${note}, the entry holds the complement of its address`
      : note;
  }

  protected layoutOf(_level: number, lo: number, hi: number): SwapLayout | undefined {
    if ((lo & (PROT_NONE_X86 | 1 | this.#notSwap)) !== 0) return undefined;
    if (this.#always) return this.#inverted;
    // No area has 2^49 pages, so the highest bits of its complement are set. PAE's old layout leaves the low word 0.
    const inverted = this.#pae ? lo >>> 9 !== 0 : (hi & (1 << 26)) !== 0;
    return inverted ? this.#inverted : this.#plain;
  }
}

/** Whether an entry holds the complement of an address: no address has bit 50. */
function isComplement(hi: number): boolean {
  return (hi & (1 << 18)) !== 0;
}

/** What an entry is that names a page in RAM. @param notSwap See `X86Entries`. */
function presentX86(level: number, lo: number, notSwap: number): number {
  if (level === 1) {
    if ((lo & PROT_NONE_X86) !== 0) return PROT_NONE;
    return (lo & notSwap) !== 0 ? UNMAPPED : NEITHER;
  }
  if ((lo & PSE) === 0) return NEITHER;
  if ((lo & PROT_NONE_X86) !== 0) return PROT_NONE;
  // Only the kernel's own pages are not for users (and those that PROT_NONE hides, while their entry is being changed).
  return (lo & 4) !== 0 ? INVALIDATED : UNMAPPED;
}

/** Rights by bits 1 and 2. */
function rightsX86(lo: number): number {
  return READABLE | ((lo & 2) !== 0 ? WRITABLE : 0) | ((lo & 4) !== 0 ? USER : 0);
}

/** x86 with entries of 4 bytes. */
export class X86WordEntries extends LinuxEntries {
  readonly #layout: SwapLayout;
  /** Before 4.0, bit 6 is that of a page of a file that is mapped in another order (`_PAGE_FILE`): nothing is in RAM. */
  readonly #notSwap: number;

  constructor(paging: EntryFormat, types: SwapTypes, release: number, physicalBits: number) {
    super(paging, types, release, physicalBits, 2);
    this.#layout = layout32(release);
    this.#notSwap = release < releaseOf(4, 0) ? 0 : DIRTY;
  }

  protected present(level: number, lo: number, _hi: number, page: AbsentPage): number {
    const kind = presentX86(level, lo, this.#notSwap);
    if (kind === NEITHER) return NEITHER;
    page.lo = lo & maskFrom(this.shifts[level] as number, 0);
    page.hi = 0;
    page.rights = kind === INVALIDATED ? rightsX86(lo) | USER_EXECUTABLE | KERNEL_EXECUTABLE : 0;
    return kind === PROT_NONE && page.lo === 0 ? KEPT_FREE : kind;
  }

  protected layoutOf(_level: number, lo: number, _hi: number): SwapLayout | undefined {
    return (lo & (PROT_NONE_X86 | 1 | DIRTY)) !== 0 ? undefined : this.#layout;
  }
}
