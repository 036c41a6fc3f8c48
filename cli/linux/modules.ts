import { listModules, type Module } from "../../src/linux/index.js";
import type { KernelCommand, KernelContext } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Module>[] = [
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "address", title: "ADDRESS", right: true, value: ({ address }) => address },
  { field: "size", title: "SIZE", right: true, value: ({ size }) => size },
  // Kernels that can't unload modules don't count.
  { field: "references", title: "REFS", right: true, value: ({ references }) => references ?? null },
  { field: "state", title: "STATE", value: ({ state }) => state },
  { field: "taints", title: "TAINTS", value: ({ taints }) => taints },
  { field: "usedBy", title: "USED BY", value: ({ usedBy }) => usedBy },
  { field: "version", value: ({ version }) => version ?? null },
  { field: "srcversion", value: ({ srcversion }) => srcversion ?? null },
  {
    field: "parameters",
    title: "PARAMETERS",
    value: ({ parameters }) =>
      parameters.map(({ name, type, value, mode }) => ({
        name,
        type: type ?? null,
        value: value ?? null,
        mode: mode.toString(8).padStart(4, "0"),
      })),
    cell: ({ parameters }) => parameters.map(({ name, value }) => `${name}=${value ?? "?"}`).join(" "),
  },
  {
    field: "parts",
    value: ({ parts }) => parts.map(({ address, size }) => ({ address, size })),
  },
  { field: "module", value: ({ module }) => module },
];

/** `memtool modules`. */
export const MODULES: KernelCommand = {
  name: "modules",
  description: "loaded modules, with those that use them and their parameters",
  examples: ["modules", "modules --json"],
  run: modules,
};

async function modules({ session, kernel }: KernelContext): Promise<number> {
  const damage = new DamageSummary();
  const list = listModules(kernel, { onDamage: damage.add });
  return await showList(session, list, COLUMNS, damage, "no modules are loaded");
}
