/**
 * Where each CPU has its own copies of per-CPU variables.
 *
 * Facts: include/asm-generic/percpu.h (`__per_cpu_offset`, what is added to the address of a variable, or to a pointer to per-CPU
 * memory; without SMP there is none), mm/percpu.c, kernel/cpu.c (`__cpu_possible_mask`), kernel/smp.c (`nr_cpu_ids`), arch/x86/kernel/setup_percpu.c
 * (a CPU that can't be has the offset of the first copies).
 *
 * Kallsyms that list functions only name none of these. Copies are found then by what points to them: the run queue of a CPU holds
 * the fair queue that the first task's group has for it (kernel/sched/sched.h, `task_group`; kernel/sched/core.c, `sched_init`: the
 * arrays `se` and `cfs_rq` have `nr_cpu_ids` entries, one behind the other). BTF has the variables' places among each other. What
 * is added to pointers, the first hierarchy of cgroups tells: kernel/cgroup/cgroup.c, `cgrp_dfl_root`, points to `cgrp_dfl_root_rstat_cpu`
 * where the linker put that.
 */
import type { Routine } from "../io/index.js";
import { type KernelData, listsFunctionsOnly, needSymbol, symbolAddress } from "./kernel-data.js";
import { cpusAt, MAX_CPUS } from "./objects/cpu-mask.js";
import { damage, type OnDamage } from "./objects/damage.js";
import { isWild } from "./objects/list.js";
import { pointersAt, pointersIn } from "./objects/pointers.js";
import { int, maybe, place, record, word } from "./objects/record.js";
import { SymbolError } from "./symbols/symbol.js";
import { sizeOf } from "./types/c-type.js";

/** A CPU that may be there. */
export interface CpuArea {
  readonly cpu: number;
  /** What is added to symbols' addresses and to pointers; `undefined` if nothing tells it. */
  readonly offset: bigint | undefined;
  /** Where the copy of the section of per-CPU variables begins; only where symbols don't tell variables. */
  readonly section: bigint | undefined;
}

/** A copy. */
export interface CpuCopy {
  readonly cpu: number;
  readonly address: bigint;
}

/** The CPUs of a kernel, and what each has for itself. */
export class PerCpu {
  readonly #data: KernelData;
  /** Ascending by their numbers. */
  readonly areas: readonly CpuArea[];

  /** Use {@link perCpuAreas}. @internal */
  constructor(data: KernelData, areas: readonly CpuArea[]) {
    this.#data = data;
    this.areas = areas;
  }

  /** Numbers of the CPUs that may be there, ascending. */
  get cpus(): number[] {
    return this.areas.map(({ cpu }) => cpu);
  }

  /** Each CPU's copy of a variable; `undefined` if the kernel has no such one, or nothing tells where it is. */
  *copiesIf(name: string): Routine<CpuCopy[] | undefined> {
    const symbol = yield* symbolAddress(this.#data, name);
    if (symbol !== undefined) return this.at(symbol);
    const offset = this.#data.types.perCpuOffset?.(name);
    if (offset === undefined || this.areas[0]?.section === undefined) return undefined;
    return this.areas.flatMap(({ cpu, section }) =>
      section === undefined ? [] : [{ cpu, address: BigInt.asUintN(64, section + BigInt(offset)) }],
    );
  }

  /** As `copiesIf`. @throws {SymbolError} `NO_SYMBOL` instead. */
  *copies(name: string): Routine<CpuCopy[]> {
    return (yield* this.copiesIf(name)) ?? this.at(yield* needSymbol(this.#data, name)) ?? [];
  }

  /** Each CPU's memory behind a pointer to per-CPU memory; `undefined` if it isn't known how such pointers count. */
  at(pointer: bigint): CpuCopy[] | undefined {
    const bits = 8 * this.#data.memory.pointerSize;
    const found = this.areas.flatMap(({ cpu, offset }) =>
      offset === undefined ? [] : [{ cpu, address: BigInt.asUintN(bits, pointer + offset) }],
    );
    return found.length === 0 ? undefined : found;
  }
}

/** Finds them. @throws {SymbolError} `NO_SYMBOL` if neither symbols nor structures tell where they are. */
export function* perCpuAreas(data: KernelData, report: OnDamage): Routine<PerCpu> {
  const offsets = yield* symbolAddress(data, "__per_cpu_offset");
  if (offsets !== undefined) return new PerCpu(data, yield* areasByOffset(data, offsets, report));
  if (!(yield* listsFunctionsOnly(data)))
    return new PerCpu(data, [{ cpu: 0, offset: 0n, section: undefined }]);
  const areas = yield* areasByQueue(data, report);
  if (areas.length > 0) return new PerCpu(data, areas);
  throw new SymbolError(
    "NO_SYMBOL",
    "__per_cpu_offset",
    [],
    "nor do structures tell where each CPU's variables are; a table of symbols may name it: --symbols System.map",
  );
}

/** CPUs that may be there, by the kernel's own set of them. */
function* possibleCpus(data: KernelData, report: OnDamage): Routine<number[]> {
  const { memory } = data;
  const limit = yield* symbolAddress(data, "nr_cpu_ids");
  // (A constant with CONFIG_FORCE_NR_CPUS, since 6.1: as many as a set of CPUs has bits for.)
  const set = data.types.find("struct", "cpumask");
  const most = set === undefined ? MAX_CPUS : Math.max(1, Math.min(8 * sizeOf(set), MAX_CPUS));
  let count = most;
  if (limit !== undefined) {
    const { bytes, holes } = yield* memory.readPartial(limit, 4);
    const hole = holes[0];
    if (hole !== undefined) report(damage("nr_cpu_ids", limit, "unreadable", hole.fault));
    else count = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, memory.littleEndian);
    if (count < 1 || count > most) {
      report(damage("nr_cpu_ids", limit, "invalid", 0, `${count}`));
      count = most;
    }
  }
  // Until 4.5 the mask had another name, and was pointed to by cpu_possible_mask.
  const mask = yield* symbolAddress(data, "__cpu_possible_mask", "cpu_possible_bits");
  const found = mask === undefined ? undefined : yield* cpusAt(memory, mask, count - 1, report);
  return found ?? Array.from({ length: count }, (_, cpu) => cpu);
}

function* areasByOffset(data: KernelData, offsets: bigint, report: OnDamage): Routine<readonly CpuArea[]> {
  const { memory } = data;
  const cpus = yield* possibleCpus(data, report);
  const size = memory.pointerSize;
  const addresses = cpus.map((cpu) => BigInt.asUintN(64, offsets + BigInt(cpu * size)));
  const gathered = yield* memory.gather(addresses, size);
  const areas: CpuArea[] = [];
  const seen = new Set<bigint>();
  for (const [i, cpu] of cpus.entries()) {
    const bytes = gathered.at(i);
    const at = addresses[i] as bigint;
    const what = `__per_cpu_offset[${cpu}]`;
    if (bytes === undefined) {
      report(damage(what, at, "unreadable", gathered.faultOf(i)));
      continue;
    }
    const offset = pointersIn(memory, bytes)[0] as bigint;
    // No two have the same memory: a set with too many CPUs would list one's things over and over.
    if (seen.has(offset)) report(damage(what, at, "mismatch", 0, "another CPU's"));
    else areas.push({ cpu, offset, section: undefined });
    seen.add(offset);
  }
  return yield* ownAreas(data, areas, report);
}

/** Those whose run queue is that CPU's, as far as it can be read. */
function* ownAreas(
  data: KernelData,
  areas: readonly CpuArea[],
  report: OnDamage,
): Routine<readonly CpuArea[]> {
  const queues = yield* symbolAddress(data, "runqueues");
  if (queues === undefined) return areas;
  const rows = yield* QUEUE.on(data.types).read(
    data.memory,
    areas.map(({ offset }) => BigInt.asUintN(8 * data.memory.pointerSize, queues + (offset as bigint))),
  );
  return areas.filter(({ cpu }, i) => {
    const { address = 0n, partial, fault = 0 } = rows[i] ?? {};
    const own = partial?.cpu;
    if (own === cpu) return true;
    if (own === undefined) {
      report(damage(`the run queue of CPU ${cpu}`, address, "unreadable", fault));
      return !isWild(fault);
    }
    report(damage(`the run queue of CPU ${cpu}`, address, "mismatch", 0, `it is CPU ${own}'s`));
    return false;
  });
}

const TASK = record("task_struct", {
  group: maybe(word("sched_task_group")),
  cgroups: maybe(word("cgroups")),
});
const GROUP = record("task_group", { queues: word("cfs_rq"), entities: word("se") });
const QUEUE = record("rq", { cpu: int("cpu"), fair: place("cfs") });
const CSS_SET = record("css_set", { cgroup: word("dfl_cgrp") });
// By this name since 4.18.
const CGROUP = record("cgroup", { counts: maybe(word("rstat_cpu")) });

function* areasByQueue(data: KernelData, report: OnDamage): Routine<CpuArea[]> {
  const { types, memory } = data;
  const runqueues = types.perCpuOffset?.("runqueues");
  const [task] = yield* TASK.on(types).read(memory, [yield* data.kernel.findInitTask()]);
  const group = task?.partial.group;
  if (runqueues === undefined || group === undefined) return [];
  const [arrays] = yield* GROUP.on(types).read(memory, [group]);
  if (arrays?.value === undefined) {
    report(damage("the first task's group", group, "unreadable", arrays?.fault));
    return [];
  }
  const { queues, entities } = arrays.value;
  const size = memory.pointerSize;
  const count = Number(BigInt.asUintN(64, queues - entities)) / size;
  if (!(Number.isInteger(count) && count >= 1 && count <= MAX_CPUS)) {
    report(damage("the run queues of the first task's group", queues, "invalid", 0, `${count} CPUs`));
    return [];
  }
  const fair = yield* pointersAt(memory, queues, count);
  if (typeof fair === "number") {
    report(damage("the run queues of the first task's group", queues, "unreadable", fair));
    return [];
  }
  const layout = QUEUE.on(types);
  const inside = BigInt(layout.offsetOf("fair") ?? 0);
  const rows = yield* layout.read(
    memory,
    fair.map((address) => BigInt.asUintN(64, address - inside)),
  );
  const start = yield* linkedSection(data, task?.partial.cgroups);
  // (Those of CPUs that can't be have no queue.)
  return rows.flatMap(({ address, value }, cpu) => {
    if (value?.cpu !== cpu) {
      if (fair[cpu] !== 0n)
        report(damage(`the run queue of CPU ${cpu}`, address, "mismatch", 0, "not its own"));
      return [];
    }
    const section = address - BigInt(runqueues);
    return [{ cpu, section, offset: start === undefined ? undefined : section - start }];
  });
}

/** Where the section of per-CPU variables is in the image; `undefined` if the cgroups' first hierarchy does not tell. */
function* linkedSection(
  { types, memory }: KernelData,
  cgroups: bigint | undefined,
): Routine<bigint | undefined> {
  const offset = types.perCpuOffset?.("cgrp_dfl_root_rstat_cpu");
  if (offset === undefined || cgroups === undefined) return undefined;
  const [set] = yield* CSS_SET.on(types).read(memory, [cgroups]);
  if (set?.value === undefined) return undefined;
  const [cgroup] = yield* CGROUP.on(types).read(memory, [set.value.cgroup]);
  const counts = cgroup?.partial.counts;
  return counts === undefined ? undefined : counts - BigInt(offset);
}
