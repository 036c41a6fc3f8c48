/**
 * Who traces whom (`ptrace`): what a debugger, `strace`, or something that hides has attached to.
 *
 * Facts: include/linux/ptrace.h (`PT_PTRACED` is bit 0 of `task_struct.ptrace`, `PT_SEIZED` bit 16), kernel/ptrace.c
 * (`__ptrace_link`: the tracer becomes the `parent`; `real_parent` stays). /proc/PID/status calls it `TracerPid`.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { int, record, text } from "../objects/record.js";
import { needTask, readTasks } from "./task.js";

const TRACER = record("task_struct", { pid: int("pid"), tgid: int("tgid"), comm: text("comm") });

const PTRACED = 0x1;
const SEIZED = 0x1_0000;

/** A thread that is traced, and who traces it. What could not be read is `undefined`. */
export interface Traced {
  /** The thread that is traced. */
  readonly pid: number | undefined;
  readonly tgid: number | undefined;
  readonly comm: string | undefined;
  readonly state: string | undefined;
  /** The thread that traces. */
  readonly tracer: number | undefined;
  readonly tracerTgid: number | undefined;
  readonly tracerComm: string | undefined;
  /** Attached by PTRACE_SEIZE, which does not stop it. */
  readonly seized: boolean;
}

/** Options of {@link listTraced}. */
export interface TracedOptions extends DamageOptions {
  /** Only threads of this process. */
  readonly pid?: number | undefined;
}

/** Every thread that is traced. */
export function listTraced(kernel: LinuxKernel, options: TracedOptions = {}): IoSequence<Traced> {
  return IoSequence.of(kernel.memory.scheduler, tracedRoutine, kernel, options);
}

function* tracedRoutine(sink: Sink<Traced>, kernel: LinuxKernel, options: TracedOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  // (Says that there is no such process, if so.)
  if (options.pid !== undefined) yield* needTask(data, options.pid, () => {});
  const tasks = yield* readTasks(data, { pid: options.pid, threads: true }, log.report);
  const traced = tasks.filter(({ raw }) => ((raw.ptrace ?? 0) & PTRACED) !== 0);
  const tracers = yield* readEach(
    data,
    TRACER,
    traced.map(({ raw }) => raw.tracer),
    "a tracer",
    log.report,
  );
  for (const [i, { pid, tgid, comm, state, raw }] of traced.entries()) {
    const tracer = tracers[i];
    yield sink.emit({
      pid,
      tgid,
      comm,
      state,
      tracer: tracer?.pid,
      tracerTgid: tracer?.tgid,
      tracerComm: tracer?.comm,
      seized: ((raw.ptrace ?? 0) & SEIZED) !== 0,
    });
  }
  log.end();
}
