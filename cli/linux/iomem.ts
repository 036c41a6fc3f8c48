import { listResources, type Resource } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Resource>[] = [
  { field: "start", type: "address", title: "START", right: true, value: ({ start }) => start },
  { field: "end", type: "address", title: "END (EXCLUSIVE)", right: true, value: ({ end }) => end },
  { field: "name", title: "NAME", value: ({ name }) => name, cell: nameText },
  { field: "depth", type: "integer", value: ({ depth }) => depth },
  { field: "flags", type: "address", value: ({ flags }) => flags },
  { field: "address", type: "address", value: ({ address }) => address },
];

/** `memtool iomem`. */
export const IOMEM: KernelCommand = {
  name: "iomem",
  description: "physical addresses that the kernel has given out, as /proc/iomem shows them",
  options: [["--ports", "I/O ports instead, as /proc/ioports shows them"]],
  examples: ["iomem", "iomem --ports"],
  run: async ({ session, kernel, options }) => {
    const damage = new DamageSummary();
    const list = listResources(kernel, { ports: options.ports === true, onDamage: damage.add });
    return await showList(session, list, COLUMNS, damage, "the kernel has given out nothing");
  },
};

function nameText({ name, depth }: Resource): string | undefined {
  return name === undefined ? undefined : `${"  ".repeat(Math.min(depth, 40))}${name ?? "-"}`;
}
