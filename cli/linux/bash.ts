import { listBashHistory, type ShellCommand } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<ShellCommand>[] = [
  { field: "pid", type: "integer", title: "PID", right: true, value: ({ pid }) => pid },
  { field: "comm", title: "PROCESS", value: ({ comm }) => comm },
  { field: "time", title: "TIME (UTC)", value: ({ time }) => timeText(time) },
  { field: "seconds", type: "integer", value: ({ time }) => time },
  { field: "index", type: "integer", title: "INDEX", right: true, value: ({ index }) => index ?? null },
  {
    field: "command",
    title: "COMMAND",
    value: ({ command }) => command,
    cell: ({ command, partial }) => (partial ? `${command}…` : command),
  },
  { field: "partial", type: "boolean", value: ({ partial }) => partial },
  { field: "address", type: "address", value: ({ address }) => address },
];

/** `memtool bash`. */
export const BASH: KernelCommand = {
  name: "bash",
  description:
    "commands that shells remember: out of the memory of every process called bash, or of the one that --pid names",
  examples: ["bash"],
  ofProcess: true,
  async run({ session, kernel, pid }) {
    const damage = new DamageSummary();
    await session.machine.swapTypes();
    const none =
      pid === undefined
        ? "no process called bash has a history (--pid looks into any; other shells keep none that is found so)"
        : `process ${pid} has no history of bash`;
    return await showList(
      session,
      listBashHistory(kernel, { pid, onDamage: damage.add }),
      COLUMNS,
      damage,
      none,
      false,
    );
  },
};

/** As ISO 8601 has it, without fractions. */
function timeText(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}
