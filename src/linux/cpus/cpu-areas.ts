/**
 * CPUs that a kernel knows, and where each has its per-CPU variables.
 *
 * Facts: kernel/cpu.c (`__cpu_possible_mask` and its like; until 4.5, 5aec01b83429, arrays `cpu_possible_bits`), mm/percpu.c and
 * include/asm-generic/percpu.h (`__per_cpu_offset`; without SMP there is none, and variables are where their symbols say),
 * kernel/sched/sched.h (`struct rq`, `struct cfs_rq`).
 *
 * Kernels whose kallsyms list functions only name none of these. There, each task leads to the run queue of its CPU, and BTF says
 * where that is among the per-CPU variables.
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, listsFunctionsOnly, needSymbol, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, record, word } from "../objects/record.js";
import { leaderAddresses } from "../tasks/task.js";
import { Btf } from "../types/btf/btf.js";
import { sizeOf } from "../types/c-type.js";

/** A CPU, and where its variables are. @internal */
export interface CpuArea {
  readonly number: number;
  /** `undefined` where nothing says it. */
  readonly online: boolean | undefined;
  readonly present: boolean | undefined;
  /** What is added to a symbol for this CPU's variable. */
  readonly offset: bigint | undefined;
  /** Where its variables begin. */
  readonly start: bigint | undefined;
}

/** All of them, and where variables are. @internal */
export interface CpuAreas {
  readonly cpus: readonly CpuArea[];
  /** Where each has a variable; `undefined` if nothing says it. */
  addressesOf(name: string): Routine<(bigint | undefined)[]>;
}

/** CONFIG_NR_CPUS is at most 8192. */
const MAX_CPUS = 8192;
const SECTION = ".data..percpu";

/** Every possible CPU. @throws {SymbolError} where nothing says where CPUs are. @internal */
export function* findCpus(data: KernelData, report: OnDamage): Routine<CpuAreas> {
  const byTasks = yield* listsFunctionsOnly(data);
  const cpus = byTasks ? yield* cpusOfTasks(data, report) : yield* cpusOfSymbols(data, report);
  return {
    cpus,
    *addressesOf(name) {
      const symbol = byTasks ? undefined : yield* data.kernel.findAddress(name);
      const inArea = symbol === undefined ? offsetOf(data, name) : undefined;
      return cpus.map(({ start, offset }) => {
        const found = symbol === undefined ? plus(start, inArea) : plus(offset, symbol);
        return found === undefined ? undefined : BigInt.asUintN(8 * data.memory.pointerSize, found);
      });
    },
  };
}

function plus(base: bigint | undefined, more: bigint | undefined): bigint | undefined {
  return base === undefined || more === undefined ? undefined : base + more;
}

function offsetOf({ types }: KernelData, variable: string): bigint | undefined {
  const found = types instanceof Btf ? types.offsetInSection(SECTION, variable) : undefined;
  return found === undefined ? undefined : BigInt(found);
}

function* cpusOfSymbols(data: KernelData, report: OnDamage): Routine<CpuArea[]> {
  const { memory } = data;
  const limit = yield* countOfCpus(data, report);
  const possible = yield* maskOf(data, "possible", limit, report);
  const online = yield* maskOf(data, "online", limit, report);
  const present = yield* maskOf(data, "present", limit, report);
  const table = yield* symbolAddress(data, "__per_cpu_offset");
  const start = yield* symbolAddress(data, "__per_cpu_start");
  const size = memory.pointerSize;
  const cpus: CpuArea[] = [];
  const offsets =
    table === undefined ? undefined : yield* memory.readPartial(table, size * Math.max(1, limit));
  const values = offsets === undefined ? [] : pointersIn(memory, offsets.bytes);
  for (let number = 0; number < limit; number++) {
    if (possible?.has(number) === false) continue;
    const hole = offsets?.holes.find((each) => each.start < (number + 1) * size && each.end > number * size);
    if (hole !== undefined && table !== undefined) {
      report(
        damage(`__per_cpu_offset of CPU ${number}`, table + BigInt(number * size), "unreadable", hole.fault),
      );
    }
    const offset = table === undefined ? 0n : hole === undefined ? values[number] : undefined;
    const begin = plus(offset, start);
    cpus.push({
      number,
      online: online?.has(number),
      present: present?.has(number),
      offset,
      start: begin === undefined ? undefined : BigInt.asUintN(8 * size, begin),
    });
  }
  return cpus;
}

/** Numbers of CPUs are below this. */
function* countOfCpus(data: KernelData, report: OnDamage): Routine<number> {
  const { memory, types } = data;
  const mask = types.find("struct", "cpumask");
  const most = Math.min(MAX_CPUS, mask === undefined ? MAX_CPUS : Math.max(1, 8 * sizeOf(mask)));
  const at = yield* symbolAddress(data, "nr_cpu_ids");
  // A kernel for one CPU has a constant instead.
  if (at === undefined) return (yield* symbolAddress(data, "__per_cpu_offset")) === undefined ? 1 : most;
  const { bytes, holes } = yield* memory.readPartial(at, 4);
  const count = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, memory.littleEndian);
  if (holes[0] !== undefined) report(damage("nr_cpu_ids", at, "unreadable", holes[0].fault));
  else if (count === 0 || count > most) report(damage("nr_cpu_ids", at, "invalid", 0, `${count} CPUs`));
  else return count;
  return most;
}

/** Numbers in one of the kernel's sets of CPUs; `undefined` if it can't be read. */
function* maskOf(
  data: KernelData,
  kind: "possible" | "online" | "present",
  limit: number,
  report: OnDamage,
): Routine<ReadonlySet<number> | undefined> {
  const { memory } = data;
  const at = yield* symbolAddress(data, `__cpu_${kind}_mask`, `cpu_${kind}_bits`);
  if (at === undefined) return undefined;
  const size = memory.pointerSize;
  const { bytes, holes } = yield* memory.readPartial(at, Math.ceil(limit / 8 / size) * size);
  if (holes[0] !== undefined) {
    report(damage(`the set of ${kind} CPUs`, at, "unreadable", holes[0].fault));
    return undefined;
  }
  const found = new Set<number>();
  for (const [i, value] of pointersIn(memory, bytes).entries()) {
    for (let bit = 0; bit < 8 * size; bit++) {
      if (((value >> BigInt(bit)) & 1n) === 1n) found.add(8 * size * i + bit);
    }
  }
  return found;
}

/** With CONFIG_FAIR_GROUP_SCHED each task, and each queue of a group, points to what it belongs to. */
const TASK = record("task_struct", { queue: maybe(word("se.cfs_rq")) });
const GROUP_QUEUE = record("cfs_rq", { queue: maybe(word("rq")) });
const QUEUE = record("rq", { cpu: maybe(int("cpu")), online: maybe(int("online")) });

/** The CPUs that any process has last run on: kernel threads are bound to each. */
function* cpusOfTasks(data: KernelData, report: OnDamage): Routine<CpuArea[]> {
  const { types, memory } = data;
  const offset = offsetOf(data, "runqueues");
  if (offset === undefined) {
    yield* needSymbol(data, "__per_cpu_offset");
    return [];
  }
  const addresses = [yield* data.kernel.findInitTask(), ...(yield* leaderAddresses(data, report))];
  const tasks = yield* TASK.on(types).read(memory, addresses);
  const groups = [...new Set(tasks.map(({ partial }) => partial.queue))];
  const known = yield* readEach(data, GROUP_QUEUE, groups, "a cfs_rq", report);
  const queues = [...new Set(known.map((group) => group?.queue))];
  const rows = yield* readEach(data, QUEUE, queues, "a run queue", report);
  const cpus = new Map<number, CpuArea>();
  for (const [i, row] of rows.entries()) {
    const address = queues[i];
    if (address === undefined || row === undefined) continue;
    const { cpu: number = 0, online } = row;
    const start = BigInt.asUintN(8 * memory.pointerSize, address - offset);
    if (number < 0 || number >= MAX_CPUS || (cpus.get(number)?.start ?? start) !== start) {
      report(damage("a run queue", address, "invalid", 0, `CPU ${number}`));
      continue;
    }
    const isOnline = online === undefined ? undefined : online !== 0;
    cpus.set(number, { number, online: isOnline, present: undefined, offset: undefined, start });
  }
  return [...cpus.values()].sort((a, b) => a.number - b.number);
}
