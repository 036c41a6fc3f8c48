/**
 * Where perf events are: in the contexts of tasks and of CPUs, on the lists of those who opened them, and behind open files.
 *
 * Facts: include/linux/perf_event.h (`perf_event_context`, `perf_cpu_context`, `struct pmu`), include/linux/sched.h (`perf_event_ctxp`,
 * `perf_event_list`), kernel/events/core.c (`pmus`, `perf_fops`, `perf_release`; until 6.2, bd2756811766, each task had a context for hardware and
 * one for software, and each PMU, or several together, one a CPU; since then tasks and CPUs have one each).
 */
import type { Routine } from "../../io/index.js";
import { type FileHolder, fileHolders, tableHolders } from "../files/file-holders.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { readEach } from "../objects/read-each.js";
import { maybe, offsetOf, place, record, word } from "../objects/record.js";
import { attempt } from "../owners/attempt.js";
import { perCpuAreas } from "../per-cpu.js";
import type { Task } from "../tasks/task.js";

const TASK = record("task_struct", {
  own: place("perf_event_list"),
  ownNext: word("perf_event_list.next"),
  // The first of an array until 6.2.
  context: word("perf_event_ctxp[0]", "perf_event_ctxp"),
  second: maybe(word("perf_event_ctxp[1]")),
});
const CONTEXT = record("perf_event_context", { events: place("event_list"), next: word("event_list.next") });
const PMU = record("pmu", { contexts: maybe(word("pmu_cpu_context")) });
const FILE = record("file", { operations: word("f_op"), event: word("private_data") });
const OPERATIONS = record("file_operations", { release: word("release") });

/** How an event was found. */
export type PerfEventSource = "task" | "cpu" | "owner" | "file";

/** @internal */
export interface FoundEvent {
  readonly sources: Set<PerfEventSource>;
  readonly holders: FileHolder[];
}

/** A machine with more is most likely made to have them. */
const MAX_EVENTS = 1 << 18;
/** Those with many memory controllers have some hundred. */
const MAX_PMUS = 1 << 12;
/** Of all PMUs: each has one a CPU. */
const MAX_CONTEXTS = 1 << 20;

/** Events by the addresses of their structures, each once. @internal */
export function* findEvents(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<Map<bigint, FoundEvent>> {
  const lists = new Lists(data, report);
  const rows = yield* readEach(
    data,
    TASK,
    tasks.map(({ address }) => address),
    "a task",
    report,
  );
  const contexts = new Set<bigint>();
  for (const row of rows) {
    for (const each of [row?.context, row?.second]) if (each !== undefined && each !== 0n) contexts.add(each);
    if (row?.own === undefined || row.ownNext === row.own) continue;
    yield* lists.walk(row.own, "owner_entry", "owner", "the events that a task opened");
  }
  yield* lists.contexts([...contexts], "task", "the events of a task");
  yield* lists.contexts(yield* cpuContexts(data, report), "cpu", "the events of a CPU");
  yield* openEvents(data, tasks, lists, report);
  return lists.found;
}

/** Follows lists of events, of all of them a bounded number. */
class Lists {
  readonly found = new Map<bigint, FoundEvent>();
  readonly #data: KernelData;
  readonly #report: OnDamage;
  /** Those made by hand may share a ring, which each would be followed through. */
  #left = MAX_EVENTS;

  constructor(data: KernelData, report: OnDamage) {
    this.#data = data;
    this.#report = report;
  }

  take(address: bigint, source: PerfEventSource): FoundEvent {
    const known = this.found.get(address) ?? { sources: new Set(), holders: [] };
    known.sources.add(source);
    this.found.set(address, known);
    return known;
  }

  *walk(head: bigint, member: string, source: PerfEventSource, what: string): Routine<void> {
    if (this.#left <= 0) return;
    const offset = BigInt(offsetOf(this.#data.types, "perf_event", member));
    const nodes = yield* walkList(this.#data.memory, head, what, this.#report);
    for (const node of nodes.slice(0, this.#left)) this.take(node - offset, source);
    this.#left -= nodes.length;
    if (this.#left > 0) return;
    const more = `${MAX_EVENTS} events were found; what comes behind was not looked at`;
    this.#report(damage(what, head, "too long", 0, more));
  }

  *contexts(addresses: readonly bigint[], source: PerfEventSource, what: string): Routine<void> {
    for (const context of yield* readEach(
      this.#data,
      CONTEXT,
      addresses,
      "a perf_event_context",
      this.#report,
    )) {
      if (context?.events === undefined || context.next === context.events) continue;
      yield* this.walk(context.events, "event_entry", source, what);
    }
  }
}

/** Of every CPU that may be there, and every PMU. */
function* cpuContexts(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { types, memory } = data;
  const cpus = yield* attempt("the CPUs", report, perCpuAreas(data, report));
  if (cpus === undefined) return [];
  const own = PMU.on(types).offsetOf("contexts") === undefined;
  const inner = BigInt(offsetOf(types, "perf_cpu_context", "ctx"));
  const found = new Set<bigint>();
  if (own) {
    const copies = yield* cpus.copiesIf("perf_cpu_context");
    if (copies === undefined) report(missing("the contexts of CPUs", "perf_cpu_context"));
    for (const { address } of copies ?? []) found.add(address + inner);
    return [...found];
  }
  const head = yield* symbolAddress(data, "pmus");
  if (head === undefined) {
    report(missing("the list of PMUs", "pmus"));
    return [];
  }
  const entry = BigInt(offsetOf(types, "pmu", "entry"));
  const what = "the list of PMUs";
  const nodes = yield* walkList(memory, head, what, report);
  const tell = (more: string) => report(damage(what, head, "too long", 0, more));
  if (nodes.length > MAX_PMUS) tell(`${nodes.length} can't be: ${MAX_PMUS} are looked at`);
  const pmus = yield* readEach(
    data,
    PMU,
    nodes.slice(0, MAX_PMUS).map((node) => node - entry),
    "a PMU",
    report,
  );
  for (const pointer of new Set(pmus.map((pmu) => pmu?.contexts ?? 0n))) {
    if (pointer === 0n) continue;
    for (const { address } of cpus.at(pointer) ?? []) found.add(address + inner);
    if (found.size < MAX_CONTEXTS) continue;
    tell(`more than ${MAX_CONTEXTS} contexts of CPUs: the rest is not looked at`);
    break;
  }
  return [...found];
}

function missing(what: string, symbol: string) {
  const more = `no symbol ${symbol}: events that no task has are found only where a process has them open (--symbols FILE)`;
  return damage(what, 0n, "invalid", 0, more);
}

/** Events that processes have open. */
function* openEvents(
  data: KernelData,
  tasks: readonly Task[],
  lists: Lists,
  report: OnDamage,
): Routine<void> {
  // (Of a kernel that lists functions only, by the function that closes them.)
  const variable = yield* symbolAddress(data, "perf_fops");
  const closing = yield* symbolAddress(data, "perf_release");
  if (variable === undefined && closing === undefined) {
    report(
      damage("open perf events", 0n, "invalid", 0, "no symbol perf_fops: who has them open is not known"),
    );
    return;
  }
  const holders = yield* fileHolders(data, tableHolders(tasks), report);
  const pointers = [...holders.keys()];
  const files = yield* readEach(data, FILE, pointers, "a file", report);
  const unnamed = variable === undefined ? files.map((file) => file?.operations) : [];
  const released = yield* readEach(data, OPERATIONS, unnamed, "file_operations", report);
  for (const [i, file] of files.entries()) {
    const isOne = variable === undefined ? released[i]?.release === closing : file?.operations === variable;
    if (!isOne || file?.event === undefined || file.event === 0n) continue;
    const found = lists.take(file.event, "file");
    for (const holder of holders.get(pointers[i] as bigint) ?? []) found.holders.push(holder);
  }
}
