/** Every page-table format by its name, as the command line's `--mmu` takes it and messages print it. */
import { aarch64 } from "./aarch64.js";
import type { MmuDef } from "./mmu-def.js";
import { EPT4, EPT5, NPT4, NPT5 } from "./nested-formats.js";
import { SV39, SV48, SV57 } from "./riscv.js";
import { X86_32, X86_64, X86_64_LA57, X86_PAE } from "./x86.js";

/** AArch64 with the sizes that operating systems choose (Linux: `ARM64_VA_BITS`), by granule. */
const AARCH64_SIZES = [
  { granule: 4096, sizes: [39, 48, 52] },
  { granule: 16_384, sizes: [36, 47, 48, 52] },
  { granule: 65_536, sizes: [42, 48, 52] },
] as const;

/** Formats that a machine's own page tables may have: what a search tries, the likeliest first. */
export const MACHINE_FORMATS: readonly MmuDef[] = [
  X86_64,
  X86_64_LA57,
  X86_PAE,
  X86_32,
  ...AARCH64_SIZES.flatMap(({ granule, sizes }) => sizes.map((bits) => aarch64({ granule, bits }))),
  SV39,
  SV48,
  SV57,
];

/** All formats, a hypervisor's among them. */
export const MMU_FORMATS: readonly MmuDef[] = [...MACHINE_FORMATS, EPT4, EPT5, NPT4, NPT5];

/** What AArch64 formats are called: granule, bits (lower+upper, if they differ), and what TCR_EL1 says besides (LPA, HPD, HD). */
const AARCH64_NAME = /^aarch64-(4|16|64)k-(?:(\d\d)\+)?(\d\d)(-lpa)?(-hpd)?(-hd)?$/;

/** The format of a name: one of `MMU_FORMATS`, or AArch64 with any other sizes. `undefined` for one that is none. */
export function mmuNamed(name: string): MmuDef | undefined {
  const found = MMU_FORMATS.find((def) => def.name === name);
  const parts = AARCH64_NAME.exec(name);
  if (found !== undefined || parts === null) return found;
  const bits = Number(parts[3]);
  try {
    return aarch64({
      granule: (Number(parts[1]) * 1024) as 4096 | 16_384 | 65_536,
      bits,
      lowerBits: Number(parts[2] ?? bits),
      ...(parts[4] === undefined ? {} : { physical52: true }),
      hierarchical: parts[5] === undefined,
      dirtyState: parts[6] !== undefined,
    });
  } catch (error) {
    // Sizes that there are not.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The formats that an architecture's machines may run with, of `MACHINE_FORMATS`; all of them for an unknown one. */
export function formatsOf(architecture: string | undefined): readonly MmuDef[] {
  const prefix = architecture === undefined ? undefined : PREFIXES[architecture];
  if (architecture === undefined) return MACHINE_FORMATS;
  return prefix === undefined ? [] : MACHINE_FORMATS.filter(({ name }) => name.startsWith(prefix));
}

/** By the architecture that a dump names. (x86: a 64-bit processor may run a 32-bit kernel.) */
const PREFIXES: Readonly<Record<string, string>> = {
  x86_64: "x86-",
  i386: "x86-",
  aarch64: "aarch64-",
  riscv64: "riscv-",
};
