/**
 * Executable memory of processes that did not come from a program's file as it is: where injected code lies, and what makes code as it runs.
 *
 * Facts: include/linux/mm.h (VM_READ, VM_WRITE, VM_EXEC, VM_MAYSHARE), mm/memfd.c (names of memfds), mm/shmem.c (`shmem_zero_setup`: shared memory
 * without a file is one named /dev/zero).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { USER, USER_EXECUTABLE, WRITABLE } from "../../paging/formats/rights.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage, once } from "../objects/damage.js";
import { findPageArray, type PageArray } from "../pages/index.js";
import { memoryOfTask, needTasks, type Task } from "../tasks/task.js";
import { userRoot } from "../tasks/user-root.js";
import { readVmas, vmaRights } from "../tasks/vma.js";
import { type NamedVma, nameVmas } from "../tasks/vma-names.js";
import { AnonymousFrames, mappedRuns, type PageRun, pagesIn, runsWithin } from "./mapped-pages.js";
import { CachedPages, compareWithFile, type ModifiedPage } from "./modified-pages.js";
import { suspicionText } from "./suspicion-text.js";

/**
 * What is unusual about memory.
 *
 * - `anonymous`: executable, and of no file.
 * - `heap`, `stack`: the same, of these.
 * - `writable`: its range may be written to and executed.
 * - `modified`: of a file, and the process has written to pages of it (a debugger's breakpoints are such, and relocated code).
 * - `memfd`, `deleted`, `shared`: executable, and of a file that is only memory, that was deleted, or that is shared memory without a name.
 * - `page rights`: the page tables let it be executed or written, and its range does not.
 * - `no range`: the page tables let it be executed, and it is in none of the process's ranges.
 */
export type SuspicionKind =
  | "anonymous"
  | "heap"
  | "stack"
  | "writable"
  | "modified"
  | "memfd"
  | "deleted"
  | "shared"
  | "page rights"
  | "no range";

/** A range of a process with something unusual. */
export interface SuspiciousMemory {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  /** From `start` to `end` (exclusive). */
  readonly start: bigint;
  readonly end: bigint;
  /** Of the range, as in /proc/PID/maps; of `no range`, what the page tables say. */
  readonly rights: string;
  readonly path: string | undefined;
  readonly kinds: readonly SuspicionKind[];
  /** `alert`: what no sound program or kernel makes. `notice`: what has honest uses too. */
  readonly severity: "alert" | "notice";
  /** All of it in sentences. */
  readonly evidence: readonly string[];
  /** Pages of it that the page tables map, of 4 KiB. */
  readonly resident: number;
  /** Pages that the process wrote to, ascending; the first 1024. */
  readonly modified: readonly ModifiedPage[];
  /** How many there are. */
  readonly modifiedCount: number;
  /** Whether all pages that are there are zeros; `undefined` if none is there or can be read, or not all were looked at. */
  readonly zero: boolean | undefined;
  /** Where `bytes` are from: the first page that is not zeros, or the first difference from the file, less what is of its row of 16. */
  readonly address: bigint;
  /** The first bytes there; fewer, or none, where the rest is not in memory. */
  readonly bytes: Uint8Array;
  /** Of the process's addresses: 32 for a 32-bit program on a kernel of 64 bits too. */
  readonly bits: 32 | 64;
}

/** Options of {@link suspiciousMemory}. */
export interface SuspiciousMemoryOptions extends DamageOptions {
  /** Only this process's. */
  readonly pid?: number | undefined;
  /** How many of the first bytes are given; default 64, at most 4096. */
  readonly bytes?: number | undefined;
}

/**
 * Executable memory of all processes, or of one, that is not a program's file as it is, ascending by address within each. Of processes that share
 * an address space, the first one's.
 *
 * The kernel's own mappings (vDSO) are told of only where they were written to.
 *
 * @throws {MemtoolError} `NO_PROCESS`. @throws {TypesError} for a kernel without types.
 */
export function suspiciousMemory(
  kernel: LinuxKernel,
  options: SuspiciousMemoryOptions = {},
): IoSequence<SuspiciousMemory> {
  return IoSequence.of(kernel.memory.scheduler, suspiciousRoutine, kernel, options);
}

/** VM_… */
const WRITE = 0x2n;
const EXECUTE = 0x4n;
const MAY_SHARE = 0x80n;
const PAGE = 4096n;
const MOST_BYTES = 4096;
const MOST_MODIFIED = 1024;
/** Pages of one process whose owner is asked for: of code of 4 GiB. Page tables that repeat map any number. */
const MOST_OWNERS = 1 << 20;
/** Pages of one process that are looked at for what is not zeros; and of one range. */
const MOST_CONTENTS = 1 << 20;
const MOST_CONTENTS_OF_RANGE = 1 << 16;

function* suspiciousRoutine(
  sink: Sink<SuspiciousMemory>,
  kernel: LinuxKernel,
  options: SuspiciousMemoryOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const report = once(log.report);
  const data = yield* kernelData(kernel);
  const tasks = yield* needTasks(data, options.pid, report);
  const array = yield* findPageArray(data, report);
  const finder = new Finder(data, array, Math.min(options.bytes ?? 64, MOST_BYTES), report);
  const roots = new Set<number>();
  const users = tasks.filter(({ root }) => root !== undefined && !roots.has(root) && roots.add(root));
  const found = yield* readVmas(data, users, report);
  const named = yield* nameVmas(data, found, report);
  for (const [i, { task }] of found.entries()) {
    const ranges = (named[i] as NamedVma[]).filter(({ value }) => value !== undefined);
    for (const each of yield* finder.of(task, ranges)) yield sink.emit(each);
  }
  log.end();
}

/** What is known of a range before its bytes are read. */
interface Suspect {
  readonly start: bigint;
  readonly end: bigint;
  readonly rights: string;
  readonly path: string | undefined;
  readonly kinds: SuspicionKind[];
  readonly runs: readonly PageRun[];
  readonly modified: readonly ModifiedPage[];
  readonly modifiedCount: number;
  /** Pages whose rights are not those of the range. */
  readonly wrong: readonly PageRun[];
}

/** Goes through processes. */
class Finder {
  readonly #data: KernelData;
  readonly #pageSize: number;
  readonly #bytes: number;
  readonly #report: OnDamage;
  readonly #frames: AnonymousFrames;
  readonly #cached: CachedPages;
  // Of the process that is looked at.
  #ownersLeft = 0;
  #contentsLeft = 0;

  constructor(data: KernelData, array: PageArray, bytes: number, report: OnDamage) {
    this.#data = data;
    this.#pageSize = array.pageSize;
    this.#bytes = bytes;
    this.#report = report;
    this.#frames = new AnonymousFrames(data, array);
    this.#cached = new CachedPages(data, array, report);
  }

  *of(task: Task, ranges: readonly NamedVma[]): Routine<SuspiciousMemory[]> {
    const memory = memoryOfTask(this.#data.kernel, task);
    // (With page table isolation, the kernel's table for the process says that nothing may be executed.)
    const users = this.#data.kernel.addressSpace(yield* userRoot(this.#data.kernel, task.root ?? 0));
    const runs = yield* mappedRuns(users, `the pages of process ${task.tgid}`, this.#report);
    this.#ownersLeft = MOST_OWNERS;
    this.#contentsLeft = MOST_CONTENTS;
    // (Two-level tables of x86 can't keep anything from being executed.)
    const tellsExecutable = memory.mmu.entryBytes > 4;
    const suspects: Suspect[] = [];
    for (const range of ranges) {
      const suspect = yield* this.#rangeOf(range, runs, tellsExecutable);
      if (suspect !== undefined) suspects.push(suspect);
    }
    if (tellsExecutable) for (const each of strays(runs, ranges)) suspects.push(each);
    suspects.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    const found: SuspiciousMemory[] = [];
    for (const each of suspects) found.push(yield* this.#tell(task, memory, each));
    return found;
  }

  *#rangeOf(
    { value, path }: NamedVma,
    all: readonly PageRun[],
    tellsExecutable: boolean,
  ): Routine<Suspect | undefined> {
    const { start, end, flags, file } = value;
    const runs = runsWithin(all, start, end);
    const kinds: SuspicionKind[] = [];
    const isExecutable = (flags & EXECUTE) !== 0n;
    const isSpecial = file === 0n && /^\[(?!heap|stack|anon)/.test(path ?? "");
    const wrong = isSpecial
      ? []
      : runs.filter(
          ({ rights }) =>
            (rights & USER) !== 0 &&
            ((tellsExecutable && !isExecutable && (rights & USER_EXECUTABLE) !== 0) ||
              ((flags & WRITE) === 0n && (rights & WRITABLE) !== 0)),
        );
    let modified: readonly ModifiedPage[] = [];
    let modifiedCount = 0;
    if (isExecutable) {
      if (file === 0n && !isSpecial) {
        kinds.push(path === "[heap]" ? "heap" : path === "[stack]" ? "stack" : "anonymous");
      }
      if ((flags & WRITE) !== 0n) kinds.push("writable");
      if (file !== 0n) {
        if (path?.startsWith("/memfd:") === true) kinds.push("memfd");
        else if (/^\/(dev\/zero|SYSV[0-9a-f]{8}) \(deleted\)$/.test(path ?? "")) kinds.push("shared");
        else if (path?.endsWith(" (deleted)") === true) kinds.push("deleted");
      }
      if ((file !== 0n || isSpecial) && (flags & MAY_SHARE) === 0n) {
        const own = yield* this.#ownPages(runs);
        modifiedCount = own.length;
        modified = yield* this.#compare(value, own.slice(0, MOST_MODIFIED));
        if (modifiedCount > 0) kinds.push("modified");
      }
    }
    if (wrong.length > 0) kinds.push("page rights");
    if (kinds.length === 0) return undefined;
    return { start, end, rights: vmaRights(flags), path, kinds, runs, modified, modifiedCount, wrong };
  }

  /** Pages in a file's place that are the process's alone: their virtual and physical addresses. */
  *#ownPages(runs: readonly PageRun[]): Routine<{ address: bigint; physical: number }[]> {
    const size = this.#pageSize;
    const pages: { address: bigint; physical: number }[] = [];
    for (const { start, end, physical } of runs) {
      for (let at = 0; at < Number(end - start); at += size) {
        if (this.#ownersLeft === 0) {
          // (Once for a process.)
          this.#ownersLeft = -1;
          const more = `more than ${MOST_OWNERS} pages of code are mapped: whether the rest was written to is not known`;
          this.#report(damage("the pages of a process", start + BigInt(at), "too long", 0, more));
        }
        if (this.#ownersLeft < 0) return yield* this.#anonymous(pages);
        this.#ownersLeft--;
        pages.push({ address: start + BigInt(at), physical: physical + at });
      }
    }
    return yield* this.#anonymous(pages);
  }

  *#anonymous<T extends { readonly physical: number }>(pages: readonly T[]): Routine<T[]> {
    const frame = ({ physical }: T) => Math.floor(physical / this.#pageSize);
    yield* this.#frames.load(pages.map(frame), this.#report);
    return pages.filter((page) => this.#frames.has(frame(page)));
  }

  *#compare(
    { start, file, pageOffset }: NamedVma["value"],
    pages: readonly { address: bigint; physical: number }[],
  ): Routine<ModifiedPage[]> {
    const found: ModifiedPage[] = [];
    for (const { address, physical } of pages) {
      const offset = Number(pageOffset) * this.#pageSize + Number(address - start);
      const cached = file === 0n ? undefined : yield* this.#cached.at(file, offset);
      found.push(yield* compareWithFile(this.#data, address, physical, cached, this.#pageSize));
    }
    return found;
  }

  *#tell(task: Task, memory: VirtualMemory, suspect: Suspect): Routine<SuspiciousMemory> {
    const { start, end, rights, path, kinds, runs, modified, modifiedCount, wrong } = suspect;
    const first = modified.find((page) => page.first !== undefined) ?? modified[0];
    // What speaks is shown: what was written over, what has rights of its own, else what is not zeros.
    const shown = wrong.length > 0 ? wrong : runs;
    const content = first === undefined ? yield* this.#contentOf(memory, shown) : undefined;
    const differs = first?.first ?? 0;
    const address =
      first === undefined
        ? (content?.address ?? shown[0]?.start ?? start)
        : first.address + BigInt(differs - (differs % 16));
    const want = Math.min(this.#bytes, Number(end - address));
    const { bytes, holes } = yield* memory.readPartial(address, want);
    const read = bytes.subarray(0, holes[0]?.start ?? want);
    const zero = modifiedCount > 0 ? undefined : content?.zero;
    const isAlert =
      wrong.length > 0 || kinds.includes("no range") || modified.some(({ differing = 0 }) => differing > 0);
    return {
      pid: task.tgid,
      comm: task.comm,
      start,
      end,
      rights,
      path,
      kinds,
      severity: isAlert ? "alert" : "notice",
      evidence: suspicionText({ kinds, path, runs, modified, modifiedCount, wrong, zero, bytes: read }),
      resident: pagesIn(runs),
      modified,
      modifiedCount,
      zero,
      address,
      bytes: read.slice(),
      bits: memory.pointerSize === 4 || isNarrow(task) ? 32 : 64,
    };
  }

  /** The first page that is not zeros, and whether all are. */
  *#contentOf(
    memory: VirtualMemory,
    runs: readonly PageRun[],
  ): Routine<{ address: bigint | undefined; zero: boolean | undefined }> {
    let left = Math.min(MOST_CONTENTS_OF_RANGE, this.#contentsLeft);
    let isWhole = runs.length > 0;
    for (const { start, end } of runs) {
      for (let at = start; at < end; at += PAGE) {
        if (left-- <= 0) return { address: undefined, zero: undefined };
        this.#contentsLeft--;
        const { bytes, holes } = yield* memory.readPartial(at, Number(PAGE));
        if (holes.length > 0) isWhole = false;
        else if (bytes.some((byte) => byte !== 0)) return { address: at, zero: false };
      }
    }
    return { address: undefined, zero: isWhole ? true : undefined };
  }
}

/** Whether a program of 32 bits: its stack was set up where they have it. */
function isNarrow({ mmRaw }: Task): boolean {
  const { argStart } = mmRaw ?? {};
  return argStart !== undefined && argStart !== 0n && argStart < 1n << 32n;
}

/** Pages that may be executed and are in no range. */
function strays(runs: readonly PageRun[], ranges: readonly NamedVma[]): Suspect[] {
  const found: (Suspect & { end: bigint; readonly runs: PageRun[] })[] = [];
  const add = (run: PageRun, start: bigint, end: bigint) => {
    if (start >= end) return;
    const part = { ...run, start, end, physical: run.physical + Number(start - run.start) };
    const last = found.at(-1);
    const rights = `r${(run.rights & WRITABLE) === 0 ? "-" : "w"}x-`;
    if (last !== undefined && last.end === start && last.rights === rights) {
      last.end = end;
      last.runs.push(part);
      return;
    }
    const kinds: SuspicionKind[] = ["no range"];
    found.push({
      start,
      end,
      rights,
      path: undefined,
      kinds,
      runs: [part],
      modified: [],
      modifiedCount: 0,
      wrong: [],
    });
  };
  let i = 0;
  for (const run of runs) {
    if ((run.rights & USER) === 0 || (run.rights & USER_EXECUTABLE) === 0) continue;
    while (i < ranges.length && (ranges[i] as NamedVma).value.end <= run.start) i++;
    let at = run.start;
    for (let k = i; k < ranges.length && at < run.end; k++) {
      const { start, end } = (ranges[k] as NamedVma).value;
      if (start >= run.end) break;
      add(run, at, start);
      if (end > at) at = end;
    }
    add(run, at, run.end);
  }
  return found;
}
