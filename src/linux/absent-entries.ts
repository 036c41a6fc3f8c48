/**
 * Linux's use of page-table entries that are not present: pages that are in RAM though nobody may touch them, pages in swap
 * areas, pages that are just being moved, and notes about pages that are not there.
 *
 * In RAM, and the entry has the page's address where a present one has it:
 * - x86: bit 8 (`_PAGE_PROTNONE`) is a page with every right taken away, by PROT_NONE or to see who uses it (NUMA balancing:
 *   the entries look alike). Bit 7 (`_PAGE_PSE`) without it, above the last level, is a large page whose entry is being
 *   changed (`pmd_mkinvalid`; `pmd_present` in arch/x86/include/asm/pgtable.h). With 8-byte entries the address is stored as
 *   its complement since 4.18.1 and 4.19 (pgtable-invert.h, 6b28baca9b1f), by which an entry shows that it is so: no physical
 *   address has bit 50. So kernels that took that over from a later release are read right, whatever their release.
 * - AArch64 since 6.10 (arch/arm64/include/asm/pgtable-prot.h, f0f5863a0fb0, 55564814a838): bit 11 (`PTE_PRESENT_INVALID`); it
 *   is a PROT_NONE page if user mode can neither read nor execute it (`pte_protnone`). Before: bit 58 (`PTE_PROT_NONE`,
 *   3676f9ef5481) a PROT_NONE page, bit 59 (`PMD_PRESENT_INVALID`, 5.10, b65399f6111b) a large page that is being changed.
 *
 * Not there, though the entry names a page: the kernel takes pages out of its own map by clearing the present bit (freed parts of
 * its image, KFENCE's guard pages, secret memory, debugging of freed pages: arch/x86/mm/pat/set_memory.c,
 * arch/x86/include/asm/kfence.h, arch/arm64/mm/pageattr.c). Such an entry has what no swap entry has: on x86 the accessed bit (5),
 * which `__swp_entry_to_pte` leaves alone because of an erratum, or, as the complement of all that it was, bit 7; or bit 8 and an
 * address that is not complemented though the release does it; before 4.8 and with two levels the dirty bit (6); on AArch64 bit 1. (There, since
 * 6.10, those of a kernel with page-table isolation look like PROT_NONE pages.) On x86, an entry with bit 8 and address 0 is a
 * place that is kept free (`cea_map_percpu_pages`): frame 0 is nobody's.
 *
 * Everything else that is not zero is a swap entry (`swap-entries.ts`): the number of a swap area and a page in it, or of a
 * special kind (`swap-types.ts`) and a frame or a note. Of frames, since 6.1, only as many bits count as physical addresses
 * have (`SWP_PFN_MASK`, 0d206b5d2e0d); of migrations the two above say whether the page was accessed and written to
 * (2e3468778dbe; include/linux/swapops.h). Markers: PTE_MARKER_UFFD_WP (5.19), _SWAPIN_ERROR (6.2, 15520a3f0469, named
 * _POISONED since 6.6, af19487f00f3), _GUARD (6.13, 7c53dfbdb024).
 *
 * A page that is moved is still complete in the frame that its entry names, until the migration ends. What can't be known
 * from an entry: while a large page of hugetlbfs that is made of many entries (AArch64's contiguous ones) is moved, each of
 * them names the first frame, and all but the first are read wrongly.
 */
import {
  ABSENT,
  type AbsentEntries,
  type AbsentEntry,
  type AbsentPage,
  ELSEWHERE,
  IN_RAM,
} from "../paging/absent-entries.js";
import type { MmuDef } from "../paging/mmu-def.js";
import { KERNEL_EXECUTABLE, READABLE, USER, USER_EXECUTABLE, WRITABLE } from "../paging/rights.js";
import { parseRelease, releaseOf } from "./release.js";
import {
  invertedLayout,
  layout32,
  layoutAarch64,
  PLAIN_PAE,
  plainLayout64,
  type SwapLayout,
  SwapWords,
  splitSwap,
} from "./swap-entries.js";
import { type SwapTypeKind, type SwapTypes, swapTypesOf } from "./swap-types.js";

/** What counts of a format here. */
export type EntryFormat = Pick<MmuDef, "splits" | "entryBytes" | "address" | "notAddress">;

/** What {@link linuxEntries} needs to know of a kernel. */
export interface LinuxEntriesOptions {
  /** As dumps name it: `x86_64`, `i386`, `aarch64`. */
  readonly architecture: string;
  /** The format that its tables have. */
  readonly paging: EntryFormat;
  /** Such as "6.1.0-56-cloud-amd64"; layouts of the newest release if it is "" or has another form. */
  readonly release: string;
  /** What the numbers of swap areas stand for; by default what `swapTypesOf` says of the release and `maxSwapFiles`. */
  readonly swapTypes?: SwapTypes | undefined;
  /** `MAX_SWAPFILES`, where somebody knows. */
  readonly maxSwapFiles?: number | undefined;
  /** `MAX_PHYSMEM_BITS` (VMCOREINFO names it); default: the architecture's. */
  readonly physicalBits?: number | undefined;
}

/**
 * The interpreter of a kernel's entries that are not present; for `withAbsentEntries`. `undefined` for an architecture whose
 * entries it doesn't know.
 *
 * @throws {RangeError} if `maxSwapFiles` is none of 1 to 32.
 */
export function linuxEntries(options: LinuxEntriesOptions): AbsentEntries | undefined {
  const { architecture, paging, release: text, maxSwapFiles } = options;
  const types = options.swapTypes ?? swapTypesOf({ release: text, architecture, maxSwapFiles });
  const release = parseRelease(text) ?? Number.POSITIVE_INFINITY;
  if (architecture === "x86_64" || architecture === "i386") {
    const bits = options.physicalBits ?? x86PhysicalBits(paging);
    return paging.entryBytes === 4
      ? new X86WordEntries(paging, types, release, bits)
      : new X86Entries(paging, types, release, bits);
  }
  if (architecture === "aarch64") {
    return new Aarch64Entries(paging, types, release, options.physicalBits ?? paging.address[1] + 1);
  }
  return undefined;
}

/** `MAX_PHYSMEM_BITS`, arch/x86/include/asm/sparsemem.h. */
function x86PhysicalBits({ entryBytes, splits }: EntryFormat): number {
  if (entryBytes === 4) return 32;
  const levels = splits.length - 1;
  return levels === 3 ? 36 : levels === 4 ? 46 : 52;
}

/** What an entry is that names a page in RAM. */
const NEITHER = 0;
/** Hidden from the program, and from the processor. */
const PROT_NONE = 1;
/** A large page whose entry is being changed, with its rights. */
const INVALIDATED = 2;
/** A page that the kernel took out of its own map. */
const UNMAPPED = 3;
/** A place that is kept free. */
const KEPT_FREE = 4;

const NOTES: readonly string[] = [
  "",
  "PROT_NONE",
  "a large page that is being changed, with its rights",
  "taken out of the kernel's own map",
  "kept free",
];

/** Kinds of swap types as numbers, for the walker. */
const SWAPPED_OUT = 0;
const FRAME = 1;
const FRAME_WRITABLE = 2;
const ON_DEVICE = 3;
const NOTHING = 4;

const CLASS: Readonly<Record<SwapTypeKind, number>> = {
  swap: SWAPPED_OUT,
  hwpoison: NOTHING,
  "migration-read": FRAME,
  "migration-read-exclusive": FRAME,
  "migration-write": FRAME_WRITABLE,
  "device-private-write": ON_DEVICE,
  "device-private-read": ON_DEVICE,
  // The page stays where it is, and the processor faults so that the device has it to itself.
  "device-exclusive-write": FRAME_WRITABLE,
  "device-exclusive-read": FRAME,
  "device-exclusive": FRAME_WRITABLE,
  marker: NOTHING,
  "swapin-error": NOTHING,
};

const MARKERS: readonly string[] = ["write-protected by userfaultfd", "poisoned", "guard"];

const swap = new SwapWords();
const found = { lo: 0, hi: 0, rights: 0 };
const wide = new BigInt64Array(1);
const words = new Int32Array(wide.buffer);

/** What all architectures share. */
abstract class LinuxEntries implements AbsentEntries {
  readonly name = "linux";
  protected readonly release: number;
  /** log2 of the bytes that an entry covers, by level. */
  protected readonly shifts: readonly number[];
  readonly #classes: Uint8Array;
  readonly #kinds: readonly SwapTypeKind[];
  readonly #pageShift: number;
  /** Entries of higher levels map nothing on Linux, and so are never anything but present or zero. */
  readonly #maxLevel: number;
  /** Bits of a frame's number in a special entry, since 6.1 (`SWP_PFN_BITS`); of a migration, two more lie above. */
  readonly #frameBits: number;

  constructor(
    paging: EntryFormat,
    types: SwapTypes,
    release: number,
    physicalBits: number,
    maxLevel: number,
  ) {
    this.release = release;
    this.#maxLevel = maxLevel;
    this.#kinds = types.kinds;
    // Six bits of type are more than the kernel uses: no number from 32 on is of any kind.
    this.#classes = Uint8Array.from({ length: 64 }, (_, i) => CLASS[types.kinds[i] ?? "marker"]);
    const { splits } = paging;
    const levels = splits.length - 1;
    const shifts = [0];
    let shift = 0;
    for (let level = 1; level <= levels; level++) {
      shift += splits[levels - level + 1] as number;
      shifts.push(shift);
    }
    this.shifts = shifts;
    this.#pageShift = shifts[1] as number;
    this.#frameBits = release < releaseOf(6, 1) ? 52 - this.#pageShift : physicalBits - this.#pageShift;
  }

  /** Whether an entry names a page in RAM by the bits of a present one; puts its address and rights into `page`. */
  protected abstract present(level: number, lo: number, hi: number, page: AbsentPage): number;
  /** The layout of a swap entry; undefined if it can't be one. */
  protected abstract layoutOf(level: number, lo: number, hi: number): SwapLayout | undefined;

  read(level: number, lo: number, hi: number, page: AbsentPage): number {
    if (level > this.#maxLevel) return ABSENT;
    const present = this.present(level, lo, hi, page);
    if (present !== NEITHER) return present === PROT_NONE || present === INVALIDATED ? IN_RAM : ABSENT;
    const layout = this.layoutOf(level, lo, hi);
    if (layout === undefined) return ABSENT;
    splitSwap(swap, layout, lo, hi);
    const kind = this.#classes[swap.type] as number;
    if (kind === SWAPPED_OUT || kind === ON_DEVICE) return ELSEWHERE;
    if (kind === NOTHING || !this.#takeFrame(level, page)) return ABSENT;
    page.rights = READABLE | USER | (kind === FRAME_WRITABLE ? WRITABLE : 0);
    return IN_RAM;
  }

  /** Puts the address of the frame that `swap` names into `page`; false for one that no memory has at this level. */
  #takeFrame(level: number, page: AbsentPage): boolean {
    const bits = this.#frameBits;
    const shift = this.#pageShift;
    // Before 6.1 the whole offset is the frame's number.
    const masked = this.release >= releaseOf(6, 1);
    const lo = masked && bits < 32 ? swap.lo & (2 ** bits - 1) : swap.lo;
    const hi = masked ? (bits < 32 ? 0 : swap.hi & (2 ** (bits - 32) - 1)) : swap.hi;
    // Beyond 52 bits of address.
    if (hi >>> (20 - shift) !== 0) return false;
    page.lo = lo << shift;
    page.hi = (hi << shift) | (lo >>> (32 - shift));
    const size = this.shifts[level] as number;
    if (size < 32) return (page.lo & (2 ** size - 1)) === 0;
    return page.lo === 0 && (page.hi & (2 ** (size - 32) - 1)) === 0;
  }

  describe(level: number, entry: bigint): AbsentEntry {
    wide[0] = entry;
    const lo = words[0] as number;
    const hi = words[1] as number;
    if (entry === 0n || level > this.#maxLevel) return { kind: "absent" };
    const present = this.present(level, lo, hi, found);
    if (present !== NEITHER) {
      const note = this.noteOf(present, lo, hi);
      if (present === KEPT_FREE) return { kind: "absent", note };
      const physical = addressOf(found);
      return { kind: present === UNMAPPED ? "absent" : "prot-none", physical, note };
    }
    const layout = this.layoutOf(level, lo, hi);
    if (layout === undefined) return { kind: "absent" };
    splitSwap(swap, layout, lo, hi);
    const { type, offset } = swap;
    const kind = this.#kinds[type];
    if (kind === undefined) return { kind: "absent", note: `no swap area has the number ${type}` };
    const notes = layout.flags.filter(({ bit }) => ((lo >>> bit) & 1) !== 0).map(({ name }) => name);
    if (kind === "swap") return { kind, type, offset, ...noted(notes) };
    if (kind === "marker") {
      const known = MARKERS.filter((_, bit) => Math.floor(offset / 2 ** bit) % 2 === 1);
      return { kind, type, offset, ...noted(known.length === 0 ? ["of no kind that is known"] : known) };
    }
    if (kind === "swapin-error") return { kind: "marker", type, offset, note: "could not be read from swap" };
    const [main, ...rest] = kind.split("-") as [AbsentEntry["kind"], ...string[]];
    notes.unshift(rest.join(" "));
    if (main === "migration" && this.release >= releaseOf(6, 1)) {
      const above = Math.floor(offset / 2 ** this.#frameBits);
      if (above % 2 === 1) notes.push("accessed");
      if (Math.floor(above / 2) % 2 === 1) notes.push("dirty");
    }
    const inRam = this.#takeFrame(level, found as AbsentPage);
    // The frames of a device's memory are no addresses that anything could be read at, but they are numbered alike.
    const physical = inRam ? { physical: addressOf(found) } : {};
    if (!inRam && main !== "device") notes.push("names no frame that could be");
    return { kind: main, type, offset, ...physical, ...noted(notes) };
  }

  /** What to say of a page in RAM. */
  protected noteOf(present: number, _lo: number, _hi: number): string {
    return NOTES[present] as string;
  }
}

function noted(notes: readonly string[]): { note?: string } {
  const text = notes.filter((note) => note !== "").join(", ");
  return text === "" ? {} : { note: text };
}

function addressOf({ lo, hi }: { lo: number; hi: number }): number {
  return (hi >>> 0) * 2 ** 32 + (lo >>> 0);
}

/** Bits `from` to 31 of a word that holds bits `base` on of an address. */
function maskFrom(from: number, base: number): number {
  return from <= base ? -1 : from >= base + 32 ? 0 : -1 << (from - base);
}

const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PSE = 1 << 7;
const PROT_NONE_X86 = 1 << 8;

/** x86 with entries of 8 bytes. */
class X86Entries extends LinuxEntries {
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
class X86WordEntries extends LinuxEntries {
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

/** AArch64. */
class Aarch64Entries extends LinuxEntries {
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
