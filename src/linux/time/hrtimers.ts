/**
 * High-resolution timers: those that /proc/timer_list shows.
 *
 * Facts: include/linux/hrtimer.h, hrtimer_defs.h (`struct hrtimer_cpu_base`, `hrtimer_clock_base`, `enum hrtimer_base_type`),
 * hrtimer_types.h (`struct hrtimer`), include/linux/timerqueue.h (a red-black tree by expiry), kernel/time/hrtimer.c (per-CPU variable
 * `hrtimer_bases`), kernel/time/timer_list.c.
 */
import type { Routine } from "../../io/index.js";
import { readCpuSet } from "../cpus/cpu-sets.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { walkRbtree } from "../objects/rbtree.js";
import { int, maybe, needStruct, offsetOf, place, record, word } from "../objects/record.js";
import type { CpuCopy, PerCpu } from "../per-cpu.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { needPlace } from "../types/member-path.js";

const CPU_BASE = record("hrtimer_cpu_base", {
  cpu: maybe(int("cpu")),
  clocks: place("clock_base"),
  back: word("clock_base[0].cpu_base"),
});
const CLOCK_BASE = record("hrtimer_clock_base", {
  // Null until the CPU is first brought up, and from then on what is around it (kernel/time/hrtimer.c, `hrtimers_prepare_cpu`).
  back: word("cpu_base"),
  // Since 5.4 the tree's leftmost node is kept beside its root.
  tree: place("active.rb_root", "active.head"),
  offset: word("offset.tv64", "offset"),
});
// Until 4.10, a ktime_t was a union of one member.
const HRTIMER = record("hrtimer", {
  expires: word("node.expires.tv64", "node.expires"),
  softExpires: word("_softexpires.tv64", "_softexpires"),
  function: word("function"),
  state: maybe(int("state")),
});

/** HRTIMER_MAX_CLOCK_BASES is 8. */
const MAX_CLOCKS = 32;
/** `enum hrtimer_base_type`; the second half, since 4.16, expires in a softirq. */
const CLOCKS = ["monotonic", "realtime", "boottime", "tai"] as const;

/** A clock of a CPU. */
export interface HrtimerClock {
  readonly cpu: number;
  readonly index: number;
  readonly name: string;
  readonly soft: boolean;
  /** Of its `struct hrtimer_clock_base`. */
  readonly address: bigint;
  /** What the clock is ahead of the monotonic one, in ns. */
  readonly offset: bigint | undefined;
}

/** A timer as it was read. */
export interface Hrtimer {
  readonly clock: HrtimerClock;
  readonly address: bigint;
  readonly expires: bigint | undefined;
  readonly softExpires: bigint | undefined;
  readonly function: bigint | undefined;
  readonly state: number | undefined;
}

/** All timers of all clocks of all CPUs, each clock's by expiry. */
export function* readHrtimers(data: KernelData, perCpu: PerCpu, report: OnDamage): Routine<Hrtimer[]> {
  const { types, memory } = data;
  const copies = yield* perCpu.copies("hrtimer_bases");
  const layout = CPU_BASE.on(types);
  const bases = yield* layout.read(
    memory,
    copies.map(({ address }) => address),
  );
  const array = stripped(needPlace(needStruct(types, "hrtimer_cpu_base"), "clock_base").type);
  const count = array.kind === "array" ? Math.min(array.count, MAX_CLOCKS) : 0;
  const size = array.kind === "array" ? sizeOf(array.element) : 0;
  const timers: Hrtimer[] = [];
  const tops = new Set<bigint>();
  let online: ReadonlySet<number> | undefined;
  // (The first CPU is the one that booted.)
  const isUp = function* (cpu: number): Routine<boolean> {
    online ??= (yield* readCpuSet(data, "online", copies.at(-1)?.cpu ?? 0, report)) ?? new Set([0]);
    return online.has(cpu);
  };
  for (const [i, { address, partial, fault }] of bases.entries()) {
    const cpu = copies[i]?.cpu as number;
    const what = `the timers of CPU ${cpu}`;
    if (fault !== 0) report(damage(what, address, "unreadable", fault));
    if (partial.back === 0n && partial.cpu === 0) {
      // (Nothing was written there yet, unless the CPU is online.)
      if (!(yield* isUp(cpu))) continue;
    } else if (partial.cpu !== undefined && partial.cpu !== cpu) {
      report(damage(what, address, "mismatch", 0, `they are CPU ${partial.cpu}'s`));
      continue;
    }
    const clocks = Array.from({ length: count }, (_, index) => ({
      index,
      at: BigInt.asUintN(64, (partial.clocks as bigint) + BigInt(index * size)),
    }));
    timers.push(...(yield* timersOfClocks(data, { cpu, address }, clocks, tops, report)));
  }
  return timers;
}

function* timersOfClocks(
  data: KernelData,
  base: CpuCopy,
  clocks: readonly { readonly index: number; readonly at: bigint }[],
  tops: Set<bigint>,
  report: OnDamage,
): Routine<Hrtimer[]> {
  const { types, memory } = data;
  const rows = yield* CLOCK_BASE.on(types).read(
    memory,
    clocks.map(({ at }) => at),
  );
  const { cpu } = base;
  const isZero = rows.length > 0 && rows.every(({ partial }) => partial.back === 0n);
  if (isZero)
    report(damage(`the timers of CPU ${cpu}`, base.address, "invalid", 0, "its clocks were never set up"));
  const trees = rows.map(({ partial }) => partial.tree as bigint);
  const heads = yield* memory.gather(trees, memory.pointerSize);
  const node = BigInt(offsetOf(types, "hrtimer", "node.node"));
  const found: Hrtimer[] = [];
  for (const [i, { index, at }] of clocks.entries()) {
    const name = CLOCKS[index % CLOCKS.length] as string;
    const soft = index >= CLOCKS.length;
    const what = `the ${name} timers of CPU ${cpu}`;
    const back = rows[i]?.partial.back;
    if (!isZero && back !== undefined && back !== base.address) {
      report(damage(what, at, "mismatch", 0, "they do not point back to their CPU's"));
    }
    const head = heads.at(i);
    const top = head === undefined ? undefined : pointersIn(memory, head)[0];
    if (top === 0n) continue;
    if (top !== undefined && tops.has(top)) {
      // A tree is one clock's: its nodes lead to their parents, but its top leads to nothing.
      report(damage(what, top, "loop"));
      continue;
    }
    if (top !== undefined) tops.add(top);
    const nodes = yield* walkRbtree(memory, trees[i] as bigint, what, report);
    const timers = yield* HRTIMER.on(types).read(
      memory,
      nodes.map((each) => BigInt.asUintN(64, each - node)),
    );
    const clock = { cpu, index, name, soft, address: at, offset: rows[i]?.partial.offset };
    for (const { address, partial, fault } of timers) {
      if (fault !== 0) report(damage("an hrtimer", address, "unreadable", fault));
      found.push({
        clock,
        address,
        expires: partial.expires,
        softExpires: partial.softExpires,
        function: partial.function,
        state: partial.state,
      });
    }
  }
  return found;
}
