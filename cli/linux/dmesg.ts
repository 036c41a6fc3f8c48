import { LOG_FACILITIES, LOG_LEVELS, type LogRecord, listLog } from "../../src/linux/index.js";
import { escapeText } from "../render/escape.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<LogRecord>[] = [
  { field: "sequence", type: "integer", value: ({ sequence }) => sequence },
  { field: "time", type: "number", value: ({ time }) => time },
  { field: "nanoseconds", type: "integer", value: ({ nanoseconds }) => nanoseconds.toString() },
  { field: "level", value: ({ level }) => LOG_LEVELS[level] ?? level },
  { field: "facility", value: ({ facility }) => LOG_FACILITIES[facility] ?? facility },
  { field: "text", value: ({ text }) => text },
  { field: "caller", value: ({ caller }) => caller ?? null },
  { field: "about", type: "json", value: ({ about }) => ({ ...about }) },
];

/** `memtool dmesg`. */
export const DMESG: KernelCommand = {
  name: "dmesg",
  description: "the kernel's log, the oldest message first",
  examples: ["dmesg"],
  async run({ session, kernel }) {
    const damage = new DamageSummary();
    const records = listLog(kernel, { onDamage: damage.add });
    if (session.isForPrograms) return await showList(session, records, COLUMNS, damage);
    // As dmesg shows it: no table.
    for await (const record of records) {
      for (const line of record.text.split("\n")) {
        session.out.text(`[${secondsOf(record)}] ${escapeText(line)}\n`);
      }
      await session.out.settle();
    }
    return await showList(session, [], COLUMNS, damage);
  },
};

/** As dmesg shows them: microseconds are cut off, not rounded (kernel/printk/printk.c, `print_time`). */
function secondsOf({ nanoseconds }: LogRecord): string {
  const microseconds = nanoseconds / 1000n;
  const fraction = (microseconds % 1_000_000n).toString().padStart(6, "0");
  return `${microseconds / 1_000_000n}.${fraction}`.padStart(12);
}
