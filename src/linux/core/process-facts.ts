/**
 * What the notes of a core file tell of a process and its threads, besides registers.
 *
 * Facts: fs/binfmt_elf.c (`fill_prstatus`, `fill_psinfo`, `fill_auxv_note`), include/linux/sched/signal.h (`signal_struct.pids`, by
 * `enum pid_type`), include/linux/mm_types.h (`saved_auxv`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, raw, record, type Values, word } from "../objects/record.js";
import { readNumbers } from "../tasks/inner-numbers.js";
import { memoryOfTask, type Task } from "../tasks/task.js";

const TASK = record("task_struct", {
  comm: raw("comm"),
  flags: maybe(word("flags")),
  priority: maybe(int("static_prio")),
  pending: maybe(word("pending.signal.sig[0]")),
  blocked: maybe(word("blocked.sig[0]")),
  userTime: maybe(word("utime")),
  systemTime: maybe(word("stime")),
});

const SIGNAL = record("signal_struct", {
  // Since 4.19 (2c4704756cab); PIDTYPE_PGID is 2, PIDTYPE_SID 3.
  group: maybe(word("pids[2]")),
  session: maybe(word("pids[3]")),
  exitCode: maybe(int("group_exit_code")),
});

const MM = record("mm_struct", { auxv: raw("saved_auxv") });

/** @internal */
export type TaskFacts = Partial<Values<typeof TASK.fields>>;

/** See the module's comment. @internal */
export interface ProcessFacts {
  /** One for each thread. */
  readonly tasks: readonly TaskFacts[];
  /** Numbers of its process group and session, in the first namespace. */
  readonly group: number | undefined;
  readonly session: number | undefined;
  /** The signal that it is ending with; 0 for none. */
  readonly signal: number;
  /** The auxiliary vector's bytes, as they are kept. */
  readonly auxv: Uint8Array | undefined;
  /** The beginning of its command line, as `ps` shows it: at most 79 bytes. */
  readonly commandLine: Uint8Array;
}

/** `pr_psargs` has 80 bytes, with a NUL. */
const MAX_COMMAND_LINE = 79;

/** @internal */
export function* readProcessFacts(
  data: KernelData,
  leader: Task,
  threads: readonly Task[],
  report: OnDamage,
): Routine<ProcessFacts> {
  const rows = yield* TASK.on(data.types).read(
    data.memory,
    threads.map(({ address }) => address),
  );
  const [signal] = yield* readEach(data, SIGNAL, [leader.raw.signal], "a signal_struct", report);
  const [mm] = yield* readEach(data, MM, [leader.mm], "an mm_struct", report);
  const [group, session] = yield* readNumbers(data, [signal?.group, signal?.session], report);
  return {
    tasks: rows.map(({ partial }) => partial),
    group: group?.[0],
    session: session?.[0],
    signal: (signal?.exitCode ?? 0) & 0x7f,
    auxv: mm?.auxv,
    commandLine: yield* readCommandLine(data, leader, report),
  };
}

function* readCommandLine({ kernel }: KernelData, leader: Task, report: OnDamage): Routine<Uint8Array> {
  const { argStart, argEnd } = leader.mmRaw ?? {};
  if (argStart === undefined || argEnd === undefined || argEnd <= argStart || leader.root === undefined)
    return new Uint8Array(0);
  const length = argEnd - argStart < BigInt(MAX_COMMAND_LINE) ? Number(argEnd - argStart) : MAX_COMMAND_LINE;
  const { bytes, holes } = yield* memoryOfTask(kernel, leader).readPartial(argStart, length);
  const hole = holes[0];
  if (hole !== undefined)
    report(
      damage("the command line of the process", argStart + BigInt(hole.start), "unreadable", hole.fault),
    );
  // What separates arguments is shown as a space, as the kernel does.
  return bytes.slice(0, hole?.start ?? length).map((byte) => (byte === 0 ? 0x20 : byte));
}
