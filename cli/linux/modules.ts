import { type LoadedModule, listModules } from "../../src/linux/index.js";
import { UsageError } from "../errors.js";
import type { KernelCommand } from "./command.js";
import { MAX_BYTES_OPTION, maxBytesOf } from "./extract-limit.js";
import { extractModuleFiles } from "./extract-modules.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<LoadedModule>[] = [
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "address", type: "address", title: "ADDRESS", value: ({ address }) => address },
  { field: "size", type: "integer", title: "SIZE", right: true, value: ({ size }) => size },
  { field: "state", title: "STATE", value: ({ state }) => state },
  { field: "references", type: "integer", title: "REFS", right: true, value: ({ references }) => references },
  { field: "usedBy", type: "json", title: "USED BY", value: ({ usedBy }) => usedBy },
  {
    field: "parameters",
    type: "json",
    title: "PARAMETERS",
    value: ({ parameters }) => parameters.map(({ name, type, value, mode }) => ({ name, type, value, mode })),
    cell: ({ parameters }) => parameters.map(({ name, value }) => `${name ?? "?"}=${value ?? "?"}`).join(" "),
  },
  { field: "taints", type: "address", value: ({ taints }) => taints },
  { field: "version", value: ({ version }) => version ?? null },
  { field: "sourceVersion", value: ({ sourceVersion }) => sourceVersion ?? null },
  { field: "module", type: "address", value: ({ module }) => module },
];

/** `memtool modules`. */
export const MODULES: KernelCommand = {
  name: "modules",
  description:
    "loaded modules, who uses them, and what their parameters are now; with --extract, as ELF files with their sections and symbols",
  arguments: [["[name...]", "with --extract: only these"]],
  options: [["--extract <directory>", "write each as an ELF file, as it is in memory now"], MAX_BYTES_OPTION],
  examples: ["modules", "modules --extract tmp/modules zram"],
  check: (args, options) => {
    const { extract } = options;
    maxBytesOf(options);
    if (args.length > 0 && extract === undefined)
      throw new UsageError("modules: names are for --extract DIRECTORY; without it, all are listed");
    if (extract === "") throw new UsageError("modules: --extract needs a directory");
  },
  run: async ({ session, kernel, args, options }) => {
    if (typeof options.extract === "string")
      return await extractModuleFiles(session, kernel, args, options.extract, maxBytesOf(options));
    const damage = new DamageSummary();
    return await showList(session, listModules(kernel, { onDamage: damage.add }), COLUMNS, damage);
  },
};
