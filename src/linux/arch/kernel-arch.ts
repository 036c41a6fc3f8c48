import type { MmuDef } from "../../paging/formats/mmu-def.js";
import type { Root } from "../../paging/tables/root.js";
import type { ImageRange } from "../find/image-search.js";
import type { Vmcoreinfo } from "../find/vmcoreinfo.js";

/** What differs between architectures in finding a kernel; a module each. */
export interface KernelArch {
  /** As dumps name it. */
  readonly architecture: "x86_64" | "i386" | "aarch64" | "riscv64";
  /** Whether a VMCOREINFO text says things that only this architecture's kernels say. */
  isTextOf(info: Vmcoreinfo): boolean;
  /** The format of the kernel's page tables. */
  mmuOf(info: Vmcoreinfo): MmuDef;
  /** Whether an address may lie in the kernel's image. */
  isInImage(address: bigint, info: Vmcoreinfo): boolean;
  /** Where images may be mapped, with tables of a format. */
  imageArea(mmu: MmuDef): ImageRange;
  /**
   * What may be added to the virtual address of the image for its physical one, the likeliest first; none if the text does
   * not say it. Tables judge between several.
   */
  imageOffsets(info: Vmcoreinfo): readonly bigint[];
  /** What VMCOREINFO calls that. */
  readonly offsetName: string;
  /** Names of the kernel's root, in the order of preference. */
  readonly rootNames: readonly string[];
  /** Where the hardware's root is, from the physical address of that symbol; default: there. */
  rootAt?(physical: bigint, info: Vmcoreinfo): bigint;
  /** A root as an address space of this architecture takes it. */
  kernelRoot(root: number): Root;
}

/** Image sizes: a kernel is a few dozen MiB, and nothing that VMCOREINFO names lies further from its root than this. */
const IMAGE_REACH = 256n * 1024n * 1024n;

/** Whether an address lies as near to the kernel's beginning or root as an image can reach. */
export function isNearImage(address: bigint, info: Vmcoreinfo): boolean {
  const anchor = info.symbols.get("_stext") ?? info.symbols.get("swapper_pg_dir");
  if (anchor === undefined) return false;
  const distance = address > anchor ? address - anchor : anchor - address;
  return distance < IMAGE_REACH;
}
