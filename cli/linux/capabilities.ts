import {
  CAPABILITIES,
  capabilityNames,
  listCapabilities,
  type TaskCapabilities,
} from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const SETS = ["permitted", "effective", "inheritable", "bounding", "ambient"] as const;

const COLUMNS: readonly ListColumn<TaskCapabilities>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ pid }) => pid },
  { field: "tgid", type: "integer", value: ({ tgid }) => tgid },
  { field: "comm", title: "COMMAND", value: ({ comm }) => comm },
  ...SETS.map(
    (set): ListColumn<TaskCapabilities> => ({
      field: set,
      title: set.toUpperCase(),
      value: (task) => task[set],
      cell: (task) => setText(task[set]),
    }),
  ),
  { field: "names", type: "json", value: namesOf },
];

/** `memtool capabilities`. */
export const CAPABILITIES_COMMAND: KernelCommand = {
  name: "capabilities",
  description: "what processes may do: their sets of capabilities",
  options: [["--threads", "every thread, not only processes"]],
  examples: ["capabilities", "capabilities --pid 1"],
  ofProcess: true,
  run: async ({ session, kernel, options, pid }) => {
    const damage = new DamageSummary();
    const threads = options.threads === true;
    const list = listCapabilities(kernel, { threads, pid, onDamage: damage.add });
    const none = pid === undefined ? "no processes" : `there is no process ${pid}`;
    return await showList(session, list, COLUMNS, damage, none);
  },
};

/** The names of each set, for programs. */
function namesOf(task: TaskCapabilities): Record<string, string[] | undefined> {
  return Object.fromEntries(
    SETS.map((set) => {
      const bits = task[set];
      return [set, bits === undefined ? undefined : capabilityNames(bits)];
    }),
  );
}

/** Few by their names; many as the hex of /proc/PID/status. */
function setText(set: bigint | undefined): string | undefined {
  if (set === undefined) return undefined;
  if (set === 0n) return "-";
  const names = capabilityNames(set);
  if (names.length <= 4) return names.join(",");
  const all = set === (1n << BigInt(CAPABILITIES.length)) - 1n;
  return all ? "all" : `0x${set.toString(16)}`;
}
