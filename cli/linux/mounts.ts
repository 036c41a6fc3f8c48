import { listMounts, type Mount } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { numbers } from "./files.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Mount>[] = [
  { field: "id", type: "integer", title: "ID", right: true, value: (mount) => mount.id },
  { field: "parent", type: "integer", title: "PARENT", right: true, value: (mount) => mount.parent },
  { field: "device", title: "DEVICE", right: true, value: (mount) => numbers(mount.device) },
  { field: "root", title: "ROOT", value: (mount) => mount.root },
  { field: "mountpoint", title: "MOUNTPOINT", value: (mount) => mount.mountpoint, cell: mountpointText },
  { field: "type", title: "TYPE", value: (mount) => mount.type },
  { field: "source", title: "SOURCE", value: (mount) => mount.source },
  {
    field: "options",
    type: "json",
    title: "OPTIONS",
    value: (mount) => mount.options,
    cell: (mount) => mount.options.join(","),
  },
  {
    field: "superOptions",
    type: "json",
    title: "SUPER",
    value: (mount) => mount.superOptions,
    cell: (mount) => mount.superOptions?.join(","),
  },
  { field: "shared", type: "integer", value: (mount) => mount.shared },
  { field: "master", type: "integer", value: (mount) => mount.master },
  { field: "propagateFrom", type: "integer", value: (mount) => mount.propagateFrom },
  {
    field: "unbindable",
    type: "boolean",
    title: "PROPAGATION",
    value: (mount) => mount.unbindable,
    cell: propagationText,
  },
  { field: "reachable", type: "boolean", value: (mount) => mount.reachable },
  { field: "mount", type: "address", value: (mount) => mount.address },
  { field: "superBlock", type: "address", value: (mount) => mount.superBlock },
];

/** `memtool mounts`. */
export const MOUNTS: KernelCommand = {
  name: "mounts",
  description:
    "mounts of a process's mount namespace (--pid, else that of process 1), as in /proc/PID/mountinfo",
  options: [["--all", "those that the process can't reach, too"]],
  examples: ["mounts", "mounts --pid 98"],
  ofProcess: true,
  run: async ({ session, kernel, pid, options }) => {
    const damage = new DamageSummary();
    const mounts = listMounts(kernel, { pid, all: options.all === true, onDamage: damage.add });
    return await showList(session, mounts, COLUMNS, damage);
  },
};

function mountpointText({ mountpoint, reachable }: Mount): string | undefined {
  return reachable === false && mountpoint !== undefined ? `(unreachable)${mountpoint}` : mountpoint;
}

/** As mountinfo's optional fields. */
function propagationText({ shared, master, propagateFrom, unbindable }: Mount): string {
  const parts: string[] = [];
  if (shared !== null) parts.push(`shared:${shared}`);
  if (master !== null) parts.push(`master:${master ?? "?"}`);
  if (propagateFrom !== null) parts.push(`propagate_from:${propagateFrom}`);
  if (unbindable) parts.push("unbindable");
  return parts.join(" ");
}
