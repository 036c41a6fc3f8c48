/**
 * What a guest's page tables must say, from what the guest and QEMU said of them: `vm/paging.test.ts` and the small
 * committed dumps use it. (`truth-suite.ts` is about everything else that a dump of amd64 holds.)
 */
import type { Paging, ProgramRun, Stop, TlbRun, Truth } from "../../fixtures/vm/truth.mjs";
import {
  aarch64,
  KERNEL_EXECUTABLE,
  type MappedRun,
  type MapRun,
  type MmuDef,
  type Root,
  SV39,
  SV48,
  SV57,
  USER_EXECUTABLE,
  X86_32,
  X86_64,
  X86_64_LA57,
  X86_PAE,
} from "../../src/index.js";
import { aarch64 as referenceAarch64 } from "./reference/aarch64.js";
import type { ReferenceFormat, ReferenceSpace } from "./reference/format.js";
import * as riscv from "./reference/riscv.js";
import * as x86 from "./reference/x86.js";

/** The format of the guest's page tables, from its processor's registers. */
export function mmuOf(paging: Paging): MmuDef {
  switch (paging.format) {
    case "x86-32":
      return X86_32;
    case "x86-pae":
      return X86_PAE;
    case "x86-64":
      return X86_64;
    case "x86-64-la57":
      return X86_64_LA57;
    case "sv39":
      return SV39;
    case "sv48":
      return SV48;
    case "sv57":
      return SV57;
    case "aarch64": {
      const { granule, lowerBits = 0, upperBits: bits = 0, upperGranule, lpa2 } = paging;
      if (granule !== upperGranule) throw new Error("the halves' granules differ");
      if (granule !== 4096 && granule !== 16_384 && granule !== 65_536) throw new Error("no such granule");
      return aarch64({
        granule,
        bits,
        lowerBits,
        ...(granule === 65_536 ? {} : { physical52: lpa2 === true }),
      });
    }
    default:
      throw new Error(`no format ${paging.format}`);
  }
}

/** The root of a stop, as an address space takes it. */
export function rootOf(stop: Stop): Root {
  const lower = Number(stop.root);
  return stop.upperRoot === undefined ? lower : { lower, upper: Number(stop.upperRoot) };
}

/** The same, as the reference walker takes it. */
export function referenceOf(paging: Paging, stop: Stop): ReferenceSpace {
  const root = BigInt(stop.root);
  const format = REFERENCES[paging.format];
  if (format !== undefined) return { parts: [{ format, root }] };
  const { granule, lowerBits = 0, upperBits = 0, lpa2: largeAddresses = false } = paging;
  if (granule !== 4096 && granule !== 16_384 && granule !== 65_536) throw new Error("no such granule");
  const halfOf = (half: "lower" | "upper", bits: number) =>
    referenceAarch64({ granule, bits, half, largeAddresses });
  const upper = stop.upperRoot === undefined ? undefined : BigInt(stop.upperRoot);
  return {
    parts: [
      { format: halfOf("lower", lowerBits), root },
      { format: halfOf("upper", upperBits), root: upper },
    ],
  };
}

const REFERENCES: Readonly<Record<string, ReferenceFormat>> = {
  "x86-32": x86.X86_32,
  "x86-pae": x86.X86_PAE,
  "x86-64": x86.X86_64,
  "x86-64-la57": x86.X86_64_LA57,
  sv39: riscv.SV39,
  sv48: riscv.SV48,
  sv57: riscv.SV57,
};

/** Where the kernel's half of the address space begins. */
export function kernelHalf(truth: Truth): bigint {
  return truth.processor === "i386" ? 0xc000_0000n : 1n << 63n;
}

/** One run of a listing that is to be compared. `how` holds all that must be the same on all its pages. */
export interface ListedRun {
  readonly start: bigint;
  end: bigint;
  readonly physical: number;
  readonly how: string;
}

/** Runs that continue each other in both spaces and say the same, as one: how a listing is cut up is no matter of truth. */
export function joined(runs: Iterable<ListedRun>): ListedRun[] {
  const result: ListedRun[] = [];
  for (const run of runs) {
    const last = result[result.length - 1];
    const goesOn = last?.end === run.start && last.physical + Number(last.end - last.start) === run.physical;
    if (goesOn && last.how === run.how) last.end = run.end;
    else result.push({ ...run });
  }
  return result;
}

/** The runs that are mapped. @throws {Error} if any is malformed or lies under a table that is missing. */
export function mappedRuns(runs: readonly MapRun[]): MappedRun[] {
  return runs.flatMap((run) => {
    if (run.state === undefined) return [run];
    if (run.state === "swapped") return [];
    throw new Error(
      `${run.start.toString(16)}: ${run.state}, entry 0x${run.entry.toString(16)} of level ${run.level}`,
    );
  });
}

const letter = (has: boolean, text: string): string => (has ? text : "-");

/** What memtool says of a run, in the words of {@link expectedOfTlb} and {@link expectedOfRiscv}. */
export function howOf(run: MappedRun, withSize: boolean): string {
  const user = (run.rights & USER_EXECUTABLE) !== 0;
  const kernel = (run.rights & KERNEL_EXECUTABLE) !== 0;
  return [
    letter(run.readable, "r"),
    letter(run.writable, "w"),
    letter(user, "x"),
    letter(kernel, "X"),
    letter(run.user, "u"),
    letter(run.global, "g"),
    withSize ? ` ${run.pageSize}` : "",
  ].join("");
}

/**
 * QEMU's listing of an x86 stop, as what memtool must find: rights combined over the levels.
 *
 * The listing has the last entries' bits only. Linux grants everything in the entries above, but for two things: entries
 * of the kernel's half do not let users in (arch/x86/include/asm/pgtable_types.h, _KERNPG_TABLE), save those to the page
 * of vsyscalls; and with page-table isolation, the kernel's copy of a root makes the user's half no-execute
 * (arch/x86/mm/pti.c, __pti_set_user_pgtbl), where the root's entries can say so: not with PAE.
 */
export function expectedOfTlb(truth: Truth, stop: Stop): ListedRun[] {
  const half = kernelHalf(truth);
  const inKernel = stop === truth.stops.kernel;
  const format = truth.paging?.format ?? "x86-64";
  const poisoned = isIsolated(truth) && inKernel && format.startsWith("x86-64");
  return joined(
    stop.mappings.map(({ start, end, physical, flags, pageSize }) => {
      const [noExecute, global, , , , , , user, writable] = flags;
      const ofUsers = BigInt(start) < half;
      const executable = noExecute === "-" && !(poisoned && ofUsers);
      const how = [
        "r",
        letter(writable === "W", "w"),
        letter(executable, "x"),
        letter(executable, "X"),
        letter(user === "U" && (ofUsers || isVsyscall(start)), "u"),
        letter(global === "G", "g"),
        ` ${pageSize}`,
      ].join("");
      return { start: BigInt(start), end: BigInt(end), physical: Number(physical), how };
    }),
  );
}

/** The page of vsyscalls (arch/x86/include/uapi/asm/vsyscall.h). */
function isVsyscall(start: string): boolean {
  return start === "0xffffffffff600000";
}

const NAPOT = 0x1_0000n;

/**
 * QEMU's listing of a RISC-V stop. Its entries above the last have no rights of their own.
 *
 * QEMU 7.2 lists a page of 64 KiB (Svnapot) as sixteen small ones, all at the address that the entries hold: that of the page
 * with 0x8000 in it, which says that it has 64 KiB.
 */
export function expectedOfRiscv(mappings: readonly TlbRun[]): ListedRun[] {
  const listed = mappings.map((run) => ({ ...run, start: BigInt(run.start), end: BigInt(run.end) }));
  return joined(
    listed.map(({ start, end, physical, flags }, i) => {
      const [read, write, execute, user, global] = flags;
      const how = [
        letter(read === "r", "r"),
        letter(write === "w", "w"),
        letter(execute === "x", "x"),
        letter(execute === "x" && user !== "u", "X"), // supervisors never execute a user's page
        letter(user === "u", "u"),
        letter(global === "g", "g"),
      ].join("");
      const isNapot = [listed[i - 1], listed[i + 1]].some(
        (other) =>
          other?.physical === physical && other.start / NAPOT === start / NAPOT && physical.endsWith("8000"),
      );
      const at = Number(physical) - (isNapot ? 0x8000 - Number(start % NAPOT) : 0);
      return { start, end, physical: at, how };
    }),
  );
}

/** All pages that pagemap calls present. PROT_NONE pages are: those of `hidden` runs are left out. */
export function expectedOfPagemap(pages: readonly ProgramRun[], hidden: readonly ProgramRun[]): ListedRun[] {
  const gaps = hidden.map(({ start, end }) => ({ start: BigInt(start), end: BigInt(end) }));
  const runs: ListedRun[] = [];
  for (const page of pages) {
    let start = BigInt(page.start);
    const end = BigInt(page.end);
    const physical = (at: bigint) => Number(page.physical) + Number(at - BigInt(page.start));
    for (const gap of gaps) {
      if (gap.end <= start || gap.start >= end) continue;
      if (gap.start > start) runs.push({ start, end: gap.start, physical: physical(start), how: "" });
      start = gap.end;
    }
    if (start < end) runs.push({ start, end, physical: physical(start), how: "" });
  }
  return joined(runs);
}

/** Mappings of device memory and the like (VM_PFNMAP), which pagemap leaves out. */
export function untoldRanges(truth: Truth): { start: bigint; end: bigint }[] {
  const maps = truth.processes.find(({ pid }) => pid === truth.pid)?.maps ?? [];
  return maps
    .filter(({ path }) => path === "[vvar]" || path === "[vvar_vclock]")
    .map(({ start, end }) => ({ start: BigInt(start), end: BigInt(end) }));
}

/** Runs of the pattern program's regions in which every page is PROT_NONE with its data in RAM. */
export function hiddenRuns(truth: Truth): ProgramRun[] {
  return truth.regions.flatMap(({ runs }) =>
    runs.flatMap(({ start, end, physical, state }) =>
      state === "prot-none" && physical !== null ? [{ start, end, physical }] : [],
    ),
  );
}

/** Every page of every region, one by one. */
export interface TruthPage {
  readonly region: string;
  readonly permissions: string;
  readonly va: bigint;
  /** By pagemap. */
  readonly physical: number | undefined;
  readonly state: string;
  readonly content: "pattern" | "solid" | "zero" | null;
  readonly generation: number;
  /** Pagemap's swap entry. */
  readonly swap: { readonly type: number; readonly offset: number } | undefined;
  readonly zeroPage: boolean;
}

export function pagesOf(truth: Truth): TruthPage[] {
  const size = truth.pageSize ?? 4096;
  return truth.regions.flatMap(({ name, permissions, runs }) =>
    runs.flatMap((run) => {
      const start = BigInt(run.start);
      const count = Number(BigInt(run.end) - start) / size;
      return Array.from({ length: count }, (_, i) => ({
        region: name,
        permissions,
        va: start + BigInt(i * size),
        physical: run.physical === null ? undefined : Number(run.physical) + i * size,
        state: run.state,
        content: run.content,
        generation: run.generation,
        swap:
          run.swapEntry === undefined
            ? undefined
            : { type: Number(BigInt(run.swapEntry) & 31n), offset: Number(BigInt(run.swapEntry) >> 5n) },
        zeroPage: run.zeroPage === true,
      }));
    }),
  );
}

/** Page tables in isolation: the user's copy of a root lies beside the kernel's. */
export function isIsolated(truth: Truth): boolean {
  return truth.stops.user.root !== truth.stops.kernel.root;
}
