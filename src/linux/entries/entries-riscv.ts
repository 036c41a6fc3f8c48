/** Linux's entries that are not present on RISC-V; see `absent-entries.ts`. */
import type { AbsentPage } from "../../paging/formats/absent-entries.js";
import { KERNEL_EXECUTABLE, READABLE, USER, USER_EXECUTABLE, WRITABLE } from "../../paging/formats/rights.js";
import { layoutRiscv, type SwapLayout } from "../swap/swap-entries.js";
import type { SwapTypes } from "../swap/swap-types.js";
import { type EntryFormat, INVALIDATED, LinuxEntries, NEITHER, PROT_NONE } from "./entries-base.js";

/** `_PAGE_READ`, `_PAGE_WRITE`, `_PAGE_EXEC`: any of them makes an entry map memory. */
const LEAF = 0b1110;
const HIDDEN = 1 << 5;

/** RISC-V with 64 bits. */
export class RiscvEntries extends LinuxEntries {
  readonly #layout: SwapLayout;

  constructor(paging: EntryFormat, types: SwapTypes, release: number, physicalBits: number) {
    super(paging, types, release, physicalBits, 3);
    this.#layout = layoutRiscv(release);
  }

  protected present(level: number, lo: number, hi: number, page: AbsentPage): number {
    const kind = (lo & HIDDEN) !== 0 ? PROT_NONE : level > 1 && (lo & LEAF) !== 0 ? INVALIDATED : NEITHER;
    // A page of many entries (N of Svnapot, bit 63): which part of it this one is can't be told without its address.
    if (kind === NEITHER || hi < 0) return NEITHER;
    // The page's number is in bits 10 to 53.
    const low = (lo >>> 10) | (hi << 22);
    const high = (hi & 0x3f_ffff) >>> 10;
    const size = this.shifts[level] as number;
    // Beyond 52 bits of address, or not aligned to the page's size.
    if (high >>> 8 !== 0 || (low & (2 ** (size - 12) - 1)) !== 0) return NEITHER;
    page.lo = low << 12;
    page.hi = (high << 12) | (low >>> 20);
    page.rights = kind === INVALIDATED ? rightsOf(lo) : 0;
    return kind;
  }

  protected layoutOf(_level: number, lo: number, _hi: number): SwapLayout | undefined {
    return (lo & (HIDDEN | LEAF | 1)) !== 0 ? undefined : this.#layout;
  }
}

/** Rights by bits 1 to 4. */
function rightsOf(lo: number): number {
  return (
    ((lo & 2) !== 0 ? READABLE : 0) |
    ((lo & 4) !== 0 ? WRITABLE : 0) |
    ((lo & 8) !== 0 ? USER_EXECUTABLE | KERNEL_EXECUTABLE : 0) |
    ((lo & 16) !== 0 ? USER : 0)
  );
}
