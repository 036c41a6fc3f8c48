import { listPerfEvents, type PerfEvent, type PerfTask } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { exact } from "./files.js";
import { DamageSummary, type ListColumn, type ListValue, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<PerfEvent>[] = [
  { field: "id", type: "integer", title: "ID", right: true, value: ({ id }) => id },
  { field: "type", title: "TYPE", value: ({ type }) => type },
  { field: "config", type: "address", value: ({ config }) => config },
  { field: "name", title: "EVENT", value: ({ name }) => name, cell: eventText },
  { field: "pmu", title: "PMU", value: ({ pmu }) => pmu },
  { field: "state", title: "STATE", value: ({ state }) => state },
  {
    field: "target",
    type: "json",
    title: "TARGET",
    value: (event) => taskValue(event.target),
    cell: targetText,
  },
  { field: "cpu", type: "integer", title: "CPU", right: true, value: ({ cpu }) => cpu, cell: cpuText },
  {
    field: "count",
    type: "unsigned",
    title: "COUNT",
    right: true,
    value: ({ count }) => exact(count),
    cell: countText,
  },
  { field: "period", type: "unsigned", value: ({ period }) => exactOf(period) },
  { field: "frequency", type: "unsigned", value: ({ frequency }) => exactOf(frequency) },
  { field: "excludes", type: "json", value: ({ excludes }) => excludes },
  { field: "inherit", type: "boolean", value: ({ inherit }) => inherit },
  { field: "pinned", type: "boolean", value: ({ pinned }) => pinned },
  { field: "leader", type: "address", value: ({ leader }) => leader },
  { field: "parent", type: "address", value: ({ parent }) => parent },
  { field: "owner", type: "json", title: "OWNER", value: (event) => taskValue(event.owner), cell: ownerText },
  { field: "kernels", type: "boolean", value: ({ isKernels }) => isKernels },
  {
    field: "holders",
    type: "json",
    title: "OPEN IN",
    value: ({ holders }) => holders.map((each) => ({ ...each })),
    cell: ({ holders }) =>
      holders.map(({ pid, comm, fd }) => `${pid ?? "?"}/${comm ?? "?"}:${fd}`).join(", "),
  },
  { field: "handler", type: "address", value: ({ handler }) => handler },
  { field: "handlerName", title: "HANDLER", value: ({ handlerName }) => handlerName, cell: handlerText },
  { field: "handlerOwner", value: ({ handlerOwner }) => handlerOwner ?? null },
  // (A handlerOwner of null is the kernel itself only where this is true.)
  { field: "handlerOwned", type: "boolean", value: ({ handlerOwner }) => handlerOwner !== undefined },
  {
    field: "program",
    type: "json",
    title: "PROGRAM",
    value: ({ program }) => (program === null || program === undefined ? program : { ...program }),
    cell: programText,
  },
  { field: "seen", type: "json", value: ({ seen }) => seen },
  { field: "address", type: "address", value: ({ address }) => address },
];

/** `memtool perf-events`. */
export const PERF_EVENTS: KernelCommand = {
  name: "perf-events",
  description:
    "perf events of every task and CPU: what is counted and sampled, for whom, and what is called then",
  examples: ["perf-events", "perf-events --json"],
  ofProcess: true,
  run: async ({ session, kernel, pid }) => {
    const damage = new DamageSummary();
    const events = listPerfEvents(kernel, { pid, onDamage: damage.add });
    return await showList(session, events, COLUMNS, damage, "no perf events");
  },
};

function eventText({ name, config }: PerfEvent): string | undefined {
  return name ?? (config === undefined ? undefined : `config=0x${config.toString(16)}`);
}

function taskValue(task: PerfTask | null | undefined): ListValue {
  return task === null || task === undefined ? task : { ...task };
}

function taskText({ pid, comm }: PerfTask): string {
  return `${pid ?? "?"}/${comm ?? "?"}`;
}

function targetText({ target, cpu, state }: PerfEvent): string | undefined {
  if (target === null) return cpu === -1 || state === "exit" ? "(ended)" : "all";
  return target && taskText(target);
}

function cpuText({ cpu }: PerfEvent): string | undefined {
  return cpu === -1 ? "any" : cpu?.toString();
}

function ownerText({ owner, isKernels, parent }: PerfEvent): string | undefined {
  if (isKernels === true) return "(kernel)";
  if (owner === null) return typeof parent === "bigint" ? "(inherited)" : "(ended)";
  return owner && taskText(owner);
}

function exactOf(value: bigint | null | undefined): ListValue {
  return value === null ? null : exact(value);
}

function countText({ count }: PerfEvent): string | undefined {
  return count?.toString();
}

function handlerText({ handlerName, handlerOwner, handler }: PerfEvent): string | undefined {
  if (handler === undefined || handlerName === null) return handlerName === null ? "" : undefined;
  const name = handlerName ?? `0x${handler.toString(16)}`;
  return handlerOwner === null ? name : `${name} [${handlerOwner ?? "?"}]`;
}

function programText({ program }: PerfEvent): string | undefined {
  return program === null ? "" : program && `${program.id ?? "?"}/${program.name ?? "?"}`;
}
