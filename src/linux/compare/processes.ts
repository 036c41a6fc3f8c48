/** Which processes appeared, are gone, or are not what they were. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { PathResolver, shownPath } from "../files/path.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, record, word } from "../objects/record.js";
import type { Task } from "../tasks/task.js";
import { type CompareOptions, compareLists, type Difference, onSide } from "./difference.js";
import { KernelPair } from "./pair.js";

const MM = record("mm_struct", { exe: maybe(word("exe_file")) });
const FILE = record("file", { mount: word("f_path.mnt"), dentry: word("f_path.dentry") });
const SIGNAL = record("signal_struct", { threads: maybe(int("nr_threads")) });

/**
 * Processes that appeared, are gone, or changed: their state, users, name, program, parent, number of threads. A process is known by
 * its number and when it began; in two boots, by its name.
 *
 * @example
 * for await (const { change, what } of diffProcesses(before, after)) console.log(change, what);
 */
export function diffProcesses(
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions = {},
): IoSequence<Difference<Task>> {
  return IoSequence.of(before.memory.scheduler, processesRoutine, before, after, options);
}

function* processesRoutine(
  sink: Sink<Difference<Task>>,
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions,
): Routine<void> {
  const pair = yield* KernelPair.of(before, after, options);
  yield* processesOf(sink, pair);
  pair.damage.end();
}

/** @internal */
export function* processesOf(sink: Sink<Difference<Task>>, pair: KernelPair): Routine<void> {
  const [first, second] = yield* pair.tasks();
  const [before, after] = pair.kernels;
  const facts = {
    before: yield* onSide("first", factsOf(before, first.items, pair.damage.of("first"))),
    after: yield* onSide("second", factsOf(after, second.items, pair.damage.of("second"))),
  };
  const differences = compareLists(
    first,
    second,
    {
      kind: "process",
      key: (task) => pair.processKey(task),
      what: ({ name, comm }) => name ?? comm ?? "?",
      pid: ({ pid }) => pid,
      fields: (task, side) => {
        const { exe, threads } = facts[side].get(task) ?? {};
        const { comm, uid, gid, raw } = task;
        const lasting = { comm, exe, uid, gid };
        if (!pair.sameBoot) return lasting;
        const { state, ppid } = task;
        return {
          state,
          ppid,
          ...lasting,
          traced: raw.ptrace === undefined ? undefined : raw.ptrace !== 0,
          threads,
        };
      },
    },
    pair.options.onPart,
  );
  for (const each of differences) yield sink.emit(each);
}

interface Facts {
  /** null for what runs no program. */
  readonly exe: string | null | undefined;
  readonly threads: number | undefined;
}

/** What is compared beside what a task says. */
function* factsOf(
  kernel: LinuxKernel,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<ReadonlyMap<Task, Facts>> {
  const data = yield* kernelData(kernel);
  const mms = yield* readEach(
    data,
    MM,
    tasks.map(({ mm }) => mm),
    "an mm_struct",
    report,
  );
  const files = yield* readEach(
    data,
    FILE,
    mms.map((mm) => mm?.exe),
    "a file",
    report,
  );
  const pairs = files.map((file) => ({ mount: file?.mount ?? 0n, dentry: file?.dentry ?? 0n }));
  const paths = yield* new PathResolver(data, report).locate(pairs);
  const signals = yield* readEach(
    data,
    SIGNAL,
    tasks.map(({ raw }) => raw.signal),
    "a signal_struct",
    report,
  );
  return new Map(
    tasks.map((task, i) => {
      const path = paths[i];
      const isNone = task.mm === 0n || mms[i]?.exe === 0n;
      const exe = isNone ? null : path === undefined ? undefined : shownPath(path);
      return [task, { exe, threads: signals[i]?.threads }];
    }),
  );
}
