import { type LoadedLibrary, listLibraries } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<LoadedLibrary>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ pid }) => pid },
  { field: "comm", title: "PROCESS", value: ({ comm }) => comm },
  { field: "base", type: "address", title: "BASE", right: true, value: ({ base }) => base },
  {
    field: "dynamic",
    type: "address",
    title: "DYNAMIC",
    right: true,
    value: ({ dynamic }) => dynamic ?? null,
  },
  { field: "kind", title: "TYPE", value: ({ kind }) => kind ?? null },
  {
    field: "namespace",
    type: "integer",
    title: "NAMESPACE",
    right: true,
    value: ({ namespace }) => namespace,
  },
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "path", title: "PATH", value: ({ path }) => path ?? null },
  { field: "soname", value: ({ soname }) => soname ?? null },
  { field: "buildId", value: ({ buildId }) => buildId ?? null },
  { field: "hint", title: "HINT", value: ({ hint }) => hint ?? null, cell: hintText },
  { field: "origin", value: ({ origin }) => origin ?? null },
  { field: "how", value: ({ how }) => how ?? null },
  { field: "linkMap", type: "address", value: ({ linkMap }) => linkMap ?? null },
];

/** `memtool libraries`. */
export const LIBRARIES: KernelCommand = {
  name: "libraries",
  description:
    "libraries of processes by their own linker's list, and what lies in their memory and is not on it, or is on it and not in memory",
  examples: ["libraries", "libraries --pid 98 --json"],
  ofProcess: true,
  async run({ session, kernel, pid }) {
    const damage = new DamageSummary();
    await session.machine.swapTypes();
    const none =
      pid === undefined
        ? "no process has a dynamic linker's list: their programs are static, or what leads to it is missing (memtool elfs)"
        : `process ${pid} has no dynamic linker's list: its program is static, or what leads to it is missing (memtool elfs --pid ${pid})`;
    return await showList(
      session,
      listLibraries(kernel, { pid, onDamage: damage.add }),
      COLUMNS,
      damage,
      none,
      false,
    );
  },
};

const HINTS = {
  unlisted: "not on the linker's list",
  unmapped: "on the list, in no mapping",
  "no header": "on the list, no ELF header there",
} as const;

function hintText({ hint, how, origin }: LoadedLibrary): string {
  if (hint === "unlisted") return `${HINTS[hint]} (${how})`;
  if (hint !== undefined) return HINTS[hint];
  return origin === "_r_debug" ? "the program's DT_DEBUG does not lead to this list" : "";
}
