/** The architectures on which kernels are found, and how to tell which a VMCOREINFO text is of. */
import type { MmuDef } from "../../paging/formats/mmu-def.js";
import { X86_32, X86_64, X86_PAE } from "../../paging/formats/x86.js";
import type { Vmcoreinfo } from "../find/vmcoreinfo.js";
import { ARCH_ARM64 } from "./arm64.js";
import { ARCH_I386 } from "./i386.js";
import type { KernelArch } from "./kernel-arch.js";
import { ARCH_RISCV64 } from "./riscv64.js";
import { ARCH_X86_64 } from "./x86-64.js";

const ARCHES: readonly KernelArch[] = [ARCH_X86_64, ARCH_ARM64, ARCH_RISCV64, ARCH_I386];

/** Whether kernels of an architecture can be found; of one that nothing is known of, they may be. */
export function isKnownArch(architecture: string | undefined): boolean {
  return architecture === undefined || ARCHES.some((arch) => arch.architecture === architecture);
}

/**
 * The architecture of a text: what it says itself (a kdump header of a 32-bit guest may name its processor), else what the
 * dump names, else x86-64.
 */
export function archOf(info: Vmcoreinfo, architecture?: string | undefined): KernelArch {
  return (
    ARCHES.find((arch) => arch.isTextOf(info)) ??
    ARCHES.find((arch) => arch.architecture === architecture) ??
    ARCH_X86_64
  );
}

/** The architecture whose kernels have page tables of a format; `undefined` for a hypervisor's nested tables. */
export function archOfFormat({ name }: MmuDef): KernelArch | undefined {
  if (name === X86_32.name || name === X86_PAE.name) return ARCH_I386;
  if (name.startsWith("aarch64-")) return ARCH_ARM64;
  if (name.startsWith("riscv-")) return ARCH_RISCV64;
  return name.startsWith(X86_64.name) ? ARCH_X86_64 : undefined;
}

/**
 * The format of page tables that a VMCOREINFO text tells of; `undefined` for one that does not say its architecture.
 *
 * @param architecture As the dump names it. Where no kernel can be found, nothing is told: texts of 32-bit ARM and of s390x
 * have a root below 4 GiB, and look like i386's.
 */
export function mmuOfVmcoreinfo(info: Vmcoreinfo, architecture?: string | undefined): MmuDef | undefined {
  if (!isKnownArch(architecture)) return undefined;
  return ARCHES.find((arch) => arch.isTextOf(info))?.mmuOf(info);
}
