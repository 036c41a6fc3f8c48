/** Who has which `struct file` open. */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import type { Task } from "../tasks/task.js";
import { Descriptors } from "./file.js";

/** A process that has a file open. */
export interface FileHolder {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly fd: number;
}

/** Holders of each file that one of these tasks has open, by the address of its `struct file`. @internal */
export function* fileHolders(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<Map<bigint, FileHolder[]>> {
  const found = new Map<bigint, FileHolder[]>();
  for (const task of tasks) {
    const descriptors = new Descriptors(data, task, report);
    for (;;) {
      const piece = yield* descriptors.next();
      if (piece === undefined) break;
      for (const { fd, file } of piece) {
        if (file === null || typeof fd !== "number") continue;
        const holders = found.get(file) ?? [];
        holders.push({ pid: task.pid, comm: task.comm, fd });
        found.set(file, holders);
      }
    }
  }
  return found;
}
