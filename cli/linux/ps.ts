import { listTasks, readArguments, type Task } from "../../src/linux/index.js";
import { UsageError } from "../errors.js";
import type { KernelCommand, KernelContext } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";
import { scanPs } from "./ps-scan.js";

/** A task, and what the command adds to it. */
interface Shown extends Task {
  readonly args: readonly string[] | undefined;
  /** How deep it stands in the tree. */
  readonly depth: number;
}

const COLUMNS: readonly ListColumn<Shown>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: (task) => task.pid },
  { field: "nspid", type: "json", value: (task) => task.nspid },
  { field: "tgid", type: "integer", value: (task) => task.tgid },
  { field: "ppid", type: "integer", title: "PPID", right: true, value: (task) => task.ppid },
  { field: "uid", type: "integer", title: "UID", right: true, value: (task) => task.uid },
  { field: "gid", type: "integer", title: "GID", right: true, value: (task) => task.gid },
  { field: "state", title: "STATE", value: (task) => task.state },
  {
    field: "start",
    type: "number",
    title: "START",
    right: true,
    value: (task) => task.start,
    cell: startText,
  },
  { field: "kernelThread", type: "boolean", value: (task) => task.kernelThread },
  { field: "task", type: "address", title: "TASK", value: (task) => task.address },
  {
    field: "root",
    type: "address",
    title: "ROOT",
    right: true,
    value: rootOf,
    cell: (task) => rootText(task),
  },
  { field: "comm", value: (task) => task.comm },
  { field: "name", title: "COMMAND", value: (task) => task.name, cell: commandText },
  { field: "args", type: "json", value: (task) => task.args ?? null },
];

/** The last numbers of a table's columns, for one of threads. */
const THREADS: readonly ListColumn<Shown>[] = [
  { ...(COLUMNS[2] as ListColumn<Shown>), title: "PID", right: true },
  { ...(COLUMNS[0] as ListColumn<Shown>), title: "TID" },
  COLUMNS[1] as ListColumn<Shown>,
  ...COLUMNS.slice(3),
];

/** `memtool ps`. */
export const PS: KernelCommand = {
  name: "ps",
  description: "processes: every one of every namespace, zombies and kernel threads among them",
  options: [
    ["--tree", "children below their parents"],
    ["--threads", "every thread, not only processes"],
    [
      "--scan",
      "every thread that lies in memory, by what it looks like: hidden and ended ones too, and which lists have them",
    ],
  ],
  examples: ["ps", "ps --tree", "ps --scan"],
  ofProcess: true,
  check: (_, { scan, tree, threads }) => {
    if (scan === true && (tree === true || threads === true)) {
      throw new UsageError(
        "ps: --scan shows every thread, as they lie in memory: leave out --tree and --threads",
      );
    }
  },
  run: (context) => (context.options.scan === true ? scanPs(context) : ps(context)),
};

/** `memtool kthreads`. */
export const KTHREADS: KernelCommand = {
  name: "kthreads",
  description: "kernel threads",
  examples: ["kthreads"],
  ofProcess: true,
  run: (context) => ps(context, KERNEL_THREADS),
};

/** Which tasks are shown, and what is said where there are none. */
interface Shows {
  readonly all: string;
  readonly one: string;
  has(task: Task): boolean;
}

const PROCESSES: Shows = { all: "processes", one: "process", has: () => true };
const KERNEL_THREADS: Shows = {
  all: "kernel threads",
  one: "kernel thread",
  has: ({ kernelThread }) => kernelThread === true,
};

async function ps(context: KernelContext, shows = PROCESSES): Promise<number> {
  const { session, kernel, options, pid } = context;
  const damage = new DamageSummary();
  const threads = options.threads === true;
  const tasks = await listTasks(kernel, { threads, pid, onDamage: damage.add }).toArray();
  const shown: Shown[] = [];
  // Threads have their process's, and what claims to share an address space has the same.
  const known = new Map<bigint, readonly string[] | undefined>();
  for (const task of tasks.filter(shows.has)) {
    const { mm } = task;
    if (mm !== undefined && !known.has(mm)) {
      known.set(mm, (await readArguments(kernel, task, { onDamage: damage.add }))?.args);
    }
    shown.push({ ...task, args: mm === undefined ? undefined : known.get(mm), depth: 0 });
  }
  const list = options.tree === true ? inTree(shown) : shown;
  const none = pid === undefined ? `no ${shows.all}` : `there is no ${shows.one} ${pid}`;
  return await showList(session, list, threads ? THREADS : COLUMNS, damage, none);
}

/** Parents before their children. Those whose parent is not there stand at the left; no circle keeps anybody out. */
function inTree(tasks: readonly Shown[]): Shown[] {
  const children = new Map<number, Shown[]>();
  const numbers = new Set(tasks.map(({ tgid }) => tgid));
  const tops: Shown[] = [];
  for (const task of tasks) {
    const isThread = task.pid !== task.tgid;
    const above = isThread ? task.tgid : task.ppid;
    if (above === undefined || above === task.pid || !numbers.has(above)) tops.push(task);
    else {
      const others = children.get(above);
      if (others === undefined) children.set(above, [task]);
      else others.push(task);
    }
  }
  const ordered: Shown[] = [];
  const seen = new Set<Shown>();
  const visit = (roots: readonly Shown[]) => {
    const stack = roots.map((task) => ({ task, depth: 0 })).reverse();
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      const { task, depth } = top;
      if (seen.has(task)) continue;
      seen.add(task);
      ordered.push({ ...task, depth });
      const below = task.pid === task.tgid && task.pid !== undefined ? (children.get(task.pid) ?? []) : [];
      for (const child of [...below].reverse()) stack.push({ task: child, depth: depth + 1 });
    }
  };
  visit(tops);
  for (const task of tasks) if (!seen.has(task)) visit([task]);
  return ordered;
}

/** Deeper ones stand below each other. */
const MAX_INDENT = 40;

/** `null` for what has none. */
function rootOf({ root, mm }: Shown): bigint | null | undefined {
  if (root !== undefined) return BigInt(root);
  return mm === 0n ? null : undefined;
}

function rootText(task: Shown): string | undefined {
  const root = rootOf(task);
  return root === undefined ? undefined : root === null ? "-" : `0x${root.toString(16)}`;
}

function startText({ start }: Shown): string | undefined {
  return start?.toFixed(2);
}

/** Its arguments, or its name in brackets as `ps` shows it. */
function commandText({ args, name, depth }: Shown): string | undefined {
  const text = args === undefined || args.length === 0 ? `[${name ?? "?"}]` : args.join(" ");
  return `${"  ".repeat(Math.min(depth, MAX_INDENT))}${text}`;
}
