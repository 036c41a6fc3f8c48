/** `memtool ps --scan`. */
import { readArguments, type ScannedTask, scanTasks, type TaskStatus } from "../../src/linux/index.js";
import type { KernelContext } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";
import { evidenceColumns, StatusCounts } from "./scanned.js";

/** A task, and its command line if it lives. */
interface Shown extends ScannedTask {
  readonly args: readonly string[] | undefined;
}

const COLUMNS: readonly ListColumn<Shown>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ pid }) => pid },
  { field: "nspid", type: "json", value: ({ nspid }) => nspid },
  { field: "tgid", type: "integer", title: "TGID", right: true, value: ({ tgid }) => tgid },
  { field: "ppid", type: "integer", title: "PPID", right: true, value: ({ ppid }) => ppid },
  { field: "uid", type: "integer", value: ({ uid }) => uid },
  { field: "gid", type: "integer", value: ({ gid }) => gid },
  { field: "state", title: "STATE", value: ({ state }) => state },
  { field: "start", type: "number", value: ({ start }) => start },
  { field: "kernelThread", type: "boolean", value: ({ kernelThread }) => kernelThread },
  { field: "status", title: "STATUS", value: ({ status }) => status },
  { field: "physical", type: "address", value: ({ physical }) => BigInt(physical) },
  { field: "task", type: "address", title: "TASK", value: ({ address }) => address },
  { field: "root", type: "address", value: ({ root }) => (root === undefined ? undefined : BigInt(root)) },
  { field: "cache", value: ({ cache }) => cache ?? null },
  { field: "listedBy", type: "json", value: ({ listedBy }) => listedBy },
  ...evidenceColumns<Shown>(
    ({ status, evidence }) => (status === "listed" && evidence.length > 0) || status === "idle",
  ),
  { field: "comm", value: ({ comm }) => comm },
  { field: "name", title: "COMMAND", value: ({ name }) => name, cell: commandText },
  { field: "args", type: "json", value: ({ args }) => args ?? null },
];

/** Shows every task that the memory has. */
export async function scanPs({ session, kernel, pid }: KernelContext): Promise<number> {
  const damage = new DamageSummary();
  const onProgress = (done: number, total: number) => session.progress("looking for tasks", done, total);
  const shown: Shown[] = [];
  const counts = new StatusCounts(ORDER);
  const known = new Map<bigint, readonly string[] | undefined>();
  for await (const task of scanTasks(kernel, { onDamage: damage.add, onProgress })) {
    counts.add(task.status);
    if (pid !== undefined && task.pid !== pid && task.tgid !== pid) continue;
    const { mm = 0n } = task;
    const lives = task.status === "listed" || task.status === "hidden";
    if (lives && mm !== 0n && !known.has(mm)) {
      known.set(mm, (await readArguments(kernel, task, { onDamage: damage.add }))?.args);
    }
    shown.push({ ...task, args: lives ? known.get(mm) : undefined });
  }
  const status = await showList(
    session,
    shown,
    COLUMNS,
    damage,
    pid === undefined ? "nothing in memory looks like a task" : `nothing in memory looks like task ${pid}`,
  );
  counts.report(session, damage.count === 0);
  return status;
}

const ORDER: readonly TaskStatus[] = ["listed", "hidden", "idle", "new", "exited", "freed", "copy"];

function commandText({ args, name }: Shown): string {
  return args === undefined || args.length === 0 ? `[${name ?? "?"}]` : args.join(" ");
}
