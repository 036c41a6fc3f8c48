/** Who has which `struct file` open. */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { Task } from "../tasks/task.js";
import { Descriptors } from "./file.js";

/** A process that has a file open. */
export interface FileHolder {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly fd: number;
}

/** Descriptors of all processes that are kept: hostile ones may have one large table in common. */
const MAX_HOLDERS = 1 << 22;

/** Of tasks with their threads, those to be asked: processes, and threads that have a table of descriptors of their own. @internal */
export function tableHolders(tasks: readonly Task[]): Task[] {
  // (Processes may share a table: each of them has its files.)
  const leaders = tasks.filter(({ pid, tgid }) => pid === tgid);
  const tables = new Set<bigint>([0n]);
  for (const { raw } of leaders) if (raw.files !== undefined) tables.add(raw.files);
  const others = tasks.filter(({ pid, tgid, raw }) => {
    const { files = 0n } = raw;
    if (pid === tgid || tables.has(files)) return false;
    tables.add(files);
    return true;
  });
  return [...leaders, ...others];
}

/**
 * Holders of each file that one of these tasks has open, by the address of its `struct file`.
 *
 * @param most Descriptors that are kept; that there are more is told. @internal
 */
export function* fileHolders(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
  most = MAX_HOLDERS,
): Routine<Map<bigint, FileHolder[]>> {
  const found = new Map<bigint, FileHolder[]>();
  let left = most;
  for (const task of tasks) {
    const descriptors = new Descriptors(data, task, report);
    for (;;) {
      const piece = yield* descriptors.next();
      if (piece === undefined) break;
      for (const { fd, file } of piece) {
        if (file === null || typeof fd !== "number") continue;
        if (left-- === 0) {
          const more = `more than ${most} descriptors: those behind descriptor ${fd} of process ${task.pid ?? "?"} are not looked at`;
          report(damage("open files", task.raw.files ?? 0n, "too long", 0, more));
          return found;
        }
        const holders = found.get(file) ?? [];
        holders.push({ pid: task.pid, comm: task.comm, fd });
        found.set(file, holders);
      }
    }
  }
  return found;
}
