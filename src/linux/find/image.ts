/** The kernel's image in its address space. */
import { archOf } from "../arch/index.js";
import type { Vmcoreinfo } from "./vmcoreinfo.js";

export { KERNEL_MAP } from "../arch/x86-64.js";

/**
 * VMCOREINFO's symbols that are addresses in the kernel's image. (Some of its values are what a pointer of that name
 * holds, such as `mem_section`'s since Linux 4.15, 83e3c48729d9.)
 */
export function imageSymbols(info: Vmcoreinfo, arch = archOf(info)): Map<string, bigint> {
  // (Of a 32-bit kernel, that pointer may well lie as near as the image.)
  const isPointer = (name: string) => name === "mem_section" && arch.architecture === "i386";
  return new Map(
    [...info.symbols].filter(([name, address]) => !isPointer(name) && arch.isInImage(address, info)),
  );
}
