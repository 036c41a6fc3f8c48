/**
 * Where an x86-64 kernel is, by its VMCOREINFO.
 *
 * The image is mapped from `__START_KERNEL_map` on, so the physical address of one of its symbols is
 * `va - 0xffffffff80000000 + phys_base` (arch/x86/include/asm/page_64.h, `__phys_addr_nodebug`;
 * Documentation/arch/x86/x86_64/mm.rst). `pgtable_l5_enabled`, `phys_base`, `sme_mask`:
 * arch/x86/kernel/vmcore_info_64.c (`arch_crash_save_vmcoreinfo`).
 */
import { type MmuDef, withoutAddressBits } from "../../paging/formats/mmu-def.js";
import { X86_64, X86_64_LA57 } from "../../paging/formats/x86.js";
import type { Vmcoreinfo } from "../find/vmcoreinfo.js";
import type { KernelArch } from "./kernel-arch.js";

/** Where the x86-64 kernel's image is mapped, without KASLR's offset: `__START_KERNEL_map`. */
export const KERNEL_MAP = 0xffff_ffff_8000_0000n;

/** x86-64 with four and five levels. */
export const ARCH_X86_64: KernelArch = {
  architecture: "x86_64",
  isTextOf: ({ numbers }) => numbers.has("phys_base") || numbers.has("pgtable_l5_enabled"),
  mmuOf(info) {
    const def = info.numbers.get("pgtable_l5_enabled") === 1n ? X86_64_LA57 : X86_64;
    return encrypted(def, info);
  },
  isInImage: (address) => address >= KERNEL_MAP,
  // KERNEL_IMAGE_SIZE with KASLR (arch/x86/include/asm/page_64_types.h); modules come behind it.
  imageArea: () => ({ start: KERNEL_MAP, end: KERNEL_MAP + (1n << 30n) }),
  imageOffsets({ numbers }) {
    const base = numbers.get("phys_base");
    return base === undefined ? [] : [base - KERNEL_MAP];
  },
  offsetName: "NUMBER(phys_base)",
  // `swapper_pg_dir` is another name of `init_top_pgt` (since 4.13, 65ade2f872b4), once `init_level4_pgt`.
  rootNames: ["swapper_pg_dir", "init_top_pgt", "init_level4_pgt"],
  kernelRoot: (root) => root,
};

const masked = new Map<string, MmuDef>();

/** Without the bit of `sme_mask` (AMD's C-bit): one object for each, as formats are compiled once. */
function encrypted(def: MmuDef, { numbers }: Vmcoreinfo): MmuDef {
  const mask = BigInt.asUintN(64, numbers.get("sme_mask") ?? 0n);
  if (mask === 0n) return def;
  const bits: number[] = [];
  for (let bit = 32; bit < 52; bit++) if (((mask >> BigInt(bit)) & 1n) !== 0n) bits.push(bit);
  const key = `${def.name} ${bits.join()}`;
  let found = masked.get(key);
  if (found === undefined) {
    found = withoutAddressBits(def, bits);
    masked.set(key, found);
  }
  return found;
}
