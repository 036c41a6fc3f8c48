/**
 * A process as a core file: what `gcore` writes of one that runs, out of a memory dump.
 *
 * Facts: elf(5), core(5); fs/binfmt_elf.c (`elf_core_dump`); include/linux/sched.h (PF_IO_WORKER).
 */

import { type Fault, Io, IoSequence, MemtoolError, type Routine, type Sink } from "../../io/index.js";
import { encodeUtf8 } from "../../memory/text.js";
import { type Cpu, listCpus } from "../cpus/cpu.js";
import type { CpuRegisters } from "../cpus/cpu-states.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { MappedFiles } from "../pagecache/mapped-files.js";
import { readFloatingStates } from "../registers/floating-state.js";
import { readThreadStates, type UserRegisters } from "../registers/user-registers.js";
import { memoryOfTask, needTask, readTasks, type Task } from "../tasks/task.js";
import { readVmas } from "../tasks/vma.js";
import { type NamedVma, nameVmas } from "../tasks/vma-names.js";
import { abiOfProcess, type CoreAbi } from "./core-abi.js";
import { CoreLayout, type FilePiece } from "./core-layout.js";
import {
  type Backing,
  checkRange,
  clipped,
  holeReason,
  larger,
  type MemoryRange,
  type PieceOrigin,
  type PieceReceiver,
  readRanges,
} from "./memory-pieces.js";
import { coreNotes, type MappedFile, type NotedThread } from "./notes.js";
import { readProcessFacts } from "./process-facts.js";

/** Options of {@link readCore}. */
export interface CoreOptions extends DamageOptions {
  /** Registers of CPUs, as the dump's notes have them: `machine.image?.notes.cpus`. Of threads that were running, nothing else has them. */
  readonly registers?: readonly CpuRegisters[] | undefined;
  /** Only what of the process lies in these ranges; default: everything. */
  readonly ranges?: readonly MemoryRange[] | undefined;
  /**
   * Whether pages of mapped files that the process has not in its page tables are those that the kernel has cached of the files, as the
   * process would read them; default true. What is behind a file's end is none.
   */
  readonly pageCache?: boolean | undefined;
  /** Bytes of memory that are written at most: tables that repeat map more than there is. Default: 1 TiB. */
  readonly maxBytes?: number | undefined;
}

/** A thread of a core. */
export interface CoreThread {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly state: string | undefined;
  /** Address of its `task_struct`. */
  readonly address: bigint;
  /** `undefined` if they can't be read: the core lacks the thread. */
  readonly registers: UserRegisters | undefined;
  /** Whether its vector registers are in the core: of a thread that was running, they are in no dump. */
  readonly floating: boolean;
}

/** A mapped range of a core, or the part of it that was asked for. */
export interface CoreRange extends MemoryRange {
  /** As in /proc/PID/maps. */
  readonly path: string | undefined;
  /** PF_R is 4, PF_W 2, PF_X 1. */
  readonly flags: number;
}

/** A range, and what it maps. */
interface BackedRange extends CoreRange {
  /** Address of the `struct file`; 0n without one. */
  readonly file: bigint;
  /** Where in memory the file's first byte would be. */
  readonly origin: bigint;
}

/** What became of the memory. */
export interface CoreSummary {
  /** Bytes of the file. */
  readonly size: number;
  /** Segments with memory: one for each piece that has no holes. */
  readonly segments: number;
  /** Bytes of memory in them. */
  readonly bytes: number;
  /** Those of `bytes` that the process had not in its page tables: cached pages of files that it maps. */
  readonly cached: number;
  /**
   * Bytes of the ranges that are not in the file, by reason. `not-present`: no page was ever there, it was given back, or it is in a file
   * on the machine's disk only. The others
   * are missing in the dump: `swapped`, `excluded`, `excluded (user)`, `table-missing` …
   */
  readonly holes: ReadonlyMap<string, CoreHoles>;
}

/** Holes of one reason. */
export interface CoreHoles {
  readonly bytes: bigint;
  /** Where the first one begins. */
  readonly first: bigint;
}

/** A core that is ready to be written. Made by {@link readCore} and `Process.core()`. */
export class ProcessCore {
  /** The process's first thread. */
  readonly task: Task;
  /** In the order that a debugger numbers them; those without registers come last. */
  readonly threads: readonly CoreThread[];
  readonly ranges: readonly CoreRange[];
  readonly #parts: CoreParts;
  #summary: CoreSummary | undefined;

  /** Use {@link readCore}. @internal */
  constructor(parts: CoreParts) {
    this.#parts = parts;
    this.task = parts.leader;
    this.threads = parts.threads;
    this.ranges = parts.ranges;
  }

  /** Bytes of a pointer: 4 for a 32-bit program, of which the core is ELF32. */
  get pointerSize(): 4 | 8 {
    return this.#parts.abi.word;
  }

  /**
   * The file, piece by piece: each belongs at its offset, and the headers come last. What is never written is zeros, or nothing that
   * anybody reads. Memory is read as the pieces are asked for; the bytes of a piece are whoever's that takes it.
   *
   * @throws {MemtoolError} `TOO_MANY_RANGES`; `TOO_LARGE` for a 32-bit core of more than 4 GiB.
   */
  pieces(): IoSequence<FilePiece> {
    return IoSequence.of(
      this.#parts.kernel.memory.scheduler,
      piecesRoutine,
      this.#parts,
      (summary: CoreSummary) => {
        this.#summary = summary;
      },
    );
  }

  /** Once all {@link pieces} were taken. @throws {MemtoolError} `NOT_WRITTEN` before. */
  get summary(): CoreSummary {
    if (this.#summary === undefined)
      throw new MemtoolError("NOT_WRITTEN", "a core has a summary once all of its pieces were taken");
    return this.#summary;
  }
}

/** What a core is made of. @internal */
export interface CoreParts {
  readonly kernel: LinuxKernel;
  readonly leader: Task;
  /** A thread that has the address space: the first may have ended. */
  readonly owner: Task;
  readonly abi: CoreAbi;
  readonly threads: readonly CoreThread[];
  readonly ranges: readonly BackedRange[];
  readonly notes: Uint8Array;
  readonly pageSize: number;
  readonly maxBytes: number;
  readonly options: CoreOptions;
}

/**
 * Reads what a core file of a process says besides its memory: threads, registers, mapped files. Its `pieces()` are the file.
 *
 * A core is read by debuggers (`gdb PROGRAM CORE`) and by tools of ELF. Its holes are covered by no segment, so that gdb says that it
 * can't access them; but of a file's mapping, gdb then reads the file of that name on the machine that it runs on.
 *
 * @example
 * const core = await readCore(kernel, 97, { registers: machine.image?.notes.cpus });
 * for await (const { offset, bytes } of core.pieces()) writeSync(file, bytes, 0, bytes.length, offset);
 *
 * @throws {MemtoolError} `NO_PROCESS`; `NO_MEMORY` for kernel threads and zombies; `NOT_MAPPED` if none of the ranges is mapped;
 * `UNSUPPORTED` for 32-bit programs of another kernel than x86-64's. {RangeError} for ranges that are none.
 */
export function readCore(kernel: LinuxKernel, pid: number, options: CoreOptions = {}): Io<ProcessCore> {
  return Io.of(kernel.memory.scheduler, coreRoutine, kernel, pid, options);
}

/** A worker of io_uring: it has a process's memory, and never was in user mode. */
const IO_WORKER = 0x10;
const DEFAULT_MAX_BYTES = 2 ** 40;

function* coreRoutine(kernel: LinuxKernel, pid: number, options: CoreOptions): Routine<ProcessCore> {
  for (const range of options.ranges ?? []) checkRange(range);
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const leader = yield* needTask(data, pid, log.report);
  // (What is wrong with the process itself was told.)
  const all = yield* readTasks(data, { pid: leader.pid, threads: true }, () => {});
  const threads = all.filter(({ mm, raw }) => mm !== 0n && ((raw.flags ?? 0) & IO_WORKER) === 0);
  const owner = threads.find(({ root }) => root !== undefined);
  // (Says why there is none.)
  if (owner === undefined) memoryOfTask(kernel, leader);
  const parts = yield* readParts(data, leader, owner as Task, threads, options, log.report);
  log.end();
  return new ProcessCore(parts);
}

function* readParts(
  data: KernelData,
  leader: Task,
  owner: Task,
  tasks: readonly Task[],
  options: CoreOptions,
  report: OnDamage,
): Routine<CoreParts> {
  const { kernel } = data;
  const pageSize = kernel.vmcoreinfo.pageSize ?? 4096;
  const found = yield* readVmas(data, [owner], report);
  const vmas = (yield* nameVmas(data, found, report))[0] ?? [];
  const ranges = rangesOf(vmas, options.ranges, leader, pageSize);
  const cpus = yield* runningCpus(data, options, report);
  const states = yield* readThreadStates(data, tasks, cpus, report);
  const floating = yield* readFloatingStates(data, states, report);
  const facts = yield* readProcessFacts(data, { ...owner, raw: leader.raw }, tasks, report);
  const cs = states.find(({ registers }) => registers !== undefined)?.registers?.values.cs;
  const abi = abiOfProcess(kernel, facts.auxv, cs);
  const noted = tasks.flatMap((task, i): NotedThread[] => {
    const registers = states[i]?.registers;
    return registers === undefined
      ? []
      : [{ task, registers, facts: facts.tasks[i] ?? {}, floating: floating[i] }];
  });
  const files = fitting(
    vmas.flatMap(({ value: { start, end, pageOffset, file }, path }) =>
      file === 0n || path === undefined
        ? []
        : [{ start, end, path, offset: BigInt.asUintN(64, pageOffset * BigInt(pageSize)) }],
    ),
    abi.word,
    report,
  );
  const notes = coreNotes({ abi, leader, process: facts, threads: noted, files, pageSize });
  const threads = tasks.map(({ pid, comm, state, address }, i): CoreThread => {
    const { xstate, plain } = floating[i] ?? {};
    const hasFloating = xstate !== undefined || plain !== undefined;
    return { pid, comm, state, address, registers: states[i]?.registers, floating: hasFloating };
  });
  return {
    kernel,
    leader,
    owner,
    abi,
    threads: [...threads].sort(
      (a, b) => Number(a.registers === undefined) - Number(b.registers === undefined),
    ),
    ranges,
    notes,
    pageSize,
    maxBytes: options.maxBytes ?? DEFAULT_MAX_BYTES,
    options,
  };
}

/** The kernel's own cores have no NT_FILE beyond this (fs/binfmt_elf.c, MAX_FILE_NOTE_SIZE). */
const MAX_FILES_BYTES = 4 << 20;

/** As many mapped files as a note may name: the first ones. What is left out is told. @internal */
export function fitting(files: readonly MappedFile[], word: 4 | 8, report: OnDamage): readonly MappedFile[] {
  let size = 2 * word;
  const count = files.findIndex(({ path }) => {
    size += 3 * word + encodeUtf8(path).length + 1;
    return size > MAX_FILES_BYTES;
  });
  if (count < 0) return files;
  const more = `the core names ${count} of ${files.length} mapped files: no list of more than 4 MiB is one`;
  report(damage("the mapped files of the process", files[count]?.start ?? 0n, "too long", 0, more));
  return files.slice(0, count);
}

function rangesOf(
  vmas: readonly NamedVma[],
  wanted: readonly MemoryRange[] | undefined,
  leader: Task,
  pageSize: number,
): BackedRange[] {
  const all = vmas.map(({ value: { start, end, flags, file, pageOffset }, path }) => ({
    start,
    end,
    path,
    file,
    origin: start - pageOffset * BigInt(pageSize),
    // VM_READ is 1, VM_WRITE 2, VM_EXEC 4.
    flags: (flags & 1n ? 4 : 0) | (flags & 2n ? 2 : 0) | (flags & 4n ? 1 : 0),
  }));
  if (wanted === undefined) return all;
  const ranges = clipped(all, united(wanted));
  if (ranges.length > 0) return ranges;
  throw new MemtoolError(
    "NOT_MAPPED",
    `process ${leader.pid ?? "?"} (${leader.comm ?? "?"}) has nothing mapped there (memtool vmas --pid ${leader.pid ?? "?"} lists its ranges)`,
  );
}

/** Ranges ascending, none of which overlaps another. */
function united(ranges: readonly MemoryRange[]): MemoryRange[] {
  const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const found: { start: bigint; end: bigint }[] = [];
  for (const { start, end } of sorted) {
    const last = found.at(-1);
    if (last !== undefined && start <= last.end) last.end = larger(end, last.end);
    else found.push({ start, end });
  }
  return found;
}

/** CPUs that were running something, with their registers. (Of the rest that is known of CPUs, nothing is needed.) */
function* runningCpus(data: KernelData, { registers }: CoreOptions, report: OnDamage): Routine<Cpu[]> {
  return yield* listCpus(data.kernel, {
    registers,
    onDamage: (found) => {
      if (found.what === "the registers of CPUs" || found.what === "the current task of a CPU") report(found);
    },
  }).toArray();
}

function* piecesRoutine(
  sink: Sink<FilePiece>,
  parts: CoreParts,
  done: (summary: CoreSummary) => void,
): Routine<void> {
  const { abi, notes, ranges, pageSize, owner, kernel, maxBytes, options } = parts;
  const log = new DamageLog(options);
  const files =
    options.pageCache === false ? undefined : new MappedFiles(yield* kernelData(kernel), log.report);
  const backingOf = function* (index: number): Routine<Backing | undefined> {
    const { start, file: address, origin } = ranges[index] as BackedRange;
    const file = yield* (files as MappedFiles).of(address);
    return file === undefined ? undefined : { file, offset: start - origin };
  };
  const layout = new CoreLayout(abi, notes, ranges.length, pageSize);
  const taken = new Taken(sink, layout, ranges);
  yield* readRanges(memoryOfTask(kernel, owner), ranges, taken, maxBytes, log.report, files && backingOf);
  for (const piece of layout.finish()) yield sink.emit(piece);
  done({
    size: layout.size,
    segments: layout.segments,
    bytes: taken.count,
    cached: taken.cached,
    holes: taken.holes,
  });
  log.end();
}

/** Gives bytes their place in the file, and counts holes. */
class Taken implements PieceReceiver {
  count = 0;
  cached = 0;
  readonly holes = new Map<string, CoreHoles>();
  readonly #sink: Sink<FilePiece>;
  readonly #layout: CoreLayout;
  readonly #ranges: readonly CoreRange[];

  constructor(sink: Sink<FilePiece>, layout: CoreLayout, ranges: readonly CoreRange[]) {
    this.#sink = sink;
    this.#layout = layout;
    this.#ranges = ranges;
  }

  *bytes(index: number, address: bigint, bytes: Uint8Array, from: PieceOrigin): Routine<void> {
    const { flags } = this.#ranges[index] as CoreRange;
    const offset = this.#layout.place(index, address, bytes.length, flags);
    this.count += bytes.length;
    if (from === "cache") this.cached += bytes.length;
    yield this.#sink.emit({ offset, bytes });
  }

  hole(_index: number, address: bigint, length: bigint, fault: Fault | undefined): void {
    const reason = holeReason(fault);
    const { bytes, first } = this.holes.get(reason) ?? { bytes: 0n, first: address };
    this.holes.set(reason, { bytes: bytes + length, first });
  }
}
