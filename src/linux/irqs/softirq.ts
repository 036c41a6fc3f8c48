/**
 * Softirqs, and how often each ran: what /proc/softirqs shows.
 *
 * Facts: include/linux/interrupt.h (HI_SOFTIRQ and the others; `struct softirq_action`), kernel/softirq.c (`softirq_to_name`,
 * `softirq_vec`), include/linux/kernel_stat.h (`struct kernel_stat`, per-CPU variable `kstat`), fs/proc/softirqs.c.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData, nameOfFunction, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { needStruct } from "../objects/record.js";
import { perCpuAreas } from "../per-cpu.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { needPlace } from "../types/member-path.js";
import { type InterruptCount, readUnsigned, totalOf } from "./counters.js";

/** By number. */
const NAMES: readonly string[] = [
  "HI",
  "TIMER",
  "NET_TX",
  "NET_RX",
  "BLOCK",
  "IRQ_POLL",
  "TASKLET",
  "SCHED",
  "HRTIMER",
  "RCU",
];
/** NR_SOFTIRQS is 10; there are bits for no more. */
const MAX_SOFTIRQS = 32;

/** A softirq. */
export interface Softirq {
  /** HI_SOFTIRQ is 0. */
  readonly number: number;
  readonly name: string;
  /** Of each CPU that may be there. */
  readonly counts: readonly InterruptCount[];
  /** The sum of those that could be read. */
  readonly total: number | undefined;
  /** The function that runs; null if there is none, if no symbol begins there, or if it isn't known where the kernel keeps these. */
  readonly handler: string | null | undefined;
}

/** Softirqs by number, as /proc/softirqs has them. */
export function listSoftirqs(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<Softirq> {
  return IoSequence.of(kernel.memory.scheduler, softirqsRoutine, kernel, options);
}

function* softirqsRoutine(sink: Sink<Softirq>, kernel: LinuxKernel, options: DamageOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const place = needPlace(needStruct(data.types, "kernel_stat"), "softirqs");
  const array = stripped(place.type);
  const count = array.kind === "array" ? Math.min(array.count, MAX_SOFTIRQS) : 0;
  const size = array.kind === "array" ? sizeOf(array.element) : 0;
  const copies = yield* (yield* perCpuAreas(data, log.report)).copies("kstat");
  const rows = Array.from({ length: count }, (_, i) =>
    copies.map(({ cpu, address }) => ({
      cpu,
      address: BigInt.asUintN(64, address + BigInt(place.bitOffset / 8 + i * size)),
    })),
  );
  const counts = yield* readUnsigned(data, rows, "the count of a softirq", log.report);
  const vector = yield* symbolAddress(data, "softirq_vec");
  // (A structure of one pointer.)
  const handlers = vector === undefined ? [] : yield* pointersAt(data.memory, vector, count);
  if (typeof handlers === "number") {
    log.report(damage("softirq_vec", vector ?? 0n, "unreadable", handlers));
  }
  for (const [number, row] of counts.entries()) {
    const handler = typeof handlers === "number" ? undefined : (handlers[number] ?? 0n);
    yield sink.emit({
      number,
      name: NAMES[number] ?? `${number}`,
      counts: row,
      total: totalOf(row),
      handler:
        handler === undefined
          ? undefined
          : handler === 0n
            ? null
            : ((yield* nameOfFunction(data, handler)) ?? null),
    });
  }
  log.end();
}
