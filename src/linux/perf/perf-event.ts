/**
 * Perf events: what perf_event_open(2) and the kernel itself count and sample, and what runs when they occur.
 *
 * Facts: include/linux/perf_event.h (`struct perf_event`, `enum perf_event_state`), include/uapi/linux/perf_event.h (`perf_event_attr`),
 * kernel/events/core.c (`perf_event_exit_task`, `perf_event_create_kernel_counter`: TASK_TOMBSTONE is the owner of the kernel's own).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { FileHolder } from "../files/file-holders.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { CodeOwners } from "../modules/code-owner.js";
import { DamageLog, type DamageOptions, type OnDamage, once } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, maybe, record, text, type Values, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { needTasks, readTasks, type Task } from "../tasks/task.js";
import { constantName } from "../types/constant-name.js";
import { TypesError } from "../types/type-table.js";
import { traceEventNames } from "./event-names.js";
import { type FoundEvent, findEvents, type PerfEventSource } from "./find-events.js";
import { BREAKPOINT, breakpointName, perfEventName, perfTypeName, SOFTWARE } from "./names.js";

const EVENT = record("perf_event", {
  id: int("id"),
  pmu: word("pmu"),
  leader: word("group_leader"),
  state: int("state"),
  count: word("count.a.a.counter", "count.a.counter", "count.counter"),
  childCount: word("child_count.counter"),
  // What was asked for, where the kernel put the number of a PMU in its place.
  type: int("orig_type", "attr.type"),
  config: word("attr.config"),
  period: word("attr.sample_period"),
  isFrequency: int("attr.freq"),
  inherit: int("attr.inherit"),
  pinned: int("attr.pinned"),
  excludeUser: int("attr.exclude_user"),
  excludeKernel: int("attr.exclude_kernel"),
  excludeHypervisor: int("attr.exclude_hv"),
  excludeIdle: int("attr.exclude_idle"),
  excludeHost: int("attr.exclude_host"),
  excludeGuest: int("attr.exclude_guest"),
  breakKind: int("attr.bp_type"),
  breakAddress: word("attr.bp_addr"),
  breakLength: word("attr.bp_len"),
  context: word("ctx"),
  parent: word("parent"),
  cpu: int("cpu"),
  owner: word("owner"),
  handler: word("overflow_handler"),
  call: maybe(word("tp_event")),
  program: maybe(word("prog")),
});
const CONTEXT = record("perf_event_context", { task: word("task") });
const PMU = record("pmu", { name: word("name"), type: int("type") });
const PROGRAM = record("bpf_prog", { aux: word("aux") });
const AUX = record("bpf_prog_aux", { id: int("id"), name: maybe(text("name")) });

/** A thread that an event is about, or that opened it. */
export interface PerfTask {
  /** The thread's own number. */
  readonly pid: number | undefined;
  /** The process's number. */
  readonly tgid: number | undefined;
  readonly comm: string | undefined;
}

/** A perf event. What could not be read of it is `undefined`; what it has not is `null`. */
export interface PerfEvent {
  /** Address of its `struct perf_event`. */
  readonly address: bigint;
  /** Its number, which samples carry and PERF_EVENT_IOC_ID tells; of one that was inherited, its own. */
  readonly id: number | undefined;
  /** "hardware", "software", "tracepoint", "hw-cache", "raw", "breakpoint"; else the name of the PMU that has this number, or the number. */
  readonly type: string | undefined;
  readonly config: bigint | undefined;
  /** What it counts, as perf-list(1) calls it: "cpu-clock", "sched:sched_switch", "mem:0x4d5330/4:w"; `null` for a number without a name. */
  readonly name: string | null | undefined;
  /** The PMU that counts: its name, or the symbol of one without. */
  readonly pmu: string | undefined;
  /** "active": it counts; "inactive": it will, when what it is about runs; "off"; "error", "exit", "dead". */
  readonly state: string | undefined;
  /** The thread that it is about; `null` for one of a CPU, whatever runs there, and where that thread has ended. */
  readonly target: PerfTask | null | undefined;
  /** The CPU that it is about; -1 for any. */
  readonly cpu: number | undefined;
  /** The thread that opened it; `null` where that has ended, and for what was inherited or is the kernel's own. */
  readonly owner: PerfTask | null | undefined;
  /** Whether the kernel itself made it (a watchdog, a driver, a module). */
  readonly isKernels: boolean | undefined;
  /** Who has it open. */
  readonly holders: readonly FileHolder[];
  /** What was counted when that was last written down: what counts is ahead of it. Of those who inherited it, what had ended. */
  readonly count: bigint | undefined;
  /** Occurrences from a sample to the next; 0 where it only counts; `null` where it is to sample so many times a second. */
  readonly period: bigint | null | undefined;
  /** Samples a second; `null` where it has a period. */
  readonly frequency: bigint | null | undefined;
  /** What is left out: "user", "kernel", "hypervisor", "idle", "host", "guest". */
  readonly excludes: readonly string[];
  /** Whether children that are forked have it too. */
  readonly inherit: boolean | undefined;
  /** Whether it must count whenever what it is about runs. */
  readonly pinned: boolean | undefined;
  /** The first of its group; `null` for itself. */
  readonly leader: bigint | null | undefined;
  /** The event that it was inherited from. */
  readonly parent: bigint | null | undefined;
  /** Address of what is called for a sample; 0n for nothing. */
  readonly handler: bigint | undefined;
  /** The symbol of that, with an offset ("+0x10") if none begins there; `null` for nothing, `undefined` if none is near. */
  readonly handlerName: string | null | undefined;
  /** Whose code that is: a module's name, "bpf", `null` for the kernel's own or nothing; `undefined` if nobody that is listed owns it. */
  readonly handlerOwner: string | null | undefined;
  /** The BPF program that runs when it occurs. */
  readonly program: { readonly id: number | undefined; readonly name: string | undefined } | null | undefined;
  /** How it was found. */
  readonly seen: readonly PerfEventSource[];
}

/** Options of {@link listPerfEvents}. */
export interface PerfEventOptions extends DamageOptions {
  /** Only those that are about the process of this number or one of its threads, that it opened, or that it has open. */
  readonly pid?: number | undefined;
}

/**
 * Every perf event: of every task and CPU, on the lists of those who opened them, and behind open files; each once, by number.
 *
 * @throws {TypesError} `NO_TYPE` for a kernel without them (CONFIG_PERF_EVENTS).
 */
export function listPerfEvents(kernel: LinuxKernel, options: PerfEventOptions = {}): IoSequence<PerfEvent> {
  return IoSequence.of(kernel.memory.scheduler, eventsRoutine, kernel, options);
}

function* eventsRoutine(
  sink: Sink<PerfEvent>,
  kernel: LinuxKernel,
  options: PerfEventOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  if (!hasStruct(data.types, "perf_event")) {
    throw new TypesError("NO_TYPE", "perf_event", "this kernel has no perf events (CONFIG_PERF_EVENTS)");
  }
  const report = once(log.report);
  const { pid } = options;
  const [process] = pid === undefined ? [] : yield* needTasks(data, pid, report);
  const tasks = yield* readTasks(data, { threads: true }, report);
  const found = yield* findEvents(data, tasks, report);
  const events = yield* readEvents(data, found, tasks, report);
  events.sort((a, b) => (a.id ?? 0) - (b.id ?? 0));
  for (const event of events) {
    if (process === undefined || concerns(event, process)) yield sink.emit(event);
  }
  log.end();
}

function concerns({ target, owner, holders }: PerfEvent, { tgid, pid }: Task): boolean {
  const own = tgid ?? pid;
  return target?.tgid === own || owner?.tgid === own || holders.some((holder) => holder.pid === own);
}

function* readEvents(
  data: KernelData,
  found: ReadonlyMap<bigint, FoundEvent>,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<PerfEvent[]> {
  const { memory } = data;
  const addresses = [...found.keys()];
  const rows = yield* readEach(data, EVENT, addresses, "a perf event", report);
  const column = (of: (row: Partial<Fields>) => bigint | undefined) => rows.map((row) => row && of(row));
  const contexts = yield* readEach(
    data,
    CONTEXT,
    column(({ context }) => context),
    "a perf_event_context",
    report,
  );
  const pmus = yield* readEach(
    data,
    PMU,
    column(({ pmu }) => pmu),
    "a PMU",
    report,
  );
  const names = yield* readStrings(
    memory,
    pmus.map((pmu) => pmu?.name),
    "the name of a PMU",
    report,
    256,
  );
  const calls = yield* traceEventNames(
    data,
    column(({ call }) => call),
  );
  const pointers = column(({ program }) => program);
  const hasPrograms = pointers.some((each) => each !== undefined && each !== 0n);
  const programs = hasPrograms ? yield* readEach(data, PROGRAM, pointers, "a BPF program", report) : [];
  const auxes = hasPrograms
    ? yield* readEach(
        data,
        AUX,
        programs.map((program) => program?.aux),
        "a BPF program",
        report,
      )
    : [];
  const byAddress = new Map(tasks.map((task) => [task.address, task]));
  const handlers = new Handlers(data, yield* CodeOwners.read(data, report));
  const none = 2n ** BigInt(8 * memory.pointerSize) - 1n;
  const events: PerfEvent[] = [];
  for (const [i, address] of addresses.entries()) {
    const { sources, holders } = found.get(address) as FoundEvent;
    const row = rows[i] ?? {};
    const pmu = pmus[i];
    const symbol = pmu?.name === 0n ? yield* data.kernel.nameOf(row.pmu as bigint) : undefined;
    const pmuName = names[i] ?? (symbol?.offset === 0n ? symbol.name : undefined);
    const { config, period, isFrequency } = row;
    const type = askedFor(row.type, pmuName);
    const isFirst = row.leader === address;
    events.push({
      address,
      id: row.id,
      type:
        type === undefined
          ? undefined
          : (perfTypeName(type) ?? (pmu?.type === type ? pmuName : undefined) ?? `${type}`),
      config,
      name: calls[i] ?? nameOf(type, row),
      pmu: pmuName,
      state: stateOf(data, row.state),
      target: taskOf(contexts[i]?.task, byAddress, none),
      cpu: row.cpu === undefined ? undefined : row.cpu | 0,
      owner: taskOf(row.owner, byAddress, none),
      isKernels: row.owner === undefined ? undefined : row.owner === none,
      holders,
      count: sum(row.count, row.childCount),
      period: isFrequency === undefined ? undefined : isFrequency === 0 ? period : null,
      frequency: isFrequency === undefined ? undefined : isFrequency === 0 ? null : period,
      excludes: excludesOf(row),
      inherit: row.inherit === undefined ? undefined : row.inherit !== 0,
      pinned: row.pinned === undefined ? undefined : row.pinned !== 0,
      leader: isFirst ? null : row.leader,
      parent: row.parent === 0n ? null : row.parent,
      ...(yield* handlers.of(row.handler)),
      program:
        row.program === undefined && rows[i] === undefined
          ? undefined
          : (row.program ?? 0n) === 0n
            ? null
            : { id: auxes[i]?.id, name: auxes[i]?.name },
      seen: [...sources],
    });
  }
  return events;
}

/** A software PMU with a number of its own: kernels put it in place of what was asked for. */
function askedFor(type: number | undefined, pmu: string | undefined): number | undefined {
  if (type === undefined || perfTypeName(type) !== undefined) return type;
  return pmu === "cpu_clock" || pmu === "task_clock" ? SOFTWARE : type;
}

type Fields = Values<typeof EVENT.fields>;

/** Names what is called, once for each function. */
class Handlers {
  readonly #data: KernelData;
  readonly #owners: CodeOwners;
  readonly #known = new Map<bigint, Pick<PerfEvent, "handler" | "handlerName" | "handlerOwner">>();

  constructor(data: KernelData, owners: CodeOwners) {
    this.#data = data;
    this.#owners = owners;
  }

  *of(handler: bigint | undefined): Routine<Pick<PerfEvent, "handler" | "handlerName" | "handlerOwner">> {
    if (handler === undefined) return { handler, handlerName: undefined, handlerOwner: undefined };
    if (handler === 0n) return { handler, handlerName: null, handlerOwner: null };
    const known = this.#known.get(handler);
    if (known !== undefined) return known;
    const named = yield* this.#data.kernel.nameOf(handler);
    const offset = named === undefined || named.offset === 0n ? "" : `+0x${named.offset.toString(16)}`;
    const found = {
      handler,
      handlerName: named === undefined ? undefined : `${named.name}${offset}`,
      handlerOwner: yield* this.#owners.of(handler),
    };
    this.#known.set(handler, found);
    return found;
  }
}

/** What a task's address says: `null` for none, and for one that has ended. */
function taskOf(
  address: bigint | undefined,
  tasks: ReadonlyMap<bigint, Task>,
  none: bigint,
): PerfTask | null | undefined {
  if (address === undefined) return undefined;
  if (address === 0n || address === none) return null;
  const task = tasks.get(address);
  return task === undefined ? undefined : { pid: task.pid, tgid: task.tgid, comm: task.comm };
}

function nameOf(
  type: number | undefined,
  { config, breakAddress, breakLength, breakKind }: Partial<Fields>,
): string | null | undefined {
  if (type === undefined || config === undefined) return undefined;
  if (type !== BREAKPOINT) return perfEventName(type, config) ?? null;
  if (breakAddress === undefined || breakLength === undefined || breakKind === undefined) return undefined;
  return breakpointName(breakAddress, breakLength, breakKind);
}

function stateOf({ types }: KernelData, state: number | undefined): string | undefined {
  // (A kernel whose tools did not say that the enumeration has negative constants.)
  return constantName(
    types,
    "perf_event_state",
    "PERF_EVENT_STATE_",
    state === undefined ? undefined : state | 0,
  );
}

function sum(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  return a === undefined || b === undefined ? undefined : BigInt.asUintN(64, a + b);
}

function excludesOf(row: Partial<Fields>): string[] {
  const flags = [
    ["user", row.excludeUser],
    ["kernel", row.excludeKernel],
    ["hypervisor", row.excludeHypervisor],
    ["idle", row.excludeIdle],
    ["host", row.excludeHost],
    ["guest", row.excludeGuest],
  ] as const;
  return flags.flatMap(([name, flag]) => (flag === 1 ? [name] : []));
}
