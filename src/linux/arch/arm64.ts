/**
 * Where an arm64 kernel is, by its VMCOREINFO.
 *
 * The image is mapped apart from the linear map and moved by itself (KASLR): `pa = va - kimage_voffset`
 * (arch/arm64/include/asm/memory.h, `__kimg_to_phys`). `swapper_pg_dir` is TTBR1's root. `VA_BITS`, `TCR_EL1_T1SZ`,
 * `kimage_voffset`: arch/arm64/kernel/vmcore_info.c; `VA_BITS` is what the kernel was built for, T1SZ what the processor
 * allowed (since 5.8, bbdbc11804ff).
 */
import { aarch64 } from "../../paging/formats/aarch64.js";
import type { Vmcoreinfo } from "../find/vmcoreinfo.js";
import { isNearImage, type KernelArch } from "./kernel-arch.js";

type Granule = 4096 | 16_384 | 65_536;

/** arm64 with any granule. */
export const ARCH_ARM64: KernelArch = {
  architecture: "aarch64",
  isTextOf: ({ numbers }) => numbers.has("kimage_voffset") || numbers.has("TCR_EL1_T1SZ"),
  mmuOf(info) {
    const granule = granuleOf(info);
    const bits = bitsOf(info);
    // Built for 52 bits of physical address, a kernel of large pages has them in its entries (CONFIG_ARM64_PA_BITS_52):
    // elsewhere those bits are 0, so nothing is lost by looking at them.
    return aarch64({ granule, bits, ...(granule === 65_536 ? { physical52: true } : {}) });
  },
  isInImage: isNearImage,
  /** Above the linear map, which takes the lower half of the addresses (of 48 bits of them, where there are more): `_PAGE_END`. */
  imageArea({ splits }) {
    const bits = Math.min(
      48,
      splits.reduce((sum, each) => sum + each),
    );
    return { start: (1n << 64n) - (1n << BigInt(bits - 1)), end: 1n << 64n };
  },
  imageOffsets({ numbers }) {
    const offset = numbers.get("kimage_voffset");
    return offset === undefined ? [] : [-BigInt.asUintN(64, offset)];
  },
  offsetName: "NUMBER(kimage_voffset)",
  rootNames: ["swapper_pg_dir"],
  /**
   * A kernel built for 52 bits with large pages has a root of 1,024 entries; on a processor without them, TTBR1 points to
   * its last 64 (arch/arm64/include/asm/assembler.h, `offset_ttbr1`; pgtable-hwdef.h, `TTBR1_BADDR_4852_OFFSET`).
   */
  rootAt(physical, info) {
    const shortened =
      granuleOf(info) === 65_536 && info.numbers.get("VA_BITS") === 52n && bitsOf(info) === 48;
    return shortened ? physical + BigInt((1024 - 64) * 8) : physical;
  },
  kernelRoot: (root) => ({ upper: root }),
};

function granuleOf({ pageSize }: Vmcoreinfo): Granule {
  return pageSize === 16_384 || pageSize === 65_536 ? pageSize : 4096;
}

/** Bits of an address in the upper half. */
function bitsOf({ numbers }: Vmcoreinfo): number {
  const size = numbers.get("TCR_EL1_T1SZ");
  const bits = size === undefined ? numbers.get("VA_BITS") : 64n - size;
  return bits !== undefined && bits >= 25n && bits <= 52n ? Number(bits) : 48;
}
