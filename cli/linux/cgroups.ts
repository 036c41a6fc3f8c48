import { type Cgroup, listCgroups } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Cgroup>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: (each) => each.pid },
  { field: "comm", title: "COMMAND", value: (each) => each.comm },
  { field: "hierarchy", type: "integer", title: "HIERARCHY", right: true, value: (each) => each.hierarchy },
  { field: "version", type: "integer", title: "VERSION", right: true, value: (each) => each.version },
  { field: "name", title: "NAME", value: (each) => each.name },
  {
    field: "controllers",
    type: "json",
    title: "CONTROLLERS",
    value: (each) => each.controllers,
    cell: (each) => each.controllers?.join(","),
  },
  { field: "path", title: "PATH", value: (each) => each.path, cell: pathText },
  { field: "deleted", type: "boolean", value: (each) => each.deleted },
  { field: "cgroup", type: "address", value: (each) => each.cgroup },
];

/** `memtool cgroups`. */
export const CGROUPS: KernelCommand = {
  name: "cgroups",
  description: "control groups of processes, in every hierarchy",
  examples: ["cgroups", "cgroups --pid 1"],
  ofProcess: true,
  run: async ({ session, kernel, pid }) => {
    const damage = new DamageSummary();
    const groups = await listCgroups(kernel, { pid, onDamage: damage.add }).toArray();
    if (groups.length === 0 && damage.count === 0) session.warn("no cgroup hierarchy was ever mounted");
    return await showList(session, groups, COLUMNS, damage);
  },
};

function pathText({ path, deleted }: Cgroup): string | undefined {
  return deleted && path !== undefined ? `${path} (deleted)` : path;
}
