import { listTraced, type Traced } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Traced>[] = [
  { field: "pid", type: "integer", title: "TID", right: true, value: ({ pid }) => pid },
  { field: "tgid", type: "integer", title: "PID", right: true, value: ({ tgid }) => tgid },
  { field: "state", title: "STATE", value: ({ state }) => state },
  { field: "comm", title: "COMMAND", value: ({ comm }) => comm },
  { field: "tracer", type: "integer", title: "TRACER", right: true, value: ({ tracer }) => tracer },
  { field: "tracerTgid", type: "integer", value: ({ tracerTgid }) => tracerTgid },
  { field: "tracerComm", title: "TRACER'S COMMAND", value: ({ tracerComm }) => tracerComm },
  { field: "seized", type: "boolean", title: "SEIZED", value: ({ seized }) => seized },
];

/** `memtool ptrace`. */
export const PTRACE: KernelCommand = {
  name: "ptrace",
  description: "threads that are traced, and who traces them",
  examples: ["ptrace"],
  ofProcess: true,
  run: async ({ session, kernel, pid }) => {
    const damage = new DamageSummary();
    const list = listTraced(kernel, { pid, onDamage: damage.add });
    return await showList(session, list, COLUMNS, damage, "nothing is traced", false);
  },
};
