/**
 * Which page-table format and which roots a processor's registers say.
 *
 * - x86: CR0.PG, CR4.PAE and CR4.LA57, EFER.LMA choose the format (Intel SDM vol. 3A, 4.1.1, figure 4-1), CR3 holds the
 *   root (4.2 to 4.5: tables 4-3, 4-7 and 4-12; the low bits are cache control or a PCID, the highest ones LAM's).
 *   CR4.PSE is not asked: without it, no kernel writes entries with PS set.
 * - AArch64: TCR_EL1 (Arm ARM DDI 0487, D24.2: T0SZ, T1SZ, TG0, TG1, IPS, HPD0, HPD1, DS) and TTBR0_EL1, TTBR1_EL1
 *   (BADDR; of 52-bit addresses, bits 51 to 48 lie in bits 5 to 2).
 * - RISC-V: satp (privileged specification, 12.1.11: MODE in bits 63 to 60, PPN in bits 43 to 0).
 */
import { type Aarch64Options, aarch64, LEAST_BITS } from "../formats/aarch64.js";
import type { MmuDef } from "../formats/mmu-def.js";
import { SV39, SV48, SV57 } from "../formats/riscv.js";
import { X86_32, X86_64, X86_64_LA57, X86_PAE } from "../formats/x86.js";

/** Registers by their lower-case names, unsigned; see `CpuState`. */
export type RegisterValues = Readonly<Record<string, bigint>>;

/** What one processor's registers say. */
export interface ProcessorPaging {
  readonly mmu: MmuDef;
  /** Physical address of the root (of AArch64: of TTBR0's, the lower half's); `undefined` where there is none. */
  readonly root?: number | undefined;
  /** AArch64: physical address of TTBR1's root, the upper half's. */
  readonly upper?: number | undefined;
  /** The register that says where the root is: `CR3`, `TTBR0`, `satp`. */
  readonly register: string;
}

const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const CR4_LA57 = 1n << 12n;
const EFER_LMA = 1n << 10n;
const FOUR_GIB = 1n << 32n;

/**
 * What a processor's registers say of its paging.
 *
 * @param architecture As the dump names it; `undefined` where it doesn't.
 * @returns `undefined` where paging is off, or the registers that say it are not there.
 */
export function pagingOfRegisters(
  registers: RegisterValues,
  architecture?: string | undefined,
): ProcessorPaging | undefined {
  if (registers.cr3 !== undefined && registers.cr4 !== undefined && registers.cr0 !== undefined) {
    return ofX86(registers, registers.cr0, registers.cr3, registers.cr4, architecture);
  }
  if (registers.tcr_el1 !== undefined) return ofAarch64(registers, registers.tcr_el1);
  if (registers.satp !== undefined) return ofRiscv(registers.satp);
  return undefined;
}

function ofX86(
  registers: RegisterValues,
  cr0: bigint,
  cr3: bigint,
  cr4: bigint,
  architecture: string | undefined,
): ProcessorPaging | undefined {
  if ((cr0 & CR0_PG) === 0n) return undefined;
  const register = "CR3";
  if ((cr4 & CR4_PAE) === 0n) {
    return { mmu: X86_32, root: Number(cr3 & 0xffff_f000n), register };
  }
  if (!isLongMode(registers, cr3, cr4, architecture)) {
    return { mmu: X86_PAE, root: Number(cr3 & 0xffff_ffe0n), register };
  }
  const mmu = (cr4 & CR4_LA57) === 0n ? X86_64 : X86_64_LA57;
  return { mmu, root: Number(cr3 & 0x000f_ffff_ffff_f000n), register };
}

/** Registers of which a kernel in long mode has some above 4 GiB. (`tr_base` too, but only QEMU notes hold it.) */
const WIDE = ["rip", "rsp", "idt_base", "gdt_base", "tr_base", "gs_base", "kernel_gs_base", "gs_base_kernel"];

/**
 * Whether a processor with PAE is in long mode. EFER.LMA says it, where it is known (QEMU's ELF notes do not hold it);
 * else a register that only long mode can have, else a root that only PAE can have, else the architecture.
 */
function isLongMode(
  registers: RegisterValues,
  cr3: bigint,
  cr4: bigint,
  architecture: string | undefined,
): boolean {
  if (registers.efer !== undefined) return (registers.efer & EFER_LMA) !== 0n;
  if ((cr4 & CR4_LA57) !== 0n || cr3 >= FOUR_GIB) return true;
  if (WIDE.some((name) => (registers[name] ?? 0n) >= FOUR_GIB)) return true;
  // PCIDs take bits 0 to 11 in long mode, but only where CR4.PCIDE (bit 17) allows them.
  if ((cr3 & 0xfe0n) !== 0n && (cr4 & (1n << 17n)) === 0n) return false;
  return architecture !== "i386";
}

type Granule = Aarch64Options["granule"];
/** TG0 and TG1 name the same granules by different numbers. */
const TG0: readonly (Granule | undefined)[] = [4096, 65_536, 16_384, undefined];
const TG1: readonly (Granule | undefined)[] = [undefined, 16_384, 4096, 65_536];
const EPD0 = 1n << 7n;
const EPD1 = 1n << 23n;
const HD = 1n << 40n;
const HPD0 = 1n << 41n;
const HPD1 = 1n << 42n;
const DS = 1n << 59n;
/** IPS for physical addresses of 52 bits. */
const IPS_52 = 6n;
/** Physical addresses end there. */
const PHYSICAL_END = 2 ** 52;

/** What TCR_EL1 says of one half; `undefined` for one that is off, or has reserved values. */
function halfOfTcr(
  tcr: bigint,
  half: "lower" | "upper",
): { granule: Granule; bits: number; hierarchical: boolean } | undefined {
  const upper = half === "upper";
  const granule = upper ? TG1[Number((tcr >> 30n) & 3n)] : TG0[Number((tcr >> 14n) & 3n)];
  const bits = 64 - Number((upper ? tcr >> 16n : tcr) & 63n);
  if ((tcr & (upper ? EPD1 : EPD0)) !== 0n || granule === undefined || bits < LEAST_BITS) return undefined;
  // More than 48 bits are for large pages (FEAT_LVA), and for others with the descriptors of FEAT_LPA2.
  if (bits > (isWide(tcr, granule) || granule === 65_536 ? 52 : 48)) return undefined;
  return { granule, bits, hierarchical: (tcr & (upper ? HPD1 : HPD0)) === 0n };
}

/**
 * What TCR_EL1 says of the format of the kernel's half (T1SZ, TG1, HPD1), and of the lower one where that is of its kind; of the
 * lower one alone where the upper is off. Linux gives both halves the same granule, and the same size but for kernels of 48 bits
 * with programs of 52 (ARM64_USER_VA_BITS_52).
 *
 * @returns `undefined` for a TCR that says nothing (0 after reset), or holds reserved values.
 */
export function mmuOfTcr(tcr: bigint): MmuDef | undefined {
  return formatOfTcr(tcr)?.mmu;
}

/** The same; `both`: the format is that of both halves. */
function formatOfTcr(tcr: bigint): { readonly mmu: MmuDef; readonly both: boolean } | undefined {
  if (tcr === 0n) return undefined;
  const upper = halfOfTcr(tcr, "upper");
  const lower = halfOfTcr(tcr, "lower");
  const main = (tcr & EPD1) === 0n ? upper : lower;
  if (main === undefined) return undefined;
  const shared = { physical52: isWide(tcr, main.granule), dirtyState: (tcr & HD) !== 0n };
  if (main === upper && lower?.granule === upper.granule && lower.hierarchical === upper.hierarchical) {
    try {
      return { mmu: aarch64({ ...shared, ...upper, lowerBits: lower.bits }), both: true };
    } catch (error) {
      // Sizes that no table holds side by side.
      if (!(error instanceof RangeError)) throw error;
    }
  }
  return { mmu: aarch64({ ...shared, ...main }), both: false };
}

/** Whether descriptors hold physical addresses of 52 bits (FEAT_LPA with large pages, FEAT_LPA2 with others). */
function isWide(tcr: bigint, granule: Granule): boolean {
  return granule === 65_536 ? ((tcr >> 32n) & 7n) === IPS_52 : (tcr & DS) !== 0n;
}

/** Physical address of the table that a TTBR points to; `undefined` for 0. @param wide Of 52 bits. */
export function rootOfTtbr(ttbr: bigint, wide: boolean): number | undefined {
  const base = ttbr & 0xffff_ffff_fffen;
  const root = wide ? (base & ~0x3fn) | (((ttbr >> 2n) & 15n) << 48n) : base;
  return root === 0n ? undefined : Number(root);
}

function ofAarch64(registers: RegisterValues, tcr: bigint): ProcessorPaging | undefined {
  const sctlr = registers.sctlr_el1;
  if (sctlr !== undefined && (sctlr & 1n) === 0n) return undefined;
  const found = formatOfTcr(tcr);
  if (found === undefined) return undefined;
  const { mmu, both } = found;
  const wide = mmu.address[1] === 51;
  const hasUpper = (tcr & EPD1) === 0n;
  const rootOf = (half: "lower" | "upper", ttbr = 0n) => {
    const root = rootOfTtbr(ttbr, wide);
    // (The bits of BADDR below the table's size are reserved, and taken as 0.)
    return root === undefined ? undefined : alignRoot(root, mmu, half);
  };
  // A lower half of another format than the kernel's is not to be walked in this one.
  const lower = both || !hasUpper ? rootOf("lower", registers.ttbr0_el1) : undefined;
  const upper = hasUpper ? rootOf("upper", registers.ttbr1_el1) : undefined;
  return { mmu, root: lower, upper, register: "TTBR0" };
}

const SATP_MODES: Readonly<Record<number, MmuDef>> = { 8: SV39, 9: SV48, 10: SV57 };

function ofRiscv(satp: bigint): ProcessorPaging | undefined {
  const mmu = SATP_MODES[Number(satp >> 60n)];
  if (mmu === undefined) return undefined;
  const root = Number((satp & 0xfff_ffff_ffffn) << 12n);
  return { mmu, root: root < PHYSICAL_END ? root : undefined, register: "satp" };
}

/**
 * A root as a register or a person gives it, without the bits that are none of the address: those below what the format's
 * roots are aligned to (PCID, cache control; of TTBR the common bit), and of AArch64 the ASID in bits 48 to 63.
 *
 * @param half Of two roots, which; without, what neither can have is left out.
 */
export function alignRoot(root: number, mmu: MmuDef, half?: "lower" | "upper"): number {
  const { rootAlign, halves, address, splits, entryBytes } = mmu;
  const aligns =
    halves && (half === undefined ? [halves.lower.align, halves.upper.align] : [halves[half].align]);
  const align =
    aligns === undefined ? (rootAlign ?? 2 ** (splits[0] ?? 0) * entryBytes) : Math.min(...aligns);
  const value = halves !== undefined && address[1] < 48 ? root % 2 ** 48 : root;
  return value - (value % align);
}
