/**
 * Everything in a kernel that carries a time, in one order.
 *
 * Facts: include/linux/sched.h (`start_boottime`; `sched_info.last_arrival`, with CONFIG_SCHED_INFO: when it was last given a CPU, by the
 * run queue's clock; `se.exec_start`), include/linux/bpf.h (`load_time`, by CLOCK_BOOTTIME), kernel/printk/printk.c (`local_clock` stamps
 * records), kernel/time/timekeeping.c.
 */
import { IoSequence, MemtoolError, type Routine, type Sink } from "../../io/index.js";
import { type BpfItem, listBpf } from "../bpf/bpf.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { listLog } from "../log/log.js";
import { DamageLog, type OnDamage } from "../objects/damage.js";
import { maybe, record, word } from "../objects/record.js";
import { listTasks } from "../tasks/task.js";
import { clocksOf, type KernelClocks, SECOND } from "../time/clocks.js";
import { listTimers } from "../time/timer.js";
import {
  TIMELINE_KINDS,
  type TimelineClock,
  type TimelineEntry,
  type TimelineKind,
  type TimelineOptions,
} from "./entry.js";
import { inodeTimes } from "./inode-times.js";

const RAN = record("task_struct", {
  ran: maybe(word("sched_info.last_arrival")),
  executed: maybe(word("se.exec_start")),
});

const DAY = 86_400n * SECOND;
const CENTURY = 36_525n * DAY;

/**
 * Everything that carries a time, the oldest first: when the kernel, its processes and threads, and BPF programs began, when threads last
 * ran, the kernel's log, the times of every file whose inode is in memory, timers (late ones; those to come with `future`), and what time
 * it is. Times that can't be true come last.
 *
 * A stamp of a clock that begins with the boot becomes a time of day by what the timekeeper says *now*: if the time of day was set since,
 * entries of those clocks move along with it, and those of files don't.
 *
 * @throws {MemtoolError} `NO_CLOCK` if nothing tells what time it is: stamps since boot then have no time of day.
 *
 * @example
 * for await (const { time, text } of listTimeline(kernel)) console.log(isoTime(time), text);
 */
export function listTimeline(kernel: LinuxKernel, options: TimelineOptions = {}): IoSequence<TimelineEntry> {
  return IoSequence.of(kernel.memory.scheduler, timelineRoutine, kernel, options);
}

function* timelineRoutine(
  sink: Sink<TimelineEntry>,
  kernel: LinuxKernel,
  options: TimelineOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const clocks = yield* clocksOf(data, log.report);
  if (clocks === undefined) {
    throw new MemtoolError(
      "NO_CLOCK",
      "nothing tells what time it is: the timekeeper (tk_core) is missing or damaged",
    );
  }
  const line = new Timeline(clocks, options);
  for (const [kinds, add] of PARTS) {
    if (!kinds.some((kind) => line.wants(kind))) continue;
    try {
      yield* add(line, data, log.report);
    } catch (error) {
      // What has no log, or no BPF, has other times.
      if (!(error instanceof MemtoolError)) throw error;
      options.onNote?.(`no times of ${kinds.join(", ")}: ${error.message}`);
    }
  }
  for (const entry of line.sorted()) yield sink.emit(entry);
  if (line.toCome > 0) options.onNote?.(`${line.toCome} timers that are still to expire are left out`);
  log.end();
}

/** Entries as they are found. */
class Timeline {
  readonly clocks: KernelClocks;
  /** Timers that were left out. */
  toCome = 0;
  readonly #options: TimelineOptions;
  readonly #entries: TimelineEntry[] = [];

  constructor(clocks: KernelClocks, options: TimelineOptions) {
    this.clocks = clocks;
    this.#options = options;
  }

  wants(kind: TimelineKind): boolean {
    return this.#options.kinds === undefined || this.#options.kinds.includes(kind);
  }

  add(
    kind: TimelineKind,
    clock: TimelineClock,
    stamp: bigint,
    text: string,
    more: { pid?: number | undefined; address?: bigint | undefined; doubt?: string | null } = {},
  ): void {
    const { since, until, future } = this.#options;
    if (!this.wants(kind)) return;
    const time = stamp + this.#offset(clock);
    if ((since !== undefined && time < since) || (until !== undefined && time >= until)) return;
    const { realtime } = this.clocks;
    if (kind === "timer" && time > realtime && future !== true) {
      this.toCome++;
      return;
    }
    const latest = realtime + (kind === "timer" ? CENTURY : DAY);
    const beyond = kind === "timer" ? "a century after now" : "more than a day after now";
    const doubt = more.doubt ?? (time < 0n ? "before 1970" : time > latest ? beyond : null);
    const { pid = null, address = null } = more;
    this.#entries.push({ time, kind, clock, stamp, text, pid, address, doubt });
  }

  #offset(clock: TimelineClock): bigint {
    const { realOffset, bootOffset, taiOffset } = this.clocks;
    if (clock === "realtime") return 0n;
    if (clock === "boottime") return realOffset - bootOffset;
    return clock === "tai" ? realOffset - taiOffset : realOffset;
  }

  sorted(): TimelineEntry[] {
    const rank = ({ kind }: TimelineEntry) => TIMELINE_KINDS.indexOf(kind);
    return this.#entries.sort((a, b) => {
      if ((a.doubt === null) !== (b.doubt === null)) return a.doubt === null ? -1 : 1;
      return a.time < b.time ? -1 : a.time > b.time ? 1 : rank(a) - rank(b);
    });
  }
}

type Part = (line: Timeline, data: KernelData, report: OnDamage) => Routine<void>;

const PARTS: readonly (readonly [readonly TimelineKind[], Part])[] = [
  [["boot", "now"], addNow],
  [["process", "thread", "run"], addTasks],
  [["log"], addLog],
  [["file"], addFiles],
  [["bpf"], addPrograms],
  [["timer"], addTimers],
];

// biome-ignore lint/correctness/useYield: as the others, which wait.
function* addNow(line: Timeline): Routine<void> {
  line.add("boot", "boottime", 0n, "the kernel's clocks began");
  line.add("now", "realtime", line.clocks.realtime, "the kernel's time, when it last set it forward");
}

function* addTasks(line: Timeline, data: KernelData, report: OnDamage): Routine<void> {
  const tasks = yield* listTasks(data.kernel, { threads: true, onDamage: report }).toArray();
  const rows = yield* RAN.on(data.types).read(
    data.memory,
    tasks.map(({ address }) => address),
  );
  for (const [i, { pid, tgid, name, address, raw, ppid, uid }] of tasks.entries()) {
    const shown = name ?? "?";
    const more = { pid, address };
    if (raw.start !== undefined) {
      if (pid === tgid) {
        const text = `process ${pid ?? "?"} (${shown}) began, of user ${uid ?? "?"}, child of ${ppid ?? "?"}`;
        line.add("process", "boottime", raw.start, text, more);
      } else
        line.add(
          "thread",
          "boottime",
          raw.start,
          `thread ${pid ?? "?"} (${shown}) of ${tgid ?? "?"} began`,
          more,
        );
    }
    const { ran, executed } = rows[i]?.partial ?? {};
    const last = ran ?? executed;
    // (What never ran has none.)
    if (last !== undefined && last !== 0n) {
      line.add("run", "scheduler", last, `thread ${pid ?? "?"} (${shown}) was last given a CPU`, more);
    }
  }
}

function* addLog(line: Timeline, { kernel }: KernelData, report: OnDamage): Routine<void> {
  const records = listLog(kernel, { onDamage: report }).cursor();
  try {
    for (;;) {
      const next = yield* records.next();
      if (next.done === true) return;
      const { nanoseconds, text, caller } = next.value;
      const pid = caller?.startsWith("T") === true ? Number(caller.slice(1)) : undefined;
      line.add("log", "scheduler", nanoseconds, text, { pid });
    }
  } finally {
    yield* records.end();
  }
}

function* addFiles(line: Timeline, data: KernelData, report: OnDamage): Routine<void> {
  yield* inodeTimes(data, report, ({ address, time, what, name, isInvalid }) => {
    line.add("file", "realtime", time, `${what.join(", ")}: ${name}`, {
      address,
      doubt: isInvalid ? "its nanoseconds are more than a second" : null,
    });
  });
}

function* addPrograms(line: Timeline, { kernel }: KernelData, report: OnDamage): Routine<void> {
  const items: BpfItem[] = yield* listBpf(kernel, { onDamage: report }).toArray();
  for (const item of items) {
    if (item.kind !== "program" || item.loadedNanoseconds === undefined) continue;
    const text = `BPF program ${item.id} (${item.name ?? "?"}, ${item.type ?? "?"}) was loaded by user ${item.uid ?? "?"}`;
    line.add("bpf", "boottime", item.loadedNanoseconds, text, { address: item.address });
  }
}

const CLOCKS: Readonly<Record<string, TimelineClock>> = {
  monotonic: "monotonic",
  realtime: "realtime",
  boottime: "boottime",
  tai: "tai",
};

/** High-resolution timers: those of the wheel have jiffies. */
function* addTimers(line: Timeline, { kernel }: KernelData, report: OnDamage): Routine<void> {
  for (const timer of yield* listTimers(kernel, { onDamage: report }).toArray()) {
    const clock = CLOCKS[timer.clock];
    if (timer.kind !== "high-resolution" || clock === undefined || timer.expires === undefined) continue;
    const whose = typeof timer.pid === "number" ? ` for ${timer.pid} (${timer.comm ?? "?"})` : "";
    const text = `a timer expires: ${timer.function ?? "?"}${whose}`;
    line.add("timer", clock, BigInt.asIntN(64, timer.expires), text, {
      pid: timer.pid ?? undefined,
      address: timer.address,
    });
  }
}
