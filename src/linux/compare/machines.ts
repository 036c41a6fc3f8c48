/** Everything that changed between two machines: each list in its turn. */
import { IoSequence, MemtoolError, type Routine, type Sink } from "../../io/index.js";
import { type ComparedRange, compareMemory } from "../../memory/index.js";
import type { PhysicalMemory } from "../../memory/physical-memory.js";
import type { OpenFile } from "../files/file.js";
import type { LinuxKernel } from "../kernel.js";
import type { LoadedModule } from "../modules/module.js";
import type { Mount } from "../mounts/mount.js";
import type { KernelSocket } from "../net/socket.js";
import type { Task } from "../tasks/task.js";
import { type BootComparison, bootsRoutine } from "./boots.js";
import { type ChangedFile, cachedFilesOf } from "./cached-files.js";
import type { CompareOptions, Difference, DifferenceKind } from "./difference.js";
import { filesOf } from "./files.js";
import { modulesOf } from "./modules.js";
import { mountsOf } from "./mounts.js";
import { KernelPair } from "./pair.js";
import { processesOf } from "./processes.js";
import { socketsOf } from "./sockets.js";
import { type ChangedText, textOf } from "./text.js";

/** What {@link diffMachines} compares, in its order. `pages` are those of physical memory and those of cached files. */
export const COMPARED = ["processes", "modules", "files", "sockets", "mounts", "text", "pages"] as const;

/** One of {@link COMPARED}. */
export type ComparedName = (typeof COMPARED)[number];

/** A machine as `open` gives it: its kernel, its physical memory. */
export interface ComparedMachine {
  readonly kernel: LinuxKernel | undefined;
  readonly physical: PhysicalMemory | undefined;
}

/** Any of the differences. */
export type MachineDifference =
  | Difference<Task>
  | Difference<LoadedModule>
  | Difference<OpenFile>
  | Difference<KernelSocket>
  | Difference<Mount>
  | Difference<ChangedText>
  | Difference<ChangedFile>
  | Difference<ComparedRange>;

/** Options of {@link diffMachines}. */
export interface DiffMachinesOptions extends CompareOptions {
  /** What to compare; default everything. */
  readonly only?: readonly ComparedName[] | undefined;
  /** Each range of physical memory that differs, rather than one sum for each way to differ; default false. */
  readonly pages?: boolean | undefined;
  /** Is told first how the two are related. */
  readonly onBoots?: ((boots: BootComparison) => void) | undefined;
  /** Progress of the comparison of physical memory, in bytes. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * What changed from one machine to another, which may be two dumps of one, or a dump and a live target: processes, modules, open
 * files, sockets, mounts, the text of kernel and modules, pages by file and by physical address. What is missing in one is not compared.
 *
 * @throws {MemtoolError} `NO_KERNEL` if anything but pages is to be compared, and one has no kernel; `NO_PHYSICAL` without physical memory.
 *
 * @example
 * for await (const { kind, change, what } of diffMachines(before, after)) console.log(kind, change, what);
 */
export function diffMachines(
  before: ComparedMachine,
  after: ComparedMachine,
  options: DiffMachinesOptions = {},
): IoSequence<MachineDifference> {
  const scheduler = (before.physical ?? before.kernel?.memory)?.scheduler;
  if (scheduler === undefined)
    throw new MemtoolError("NO_PHYSICAL", "the first target has no physical memory");
  return IoSequence.of(scheduler, machinesRoutine, before, after, options);
}

function* machinesRoutine(
  sink: Sink<MachineDifference>,
  before: ComparedMachine,
  after: ComparedMachine,
  options: DiffMachinesOptions,
): Routine<void> {
  const only = options.only ?? COMPARED;
  const { kernel: first } = before;
  const { kernel: second } = after;
  const needsKernel = only.some((name) => name !== "pages");
  if ((first === undefined || second === undefined) && needsKernel) {
    const side = first === undefined ? "first" : "second";
    throw new MemtoolError(
      "NO_KERNEL",
      `no kernel was found in the ${side} target: only pages can be compared`,
    );
  }
  let pair: KernelPair | undefined;
  if (first !== undefined && second !== undefined) {
    const boots = yield* bootsRoutine(first, second);
    options.onBoots?.(boots);
    const sameBoot = options.sameBoot ?? boots.sameBoot === true;
    pair = yield* KernelPair.of(first, second, { ...options, sameBoot });
    for (const name of COMPARED) {
      if (only.includes(name)) yield* attempt(name, options, PARTS[name], sink, pair);
    }
  }
  if (only.includes("pages")) yield* pagesOf(sink, before, after, options);
  pair?.damage.end();
}

type Part = (sink: Sink<MachineDifference>, pair: KernelPair) => Routine<void>;

const PARTS: Readonly<Record<ComparedName, Part>> = {
  processes: processesOf as Part,
  modules: modulesOf as Part,
  files: filesOf as Part,
  sockets: socketsOf as Part,
  mounts: mountsOf as Part,
  text: textOf as Part,
  pages: cachedFilesOf as Part,
};

const KINDS: Readonly<Record<ComparedName, DifferenceKind>> = {
  processes: "process",
  modules: "module",
  files: "file",
  sockets: "socket",
  mounts: "mount",
  text: "text",
  pages: "cached-file",
};

/** A list that one of the kernels can't give takes none of the others along. */
function* attempt(
  name: ComparedName,
  { onPart }: DiffMachinesOptions,
  part: Part,
  sink: Sink<MachineDifference>,
  pair: KernelPair,
): Routine<void> {
  try {
    yield* part(sink, pair);
  } catch (error) {
    if (!(error instanceof MemtoolError) || onPart === undefined) throw error;
    onPart({ kind: KINDS[name], compared: 0, notCompared: 0, why: error.message });
  }
}

/** Pages by their physical address. */
function* pagesOf(
  sink: Sink<MachineDifference>,
  before: ComparedMachine,
  after: ComparedMachine,
  { pages: each = false, onProgress, onPart }: DiffMachinesOptions,
): Routine<void> {
  const { physical: first } = before;
  const { physical: second } = after;
  if (first === undefined || second === undefined) {
    const side = first === undefined ? "first" : "second";
    throw new MemtoolError(
      "NO_PHYSICAL",
      `the ${side} target has no physical memory: pages can't be compared`,
    );
  }
  const sums = { changed: 0, before: 0, after: 0, neither: 0 };
  let same = 0;
  const ranges = compareMemory(first, second, {
    onProgress,
    onSame: (count) => {
      same = count;
    },
  }).cursor();
  try {
    for (;;) {
      const next = yield* ranges.next();
      if (next.done === true) break;
      const range = next.value;
      sums[range.state] += range.pages;
      if (each && range.state !== "neither") yield sink.emit(ofRange(range));
    }
  } finally {
    yield* ranges.end();
  }
  if (!each && sums.changed > 0) yield sink.emit(ofSum(sums.changed));
  const missing = sums.before + sums.after + sums.neither;
  const parts = [
    ...(sums.before > 0 ? [`${sums.before} are only in the first`] : []),
    ...(sums.after > 0 ? [`${sums.after} only in the second`] : []),
    ...(sums.neither > 0 ? [`${sums.neither} can be read in neither`] : []),
  ];
  onPart?.({ kind: "pages", compared: same + sums.changed, notCompared: missing, why: parts.join(", ") });
}

function ofRange(range: ComparedRange): Difference<ComparedRange> {
  const { start, end, state, pages } = range;
  return {
    kind: "pages",
    change: state === "changed" ? "changed" : "not-compared",
    what: `0x${start.toString(16)}-0x${end.toString(16)}: ${countOf(pages)}`,
    pid: null,
    before: state === "after" ? undefined : range,
    after: state === "before" ? undefined : range,
    fields: [],
    note: state === "changed" ? null : `only the ${state === "before" ? "first" : "second"} has it`,
  };
}

function ofSum(pages: number): Difference<ComparedRange> {
  return {
    kind: "pages",
    change: "changed",
    what: `${countOf(pages)} of physical memory`,
    pid: null,
    before: undefined,
    after: undefined,
    fields: [],
    note: null,
  };
}

function countOf(pages: number): string {
  return pages === 1 ? "1 page" : `${pages} pages`;
}
