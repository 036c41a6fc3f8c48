import { type KernelTimer, listTimers } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

/** Times are numbers of up to 64 bits, and no addresses: JSON has them as text, in decimal. */
const COLUMNS: readonly ListColumn<KernelTimer>[] = [
  { field: "kind", title: "KIND", value: ({ kind }) => kind },
  { field: "cpu", type: "integer", title: "CPU", right: true, value: ({ cpu }) => cpu },
  { field: "index", type: "integer", value: ({ index }) => index },
  {
    field: "clock",
    title: "CLOCK",
    value: ({ clock }) => clock,
    cell: ({ clock, soft }) => (soft === true ? `${clock} soft` : clock),
  },
  { field: "soft", type: "boolean", value: ({ soft }) => soft },
  { field: "expires", title: "EXPIRES", right: true, value: ({ expires }) => decimal(expires) },
  { field: "softExpires", value: ({ softExpires }) => decimal(softExpires) },
  { field: "now", value: ({ now }) => decimal(now) },
  {
    field: "remaining",
    title: "IN",
    right: true,
    value: ({ remaining }) => decimal(remaining),
    cell: remainingText,
  },
  { field: "state", type: "integer", value: ({ state }) => state },
  { field: "flags", type: "json", title: "FLAGS", value: ({ flags }) => flags },
  { field: "address", type: "address", title: "TIMER", value: ({ address }) => address },
  { field: "base", type: "address", value: ({ base }) => base },
  {
    field: "function",
    title: "FUNCTION",
    value: (timer) => timer.function,
    cell: (timer) => timer.function ?? cellOfAddress(timer.functionAddress),
  },
  { field: "functionAddress", type: "address", value: ({ functionAddress }) => functionAddress },
  { field: "pid", type: "integer", title: "FOR", value: ({ pid }) => pid, cell: ownerText },
  { field: "comm", value: ({ comm }) => comm },
  { field: "tgid", type: "integer", value: ({ tgid }) => tgid },
  { field: "work", value: ({ work }) => work },
];

/** `memtool timers`. */
export const TIMERS: KernelCommand = {
  name: "timers",
  description: "timers of every CPU: what they call and when (ns; those of the wheel: jiffies)",
  examples: ["timers", "timers --pid 115"],
  ofProcess: true,
  run: async ({ session, kernel, pid }) => {
    const damage = new DamageSummary();
    const none = pid === undefined ? "no timers" : `no timers of process ${pid}`;
    return await showList(
      session,
      listTimers(kernel, { pid, onDamage: damage.add }),
      COLUMNS,
      damage,
      none,
      false,
    );
  },
};

function decimal(value: bigint | null | undefined): string | null | undefined {
  return typeof value === "bigint" ? value.toString() : value;
}

function remainingText({ kind, remaining }: KernelTimer): string | undefined {
  if (typeof remaining !== "bigint") return remaining === null ? "" : undefined;
  return `${remaining} ${kind === "wheel" ? "jiffies" : "ns"}`;
}

function cellOfAddress(address: bigint | undefined): string | undefined {
  return address === undefined ? undefined : `0x${address.toString(16)}`;
}

function ownerText({ pid, comm, work }: KernelTimer): string | undefined {
  if (pid === null) return work === undefined ? undefined : (work ?? "");
  return pid === undefined ? undefined : `${pid} (${comm ?? "?"})`;
}
