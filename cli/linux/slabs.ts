import { listSlabs, type SlabCache } from "../../src/linux/index.js";
import { hex } from "../render/numbers.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<SlabCache>[] = [
  { field: "name", title: "NAME", value: ({ name }) => name },
  {
    field: "activeObjects",
    type: "integer",
    title: "ACTIVE",
    right: true,
    value: ({ activeObjects }) => activeObjects,
  },
  { field: "objects", type: "integer", title: "OBJECTS", right: true, value: ({ objects }) => objects },
  { field: "size", type: "integer", title: "SIZE", right: true, value: ({ size }) => size },
  {
    field: "objectSize",
    type: "integer",
    title: "ASKED",
    right: true,
    value: ({ objectSize }) => objectSize,
  },
  {
    field: "objectsPerSlab",
    type: "integer",
    title: "OBJ/SLAB",
    right: true,
    value: ({ objectsPerSlab }) => objectsPerSlab,
  },
  {
    field: "pagesPerSlab",
    type: "integer",
    title: "PAGES/SLAB",
    right: true,
    value: ({ pagesPerSlab }) => pagesPerSlab,
  },
  { field: "slabSize", type: "integer", value: ({ slabSize }) => slabSize },
  { field: "activeSlabs", type: "integer", value: ({ activeSlabs }) => activeSlabs },
  { field: "slabs", type: "integer", title: "SLABS", right: true, value: ({ slabs }) => slabs },
  { field: "align", type: "integer", title: "ALIGN", right: true, value: ({ align }) => align },
  { field: "address", type: "address", title: "ADDRESS", value: ({ address }) => address },
  {
    field: "ctor",
    type: "json",
    title: "CONSTRUCTOR",
    value: ({ ctor }) => (ctor ? { address: ctor.address, name: ctor.name } : ctor),
    cell: ({ ctor }) => (ctor ? (ctor.name ?? hex(ctor.address)) : ctor === null ? "-" : undefined),
  },
  { field: "flags", type: "address", value: ({ flags }) => flags },
  {
    field: "flagNames",
    type: "json",
    title: "FLAGS",
    value: ({ flagNames }) => flagNames,
    cell: ({ flagNames, flags }) =>
      flags === undefined ? undefined : flagNames.length === 0 ? "-" : flagNames.join("|"),
  },
  { field: "references", type: "integer", value: ({ references }) => references },
  { field: "aliases", type: "json", title: "ALIASES", value: ({ aliases }) => aliases },
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
