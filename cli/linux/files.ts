import { deviceText, listFiles, type OpenFile } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, type ListValue, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<OpenFile>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: (file) => file.pid },
  { field: "comm", title: "COMMAND", value: (file) => file.comm },
  { field: "fd", title: "FD", right: true, value: (file) => file.fd },
  { field: "type", title: "TYPE", value: (file) => file.type },
  { field: "flags", type: "integer", title: "FLAGS", value: (file) => file.flags, cell: flagsText },
  { field: "flagNames", type: "json", value: (file) => file.flagNames },
  { field: "position", type: "integer", title: "POSITION", right: true, value: (file) => file.position },
  { field: "device", title: "DEVICE", right: true, value: (file) => numbers(file.device) },
  { field: "special", value: (file) => numbers(file.special, null) },
  {
    field: "inode",
    type: "unsigned",
    title: "INODE",
    right: true,
    value: (file) => exact(file.inode),
    cell: inodeText,
  },
  { field: "path", title: "PATH", value: (file) => file.path, cell: pathText },
  { field: "unmounted", type: "boolean", value: (file) => file.unmounted },
  { field: "file", type: "address", value: (file) => file.file },
];

/** `memtool files`. */
export const FILES: KernelCommand = {
  name: "files",
  description:
    "open files of processes: by descriptor, and working directory (cwd), root directory (rtd), program (txt)",
  examples: ["files", "files --pid 1"],
  ofProcess: true,
  run: async ({ session, kernel, pid }) => {
    const damage = new DamageSummary();
    const files = listFiles(kernel, { pid, onDamage: damage.add });
    const none =
      pid === undefined ? "no files are open" : `process ${pid} has no files open, or there is none`;
    return await showList(session, files, COLUMNS, damage, none, false);
  },
};

/** A number where it is exact, as JSON's readers take it. */
export function exact(value: bigint | undefined): number | bigint | undefined {
  if (value === undefined) return undefined;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/** A device as "8:1". */
export function numbers(device: number | undefined, none?: null): ListValue {
  return device === undefined ? none : deviceText(device);
}

/** "(unreachable)" as getcwd has it. */
function pathText({ path, unmounted }: OpenFile): string | undefined {
  return unmounted && path !== undefined ? `(unreachable)${path}` : path;
}

function inodeText({ inode }: OpenFile): string | undefined {
  return inode?.toString();
}

/** As fdinfo has them, in octal. */
function flagsText({ flags }: OpenFile): string | undefined {
  return flags === null ? "" : flags === undefined ? undefined : `0${flags.toString(8)}`;
}
