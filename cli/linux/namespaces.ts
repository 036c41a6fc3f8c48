import { listNamespaces, type Namespace } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, type ListValue, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Namespace>[] = [
  { field: "type", title: "TYPE", value: (each) => each.type },
  { field: "inode", type: "unsigned", title: "INODE", right: true, value: (each) => each.inode },
  { field: "name", value: ({ type, inode }) => `${type}:[${inode}]` },
  { field: "level", type: "integer", title: "LEVEL", right: true, value: (each) => each.level },
  { field: "parent", type: "integer", title: "PARENT", right: true, value: (each) => each.parent },
  { field: "user", type: "integer", title: "USER NS", right: true, value: (each) => each.user },
  { field: "uid", type: "integer", title: "UID", right: true, value: (each) => each.uid },
  { field: "namespace", type: "address", title: "ADDRESS", value: (each) => each.address },
  { field: "pids", type: "json", title: "PIDS", value: pids, cell: ({ pids }) => listed(pids) },
  { field: "parentPids", type: "json", value: (each) => [...each.parentPids] },
];

/** `memtool namespaces`. */
export const NAMESPACES: KernelCommand = {
  name: "namespaces",
  description: "namespaces, and the processes in them (--pid: those of one process)",
  examples: ["namespaces", "namespaces --pid 98"],
  ofProcess: true,
  run: async ({ session, kernel, pid }) => {
    const damage = new DamageSummary();
    const list = listNamespaces(kernel, { pid, onDamage: damage.add });
    return await showList(session, list, COLUMNS, damage);
  },
};

function pids({ pids }: Namespace): ListValue {
  return [...pids];
}

/** Numbers that a table's cell holds. */
const SHOWN = 8;

function listed(pids: readonly number[]): string {
  const list = pids.slice(0, SHOWN).join(" ");
  return pids.length > SHOWN ? `${list} and ${pids.length - SHOWN} more` : list;
}
