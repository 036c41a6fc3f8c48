/** Where a process's own part of its address space ends. */
import type { MmuDef } from "../../paging/index.js";

/**
 * The exclusive end of the addresses that can be a process's own, by its page tables' format: what is above is the kernel's, and the same in
 * every process. 2^64 for 32-bit kernels, where tables don't tell. @internal
 */
export function userEnd({ splits }: MmuDef): bigint {
  const bits = splits.reduce((sum, each) => sum + each);
  return bits > 32 ? 1n << BigInt(bits - 1) : 1n << 64n;
}
