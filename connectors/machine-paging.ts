/** Which format a machine's page tables have, and which roots its dump names: from registers, VMCOREINFO and headers. */
import type { DumpImage, DumpNotes } from "../src/formats/index.js";
import { mmuOfVmcoreinfo, parseVmcoreinfo } from "../src/linux/index.js";
import {
  aarch64,
  formatsOf,
  type KnownRoot,
  type MmuDef,
  pagingOfRegisters,
  X86_32,
  X86_64,
  X86_PAE,
} from "../src/paging/index.js";

/** What a target says of its machine: a dump, in its notes and headers; a live one, in notes alone. */
export interface Told {
  readonly notes: DumpNotes;
  readonly details: DumpImage["details"];
}

/** A format, and what says so. */
export interface MachinePaging {
  readonly mmu: MmuDef;
  /** "CR4 of CPU 0", "VMCOREINFO", "the dump's header". */
  readonly source: string;
}

/** The architecture of a dump's machine, also one that memtool knows nothing of; `undefined` where the dump names none. */
export function machineOf(told: Told | undefined): string | undefined {
  return told?.notes.architecture ?? told?.notes.otherMachine;
}

/**
 * What a dump says of its machine's page tables.
 *
 * Registers are what the processor goes by, so they come first; but only VMCOREINFO tells of memory encryption, and it
 * is as right on x86. With neither, a 64-bit x86 machine is taken to have four levels: `source` says that.
 *
 * @returns `undefined` where nothing tells: the dump names no architecture, or one with several formats.
 */
export function pagingOfDump(told: Told | undefined): MachinePaging | undefined {
  if (told === undefined || told.notes.otherMachine !== undefined) return undefined;
  const { notes } = told;
  const text = notes.vmcoreinfo === undefined ? undefined : parseVmcoreinfo(notes.vmcoreinfo);
  const ofText = text === undefined ? undefined : mmuOfVmcoreinfo(text, notes.architecture);
  if (ofText?.name.startsWith("x86") === true) return { mmu: ofText, source: "VMCOREINFO" };
  const ofCpus = ofRegisters(notes);
  if (ofCpus !== undefined) return ofCpus;
  if (ofText !== undefined) return { mmu: ofText, source: "VMCOREINFO" };
  return ofHeader(told);
}

/** The format that most processors ran with (one may be in its firmware, or be starting); of as many, the first one's. */
function ofRegisters(notes: DumpNotes): MachinePaging | undefined {
  const counts = new Map<MmuDef, { readonly first: number; count: number }>();
  for (const [i, { registers }] of notes.cpus.entries()) {
    const mmu = pagingOfRegisters(registers, notes.architecture)?.mmu;
    if (mmu === undefined) continue;
    const known = counts.get(mmu);
    if (known === undefined) counts.set(mmu, { first: i, count: 1 });
    else known.count++;
  }
  const [most] = [...counts].sort(([, a], [, b]) => b.count - a.count || a.first - b.first);
  return most && { mmu: most[0], source: `registers of CPU ${most[1].first}` };
}

/** By the architecture, and by what a Windows header says. */
function ofHeader({ notes, details }: Told): MachinePaging | undefined {
  if (notes.architecture === "x86_64") return { mmu: X86_64, source: "the architecture, with four levels" };
  if (details.DirectoryTableBase === undefined) return undefined;
  const source = "the dump's header";
  if (notes.architecture === "i386") {
    return { mmu: details.PaeEnabled === 0 ? X86_32 : X86_PAE, source };
  }
  // Windows on Arm has 4 KiB pages and 48 bits.
  return notes.architecture === "aarch64" ? { mmu: aarch64({ granule: 4096, bits: 48 }), source } : undefined;
}

/** The roots that a dump names, in the order of its processors. */
export function rootsOfDump(told: Told | undefined): KnownRoot[] {
  if (told === undefined || told.notes.otherMachine !== undefined) return [];
  const roots: KnownRoot[] = [];
  for (const [i, { registers }] of told.notes.cpus.entries()) {
    const found = pagingOfRegisters(registers, told.notes.architecture);
    if (found === undefined) continue;
    const { root, upper, register, mmu } = found;
    const half = mmu.halves === undefined ? {} : ({ half: "lower" } as const);
    if (root !== undefined) roots.push({ root, ...half, reason: `${register} of CPU ${i}` });
    if (upper !== undefined) roots.push({ root: upper, half: "upper", reason: `TTBR1 of CPU ${i}` });
  }
  const windows = told.details.DirectoryTableBase;
  if (typeof windows === "string" && told.notes.architecture !== "aarch64") {
    // (As a CR3: its low bits are no address.)
    const value = BigInt(windows) & (told.details.PaeEnabled === undefined ? 0x000f_ffff_ffff_f000n : ~31n);
    roots.push({ root: Number(value), reason: "DirectoryTableBase of the header" });
  }
  return roots;
}

/** For errors: what to give where nothing tells the format. */
export function formatHint(architecture: string | undefined): string {
  const names = formatsOf(architecture).map(({ name }) => name);
  return names.length === 0 ? "" : ` (--mmu NAME; ${names.join(", ")})`;
}
