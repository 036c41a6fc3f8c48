/** The kernel's image in its address space. */
import type { Vmcoreinfo } from "./vmcoreinfo.js";

/** Where the x86-64 kernel's image is mapped, without KASLR's offset: `__START_KERNEL_map`. */
export const KERNEL_MAP = 0xffff_ffff_8000_0000n;

/**
 * VMCOREINFO's symbols that are addresses in the kernel's image. (Some of its values are what a pointer of that name
 * holds, such as `mem_section`'s since Linux 4.15, 83e3c48729d9.)
 */
export function imageSymbols(info: Vmcoreinfo): Map<string, bigint> {
  return new Map([...info.symbols].filter(([, address]) => address >= KERNEL_MAP));
}
