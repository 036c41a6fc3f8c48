/**
 * Names of kernel threads as /proc shows them, but whole: `comm` holds 15 bytes, the rest lies elsewhere. (/proc cuts them behind 63
 * bytes: `tcomm[64]` of `proc_task_name`.)
 *
 * Facts: fs/proc/array.c (`proc_task_name`), kernel/kthread.c (`struct kthread`, `to_kthread`, `get_kthread_comm`), kernel/workqueue.c
 * (`wq_worker_comm`, `format_worker_id`), kernel/workqueue_internal.h (`struct worker`), include/linux/sched.h (PF_…).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, maybe, record, text, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

/** PF_WQ_WORKER. */
const WORKER = 0x20;
/** PF_KTHREAD. */
export const KERNEL_THREAD = 0x20_0000;

const THREAD = record("kthread", {
  /** What its function was given; of a worker its `struct worker`. */
  data: word("data"),
  // Since 5.17 (d6986ce24fc0): null where `comm` holds all of it.
  fullName: maybe(word("full_name")),
});
const WORKER_FIELDS = record("worker", {
  work: word("current_work"),
  pool: word("pool"),
  description: text("desc"),
  rescued: word("rescue_wq"),
});
const QUEUE = record("workqueue_struct", { name: text("name") });

/** How rescuers are called since 6.8. /proc shows more than 15 bytes of that since "format_worker_id" (2a1b02bcba78). */
const RESCUER = "kworker/R-";

/** What a name is made of. */
export interface NameSource {
  readonly comm?: string | undefined;
  readonly flags?: number | undefined;
  /** Address of its `struct kthread`; of what is no kernel thread, something else. */
  readonly thread?: bigint | undefined;
}

/** The name of each task: `comm`, or of kernel threads more; `comm` too for what the rest of can't be read. */
export function* readNames(
  data: KernelData,
  tasks: readonly NameSource[],
  report: OnDamage,
): Routine<(string | undefined)[]> {
  const names = tasks.map(({ comm }) => comm);
  if (!hasStruct(data.types, "kthread")) return names;
  const own = tasks.map(({ flags = 0, thread }) => ((flags & KERNEL_THREAD) === 0 ? undefined : thread));
  const threads = yield* readEach(data, THREAD, own, "a kthread", report);
  const isWorker = tasks.map(({ flags = 0 }, i) => threads[i] !== undefined && (flags & WORKER) !== 0);
  const full = yield* readStrings(
    data.memory,
    threads.map((thread, i) => (isWorker[i] ? undefined : thread?.fullName)),
    "the name of a kthread",
    report,
  );
  for (const [i, name] of full.entries()) if (name !== undefined) names[i] = name;
  if (!isWorker.includes(true) || !hasStruct(data.types, "worker")) return names;
  const pointers = threads.map((thread, i) => (isWorker[i] ? thread?.data : undefined));
  const workers = yield* readEach(data, WORKER_FIELDS, pointers, "a worker", report);
  const rescued = workers.map((worker, i) => (names[i]?.startsWith(RESCUER) ? worker?.rescued : undefined));
  const queues = yield* readEach(data, QUEUE, rescued, "a workqueue_struct", report);
  for (const [i, worker] of workers.entries()) {
    const queue = queues[i];
    if (queue?.name !== undefined) names[i] = `${RESCUER}${queue.name}`;
    const { pool = 0n, description = "", work = 0n } = worker ?? {};
    if (names[i] === undefined || pool === 0n || description === "") continue;
    // What it does, or did last.
    names[i] += `${work === 0n ? "-" : "+"}${description}`;
  }
  return names;
}
