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
 * - RISC-V (arch/riscv/include/asm/pgtable-bits.h, pgtable.h): bit 5 (`_PAGE_PROT_NONE`); above the last level, without it, any of
 *   bits 1 to 3 (`pmd_present`). (The kernel's own pages have bit 5 as global ones: those that it took out of its map look the same.)
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

import { type SwapTypes, swapTypesOf } from "../swap/swap-types.js";
import { Aarch64Entries } from "./entries-aarch64.js";
import type { EntryFormat, LinuxAbsentEntries } from "./entries-base.js";
import { RiscvEntries } from "./entries-riscv.js";
import { X86Entries, X86WordEntries } from "./entries-x86.js";
import { parseRelease } from "./release.js";

/** What {@link linuxEntries} needs to know of a kernel. */
export interface LinuxEntriesOptions {
  /** As dumps name it: `x86_64`, `i386`, `aarch64`, `riscv64`. */
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
export function linuxEntries(options: LinuxEntriesOptions): LinuxAbsentEntries | undefined {
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
  if (architecture === "riscv64") {
    return new RiscvEntries(paging, types, release, options.physicalBits ?? 56);
  }
  return undefined;
}

/** `MAX_PHYSMEM_BITS`, arch/x86/include/asm/sparsemem.h. */
function x86PhysicalBits({ entryBytes, splits }: EntryFormat): number {
  if (entryBytes === 4) return 32;
  const levels = splits.length - 1;
  return levels === 3 ? 36 : levels === 4 ? 46 : 52;
}
