import { type KernelStack, listKernelStacks, type StackFrame } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

/** A row of the table: a frame, or a task that has none. */
interface StackRow extends Omit<KernelStack, "frames"> {
  readonly frame: StackFrame | undefined;
  /** Whether the task's other rows come behind it. */
  readonly isFirst: boolean;
}

const COLUMNS: readonly ListColumn<StackRow>[] = [
  {
    field: "pid",
    type: "integer",
    title: "PID",
    right: true,
    value: ({ task }) => task.pid,
    cell: ofFirst(({ task }) => task.pid),
  },
  { field: "comm", title: "NAME", value: ({ task }) => task.name, cell: ofFirst(({ task }) => task.name) },
  {
    field: "state",
    title: "STATE",
    value: ({ task }) => task.state,
    cell: ofFirst(({ task }) => task.state),
  },
  { field: "pc", type: "address", title: "PC", value: ({ frame }) => frame?.pc ?? null },
  { field: "symbol", title: "FUNCTION", value: ({ frame }) => frame?.symbol ?? null, cell: functionText },
];

/** The same for programs: a task an object. */
const STACKS: readonly ListColumn<KernelStack>[] = [
  { field: "pid", type: "integer", value: ({ task }) => task.pid },
  { field: "tgid", type: "integer", value: ({ task }) => task.tgid },
  { field: "comm", value: ({ task }) => task.comm },
  { field: "name", value: ({ task }) => task.name },
  { field: "state", value: ({ task }) => task.state },
  { field: "from", value: ({ from }) => from },
  { field: "complete", type: "boolean", value: ({ complete }) => complete },
  { field: "frames", type: "json", value: ({ frames }) => frames.map((frame) => ({ ...frame })) },
  { field: "task", type: "address", value: ({ task }) => task.address },
];

/** `memtool stacks`. */
export const STACKS_COMMAND: KernelCommand = {
  name: "stacks",
  description:
    "kernel stacks of threads: in which functions of the kernel each is, as /proc/PID/stack shows it",
  examples: ["stacks --pid 98"],
  ofProcess: true,
  async run({ session, kernel, pid }) {
    const damage = new DamageSummary();
    const registers = session.machine.notes?.cpus;
    const stacks = listKernelStacks(kernel, { pid, registers, onDamage: damage.add });
    if (session.isForPrograms) return await showList(session, stacks, STACKS, damage, "no tasks");
    const rows: StackRow[] = [];
    for await (const { frames, ...rest } of stacks) {
      if (frames.length === 0) rows.push({ ...rest, frame: undefined, isFirst: true });
      for (const [i, frame] of frames.entries()) rows.push({ ...rest, frame, isFirst: i === 0 });
    }
    return await showList(session, rows, COLUMNS, damage, "no tasks");
  },
};

function ofFirst(value: (row: StackRow) => string | number | undefined) {
  return (row: StackRow) => (row.isFirst ? value(row)?.toString() : "");
}

const WITHOUT = {
  user: "(runs in user mode)",
  unknown: "(runs; the dump has no registers of its CPU)",
  saved: "?",
  registers: "?",
} as const;

function functionText({ frame, from }: StackRow): string | undefined {
  if (frame === undefined) return WITHOUT[from];
  const { symbol, offset, module } = frame;
  if (symbol === undefined) return undefined;
  const place = offset === 0n ? symbol : `${symbol}+0x${offset?.toString(16)}`;
  return module === null || module === undefined ? place : `${place} [${module}]`;
}
