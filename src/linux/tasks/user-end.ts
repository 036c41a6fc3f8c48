/** Where a process's own part of its address space ends. */
import type { MmuDef } from "../../paging/index.js";

/** What of a kernel tells. */
interface Halves {
  readonly memory: { readonly mmu: Pick<MmuDef, "splits"> };
  readonly imageOffset: bigint | undefined;
}

/**
 * The exclusive end of the addresses that can be a process's own: what is above is the kernel's, and the same in every process. By the page
 * tables' format; where addresses have 32 bits, these don't tell: there PAGE_OFFSET does, which is what the image's addresses are off their
 * physical ones (arch/x86/include/asm/page_32.h), and 2^32 is given if that is not known. @internal
 */
export function userEnd({ memory, imageOffset }: Halves): bigint {
  const bits = memory.mmu.splits.reduce((sum, each) => sum + each);
  if (bits > 32) return 1n << BigInt(bits - 1);
  const pageOffset = -(imageOffset ?? 0n);
  return pageOffset > 0n && pageOffset < 1n << 32n ? pageOffset : 1n << 32n;
}
