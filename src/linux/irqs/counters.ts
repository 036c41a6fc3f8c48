/**
 * Counters that each CPU has its own of.
 *
 * Facts: include/linux/irqdesc.h: `kstat_irqs` is a pointer to per-CPU memory: an `unsigned int`, or (since 6.10) a
 * `struct irqstat` with such a one as `cnt`; without CONFIG_SPARSE_IRQ the same.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { hasStruct, int, record } from "../objects/record.js";
import type { CpuCopy, PerCpu } from "../per-cpu.js";

/** How often an interrupt came to a CPU. */
export interface InterruptCount {
  readonly cpu: number;
  /** `undefined` if it could not be read. */
  readonly count: number | undefined;
}

/** More counts of one call are not read. */
export const MAX_COUNTS = 1 << 20;

const STAT = record("irqstat", { count: int("cnt") });

/** What the counters behind some pointers say; none of a null pointer, nor where it isn't known how such pointers count. */
export function* readCounters(
  data: KernelData,
  perCpu: PerCpu,
  pointers: readonly (bigint | undefined)[],
  report: OnDamage,
): Routine<(readonly InterruptCount[])[]> {
  const { types } = data;
  const offset = hasStruct(types, "irqstat") ? (STAT.on(types).offsetOf("count") ?? 0) : 0;
  const copies = pointers.map((pointer) =>
    pointer === undefined || pointer === 0n ? [] : (perCpu.at(pointer + BigInt(offset)) ?? []),
  );
  return yield* readUnsigned(data, copies, "the count of an interrupt", report);
}

/** Reads an `unsigned int` at each of some addresses. What can't be read is told once for each row of them. */
export function* readUnsigned(
  { memory }: KernelData,
  copies: readonly (readonly CpuCopy[])[],
  what: string,
  report: OnDamage,
): Routine<InterruptCount[][]> {
  const addresses = copies.flatMap((row) => row.map(({ address }) => address));
  if (addresses.length > MAX_COUNTS) {
    report(damage(what, addresses[0] as bigint, "too long", 0, `${addresses.length} counts`));
  }
  const gathered = yield* memory.gather(addresses.slice(0, MAX_COUNTS), 4);
  let next = 0;
  return copies.map((row) => {
    let isTold = false;
    return row.map(({ cpu, address }) => {
      const i = next++;
      const bytes = i < MAX_COUNTS ? gathered.at(i) : undefined;
      if (bytes === undefined) {
        if (!isTold && i < MAX_COUNTS) report(damage(what, address, "unreadable", gathered.faultOf(i)));
        isTold = true;
        return { cpu, count: undefined };
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset, 4);
      return { cpu, count: view.getUint32(0, memory.littleEndian) };
    });
  });
}

/** The sum of those that could be read; `undefined` if none could. */
export function totalOf(counts: readonly InterruptCount[]): number | undefined {
  const known = counts.flatMap(({ count }) => (count === undefined ? [] : [count]));
  return known.length === 0 ? undefined : known.reduce((sum, each) => sum + each, 0);
}
