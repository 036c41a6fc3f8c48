import { listSlabs, type SlabCache } from "../../src/linux/index.js";
import { hex } from "../render/numbers.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<SlabCache>[] = [
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "activeObjects", title: "ACTIVE", right: true, value: ({ activeObjects }) => activeObjects },
  { field: "objects", title: "OBJECTS", right: true, value: ({ objects }) => objects },
  { field: "size", title: "SIZE", right: true, value: ({ size }) => size },
  { field: "objectSize", title: "ASKED", right: true, value: ({ objectSize }) => objectSize },
  { field: "objectsPerSlab", title: "OBJ/SLAB", right: true, value: ({ objectsPerSlab }) => objectsPerSlab },
  { field: "pagesPerSlab", title: "PAGES/SLAB", right: true, value: ({ pagesPerSlab }) => pagesPerSlab },
  { field: "slabSize", value: ({ slabSize }) => slabSize },
  { field: "activeSlabs", value: ({ activeSlabs }) => activeSlabs },
  { field: "slabs", title: "SLABS", right: true, value: ({ slabs }) => slabs },
  { field: "align", title: "ALIGN", right: true, value: ({ align }) => align },
  { field: "address", title: "ADDRESS", value: ({ address }) => address },
  {
    field: "ctor",
    title: "CONSTRUCTOR",
    value: ({ ctor }) => (ctor ? { address: ctor.address, name: ctor.name } : ctor),
    cell: ({ ctor }) => (ctor ? (ctor.name ?? hex(ctor.address)) : ctor === null ? "-" : undefined),
  },
  { field: "flags", value: ({ flags }) => flags },
  {
    field: "flagNames",
    title: "FLAGS",
    value: ({ flagNames }) => flagNames,
    cell: ({ flagNames, flags }) =>
      flags === undefined ? undefined : flagNames.length === 0 ? "-" : flagNames.join("|"),
  },
  { field: "references", value: ({ references }) => references },
  { field: "aliases", title: "ALIASES", value: ({ aliases }) => aliases },
];

/** `memtool slabs`. */
export const SLABS: KernelCommand = {
  name: "slabs",
  description: "caches of the kernel's objects, as /proc/slabinfo and slabtop show them",
  examples: ["slabs"],
  run: async ({ session, kernel }) => {
    const damage = new DamageSummary();
    return await showList(session, listSlabs(kernel, { onDamage: damage.add }), COLUMNS, damage);
  },
};
