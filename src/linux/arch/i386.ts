/**
 * Where a 32-bit x86 kernel is, by its VMCOREINFO.
 *
 * The image lies in lowmem, which is mapped from PAGE_OFFSET on: `pa = va - PAGE_OFFSET` (arch/x86/include/asm/page_32.h,
 * `__phys_addr_nodebug`). PAGE_OFFSET is a choice of the configuration that VMCOREINFO does not tell (arch/x86/Kconfig,
 * `VMSPLIT_…`). KASLR moves both addresses alike. `CONFIG_X86_PAE=y`: arch/x86/kernel/vmcore_info_32.c. With PAE, the first
 * four entries of the page `swapper_pg_dir` are the root.
 */
import { X86_32, X86_PAE } from "../../paging/formats/x86.js";
import { isNearImage, type KernelArch } from "./kernel-arch.js";

/** `PAGE_OFFSET` by VMSPLIT: 3G, 3G_OPT, 2G, 2G_OPT, 1G. */
const PAGE_OFFSETS = [0xc000_0000n, 0xb000_0000n, 0x8000_0000n, 0x7800_0000n, 0x4000_0000n];
const FOUR_GIB = 1n << 32n;

/** x86 with two levels, and with PAE. */
export const ARCH_I386: KernelArch = {
  architecture: "i386",
  isTextOf(info) {
    const root = info.symbols.get("swapper_pg_dir");
    return root !== undefined && root < FOUR_GIB;
  },
  mmuOf: (info) => (info.unknown.includes("CONFIG_X86_PAE=y") ? X86_PAE : X86_32),
  isInImage: (address, info) => address < FOUR_GIB && isNearImage(address, info),
  imageArea: () => ({ start: PAGE_OFFSETS.at(-1) ?? 0n, end: FOUR_GIB }),
  imageOffsets(info) {
    const root = info.symbols.get("swapper_pg_dir") ?? 0n;
    return PAGE_OFFSETS.filter((offset) => offset <= root).map((offset) => -offset);
  },
  offsetName: "SYMBOL(swapper_pg_dir)",
  rootNames: ["swapper_pg_dir"],
  kernelRoot: (root) => root,
};
