/**
 * Which CPUs there are, by the kernel's own sets of them, and where each has its variables.
 *
 * Facts: kernel/cpu.c (`__cpu_online_mask`, `__cpu_present_mask`; until 4.5, 5aec01b83429, arrays `cpu_online_bits`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { cpusAt } from "../objects/cpu-mask.js";
import type { OnDamage } from "../objects/damage.js";
import type { PerCpu } from "../per-cpu.js";

/** A CPU that may be there. @internal */
export interface CpuFacts {
  readonly number: number;
  /** `undefined` where nothing says it. */
  readonly online: boolean | undefined;
  readonly present: boolean | undefined;
  /** What is added to a symbol for this CPU's variable. */
  readonly offset: bigint | undefined;
  /** Where its variables begin. */
  readonly start: bigint | undefined;
}

/** All of them, ascending. @internal */
export function* readCpuFacts(data: KernelData, perCpu: PerCpu, report: OnDamage): Routine<CpuFacts[]> {
  const last = perCpu.areas.at(-1)?.cpu ?? 0;
  const online = yield* readCpuSet(data, "online", last, report);
  const present = yield* readCpuSet(data, "present", last, report);
  const first = yield* symbolAddress(data, "__per_cpu_start");
  const bits = 8 * data.memory.pointerSize;
  return perCpu.areas.map(({ cpu, offset, section }) => ({
    number: cpu,
    online: online?.has(cpu),
    present: present?.has(cpu),
    offset,
    start:
      section ??
      (first === undefined || offset === undefined ? undefined : BigInt.asUintN(bits, first + offset)),
  }));
}

/** A set of CPUs up to `last`; `undefined` if nothing says it. @internal */
export function* readCpuSet(
  data: KernelData,
  kind: "online" | "present",
  last: number,
  report: OnDamage,
): Routine<ReadonlySet<number> | undefined> {
  const at = yield* symbolAddress(data, `__cpu_${kind}_mask`, `cpu_${kind}_bits`);
  const cpus = at === undefined ? undefined : yield* cpusAt(data.memory, at, last, report);
  return cpus === undefined ? undefined : new Set(cpus);
}
