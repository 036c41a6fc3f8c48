/** The core's own definition of a tested format, and its results in the reference's terms. */
import {
  aarch64,
  EPT4,
  EPT5,
  KERNEL_EXECUTABLE,
  type MapRun,
  type MmuDef,
  NPT4,
  NPT5,
  type Root,
  SV39,
  SV48,
  SV57,
  type Translation,
  USER_EXECUTABLE,
  X86_32,
  X86_64,
  X86_64_LA57,
  X86_PAE,
} from "../../../src/paging/index.js";
import type { TestedFormat } from "./formats.js";
import type { RandomMachine } from "./random-tables.js";

const BY_NAME: Readonly<Record<string, MmuDef>> = {
  "x86-32": X86_32,
  "x86-pae": X86_PAE,
  "x86-64": X86_64,
  "x86-64-la57": X86_64_LA57,
  npt4: NPT4,
  npt5: NPT5,
  ept4: EPT4,
  ept5: EPT5,
  sv39: SV39,
  sv48: SV48,
  sv57: SV57,
};

/** What a user of the core would choose for a format. */
export function mmuOf(format: TestedFormat): MmuDef {
  if (format.aarch64 !== undefined) {
    const { granule, lower, upper, largeAddresses, hierarchicalDisabled, dirtyState } = format.aarch64;
    return aarch64({
      granule,
      bits: upper,
      lowerBits: lower,
      physical52: largeAddresses,
      hierarchical: !hierarchicalDisabled,
      dirtyState,
    });
  }
  const mmu = BY_NAME[format.name];
  if (mmu === undefined) throw new Error(`the core has no ${format.name}`);
  return mmu;
}

/** Where a machine's tables begin, as the core takes it. */
export function rootOf(machine: RandomMachine): Root {
  const [lower, upper] = machine.roots;
  if (machine.format.parts.length === 1) return lower as number;
  return { lower, upper };
}

/** A translation, or a run without its range. */
export function plain(result: Translation | MapRun): unknown {
  if (result.state !== undefined) {
    const { state, level, entry, cause } = result;
    return { state, level, entry, ...(cause === undefined ? {} : { cause }) };
  }
  const { physical, pageSize, readable, writable, user, global, rights } = result;
  return {
    physical: BigInt(physical),
    pageSize: BigInt(pageSize),
    readable,
    writable,
    user,
    userExecutable: (rights & USER_EXECUTABLE) !== 0,
    kernelExecutable: (rights & KERNEL_EXECUTABLE) !== 0,
    global,
  };
}

export function plainRun(run: MapRun): unknown {
  return { start: run.start, end: run.end, ...(plain(run) as object) };
}
