/**
 * Where a riscv64 kernel is, by its VMCOREINFO.
 *
 * The image is mapped from KERNEL_LINK_ADDR on, in the last 2 GiB: `pa = va - va_kernel_pa_offset`
 * (arch/riscv/include/asm/page.h, `kernel_mapping_va_to_pa`). `VA_BITS` is what the processor allowed:
 * arch/riscv/kernel/vmcore_info.c.
 */
import { SV39, SV48, SV57 } from "../../paging/formats/riscv.js";
import { isNearImage, type KernelArch } from "./kernel-arch.js";

/** riscv64, Sv39 to Sv57. */
export const ARCH_RISCV64: KernelArch = {
  architecture: "riscv64",
  isTextOf: ({ numbers }) => numbers.has("va_kernel_pa_offset") || numbers.has("phys_ram_base"),
  mmuOf({ numbers }) {
    const bits = numbers.get("VA_BITS");
    return bits === 57n ? SV57 : bits === 48n ? SV48 : SV39;
  },
  isInImage: isNearImage,
  imageArea: () => ({ start: 0xffff_ffff_8000_0000n, end: 1n << 64n }),
  imageOffsets({ numbers }) {
    const offset = numbers.get("va_kernel_pa_offset");
    return offset === undefined ? [] : [-BigInt.asUintN(64, offset)];
  },
  offsetName: "NUMBER(va_kernel_pa_offset)",
  rootNames: ["swapper_pg_dir"],
  kernelRoot: (root) => root,
};
