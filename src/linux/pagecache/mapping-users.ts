/**
 * Which processes have files open, or map them, by the `address_space` of each: it is that of the pages, whatever the file was opened by (a
 * device's node, a file of overlayfs).
 *
 * Facts: include/linux/fs.h (`struct file`: `f_mapping`).
 */
import type { Routine } from "../../io/index.js";
import { Descriptors } from "../files/file.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { record, word } from "../objects/record.js";
import type { Task } from "../tasks/task.js";
import { readVmas } from "../tasks/vma.js";

const FILE = record("file", { mapping: word("f_mapping") });

/** Numbers of processes by the address of an `address_space`. @internal */
export function* mappingUsers(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<ReadonlyMap<bigint, ReadonlySet<number>>> {
  /** By the address of a `struct file`, which many may share. */
  const users = new Map<bigint, Set<number>>();
  const add = (file: bigint | null | undefined, { tgid, pid }: Task) => {
    const number = tgid ?? pid;
    if (typeof file !== "bigint" || file === 0n || number === undefined) return;
    const known = users.get(file);
    if (known === undefined) users.set(file, new Set([number]));
    else known.add(number);
  };
  for (const task of tasks) {
    const descriptors = new Descriptors(data, task, report);
    for (;;) {
      const piece = yield* descriptors.next();
      if (piece === undefined) break;
      for (const { file } of piece) add(file, task);
    }
  }
  for (const { task, rows } of yield* readVmas(data, tasks, report)) {
    for (const { partial } of rows) add(partial.file, task);
  }
  const files = [...users.keys()];
  const rows = yield* readEach(data, FILE, files, "a file", report);
  const found = new Map<bigint, Set<number>>();
  for (const [i, { mapping = 0n } = {}] of rows.entries()) {
    if (mapping === 0n) continue;
    const known = found.get(mapping) ?? new Set<number>();
    for (const pid of users.get(files[i] as bigint) ?? []) known.add(pid);
    found.set(mapping, known);
  }
  return found;
}
