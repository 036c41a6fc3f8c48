/**
 * Command lines and environments of processes, out of their own memory.
 *
 * Facts: fs/proc/base.c (`get_mm_cmdline`, `get_mm_proctitle`, `environ_read`): a command line is what lies from `arg_start` to
 * `arg_end`; if its last byte is no NUL, the process wrote a title there, which ends at its first NUL, and may go on where
 * the environment was.
 */
import { Io, type Routine } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { textAt } from "../objects/record.js";
import { memoryOfTask, type Task } from "./task.js";

/** Bytes that are read at most of either: the kernel allows a quarter of the stack, 2 MiB by default, 6 MiB at most (fs/exec.c). */
const MAX_BYTES = 6 << 20;

/** More strings than that are cut off: 2 MiB, the most by default, hold no more that aren't empty. */
const MAX_STRINGS = 1 << 20;

/** The strings that a process was started with. */
export interface ProcessStrings {
  /** Its arguments; or one string, where it wrote a title over them. */
  readonly args: readonly string[];
  /** Whether a part could not be read: what is missing in the strings is left out. */
  readonly partial: boolean;
}

/** The command line of a process; `undefined` for what has none (kernel threads, zombies). */
export function readArguments(
  kernel: LinuxKernel,
  task: Task,
  options: DamageOptions = {},
): Io<ProcessStrings | undefined> {
  return Io.of(kernel.memory.scheduler, stringsRoutine, kernel, task, "arguments" as const, options);
}

/** The environment that a process was started with (`NAME=value`); `undefined` for what has none. */
export function readEnvironment(
  kernel: LinuxKernel,
  task: Task,
  options: DamageOptions = {},
): Io<ProcessStrings | undefined> {
  return Io.of(kernel.memory.scheduler, stringsRoutine, kernel, task, "environment" as const, options);
}

function* stringsRoutine(
  kernel: LinuxKernel,
  task: Task,
  which: "arguments" | "environment",
  options: DamageOptions,
): Routine<ProcessStrings | undefined> {
  // (What is missing is told by `partial` too.)
  return yield* stringsOf(kernel, task, which, options.onDamage ?? (() => {}));
}

/** The routine of both. @internal */
export function* stringsOf(
  kernel: LinuxKernel,
  task: Task,
  which: "arguments" | "environment",
  report: OnDamage,
): Routine<ProcessStrings | undefined> {
  const { mmRaw: mm } = task;
  if (mm === undefined || task.root === undefined) return undefined;
  const [start, end] = which === "arguments" ? [mm.argStart, mm.argEnd] : [mm.envStart, mm.envEnd];
  if (start === undefined || end === undefined) return undefined;
  const read = yield* readRange(kernel, task, start, end, which, report);
  if (read === undefined) return undefined;
  if (which === "environment") return { args: split(read.bytes), partial: read.partial };
  return yield* argumentsIn(kernel, task, read, report);
}

interface Read {
  /** What could be read, without what could not. */
  readonly bytes: Uint8Array;
  readonly partial: boolean;
  readonly endsWithNul: boolean;
}

function* argumentsIn(
  kernel: LinuxKernel,
  task: Task,
  read: Read,
  report: OnDamage,
): Routine<ProcessStrings> {
  const { bytes, partial } = read;
  const { argEnd, envStart, envEnd } = task.mmRaw as NonNullable<Task["mmRaw"]>;
  if (read.endsWithNul || bytes.length === 0) return { args: split(bytes), partial };
  const nul = bytes.indexOf(0);
  if (nul >= 0) return { args: [textAt(bytes, 0, nul)], partial };
  // A title that goes on in what was the environment.
  if (envStart === undefined || envEnd === undefined || envStart !== argEnd)
    return { args: [textAt(bytes, 0, bytes.length)], partial };
  const rest = yield* readRange(kernel, task, envStart, envEnd, "arguments", report);
  const more = rest === undefined ? "" : textAt(rest.bytes, 0, rest.bytes.length);
  return { args: [textAt(bytes, 0, bytes.length) + more], partial: partial || rest?.partial === true };
}

function* readRange(
  kernel: LinuxKernel,
  task: Task,
  start: bigint,
  end: bigint,
  which: string,
  report: OnDamage,
): Routine<Read | undefined> {
  const what = `${which} of process ${task.pid ?? "?"}`;
  const length = Number(end - start);
  if (length === 0) return { bytes: new Uint8Array(0), partial: false, endsWithNul: true };
  if (length < 0 || length > MAX_BYTES) {
    report(damage(what, start, "invalid", 0, `${length} bytes can't be (at most ${MAX_BYTES})`));
    return undefined;
  }
  const { bytes, holes } = yield* memoryOfTask(kernel, task).readPartial(start, length);
  if (holes.length === 0) return { bytes, partial: false, endsWithNul: bytes[length - 1] === 0 };
  const kept: number[] = [];
  let at = 0;
  for (const hole of holes) {
    report(damage(what, start + BigInt(hole.start), "unreadable", hole.fault));
    for (; at < hole.start; at++) kept.push(bytes[at] as number);
    at = hole.end;
  }
  for (; at < length; at++) kept.push(bytes[at] as number);
  const lastIsGood = (holes.at(-1)?.end ?? 0) < length;
  return { bytes: Uint8Array.from(kept), partial: true, endsWithNul: !lastIsGood || bytes[length - 1] === 0 };
}

/** Strings that each end with a NUL; the last one's may be missing. */
function split(bytes: Uint8Array): string[] {
  const found: string[] = [];
  for (let at = 0; at < bytes.length && found.length < MAX_STRINGS; ) {
    const nul = bytes.indexOf(0, at);
    const end = nul < 0 ? bytes.length : nul;
    found.push(textAt(bytes, at, end));
    at = end + 1;
  }
  return found;
}
