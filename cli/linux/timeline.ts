/** `memtool timeline`: everything in a kernel that carries a time. */
import {
  isoTime,
  listTimeline,
  readClocks,
  TIMELINE_KINDS,
  type TimelineEntry,
  type TimelineKind,
} from "../../src/linux/index.js";
import { UsageError } from "../errors.js";
import type { CommandOptions, KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, PID_COLUMN, showList } from "./listing.js";

/** Times are no addresses: JSON has them as text, in decimal, as those of `timers`. */
const COLUMNS: readonly ListColumn<TimelineEntry>[] = [
  { field: "time", title: "TIME", value: ({ time }) => isoTime(time) },
  { field: "nanoseconds", type: "integer", value: ({ time }) => time.toString() },
  { field: "kind", title: "KIND", value: ({ kind }) => kind },
  PID_COLUMN,
  { field: "clock", title: "CLOCK", value: ({ clock }) => clock },
  { field: "stamp", type: "integer", value: ({ stamp }) => stamp.toString() },
  { field: "text", title: "WHAT", value: ({ text }) => text },
  { field: "address", type: "address", value: ({ address }) => address },
  { field: "doubt", title: "DOUBT", value: ({ doubt }) => doubt, cell: ({ doubt }) => doubt ?? "" },
];

/** `memtool timeline`. */
export const TIMELINE: KernelCommand = {
  name: "timeline",
  description:
    "everything that carries a time, the oldest first (UTC): processes and threads, when they last ran, the log, files, BPF programs, timers",
  options: [
    ["--kind <kinds>", `only some, with commas between: ${TIMELINE_KINDS.join(", ")}`],
    [
      "--since <time>",
      "not what is before: 2026-03-01T12:00:00Z, 2026-03-01 (UTC), or -10m: so long before now",
    ],
    ["--until <time>", "only what is before: the same"],
    ["--future", "timers that are still to expire, too"],
  ],
  examples: ["timeline --kind process,log", "timeline --kind file --since 2026-01-01"],
  check: (_args, options) => {
    kindsOf(options);
    for (const name of ["since", "until"]) momentOf(name, options);
  },
  run: async ({ session, kernel, options }) => {
    const damage = new DamageSummary();
    const notes: string[] = [];
    const now = await needsNow(options, kernel);
    const entries = listTimeline(kernel, {
      kinds: kindsOf(options),
      since: momentOf("since", options)?.(now),
      until: momentOf("until", options)?.(now),
      future: options.future === true,
      onDamage: damage.add,
      onNote: (note) => notes.push(note),
    });
    const status = await showList(session, entries, COLUMNS, damage, "nothing has such a time", false);
    for (const note of notes) session.warn(note);
    return status;
  },
};

/** @throws {UsageError} */
function kindsOf({ kind }: CommandOptions): readonly TimelineKind[] | undefined {
  if (typeof kind !== "string") return undefined;
  const names = kind.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!(TIMELINE_KINDS as readonly string[]).includes(name)) {
      throw new UsageError(`--kind ${kind}: "${name}" is none of ${TIMELINE_KINDS.join(", ")}`);
    }
  }
  return names as TimelineKind[];
}

const UNITS: Readonly<Record<string, bigint>> = { s: 1n, m: 60n, h: 3600n, d: 86_400n };
const SECOND = 1_000_000_000n;
const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?)?$/;

/** Nanoseconds since 1970, of what may be said from the kernel's now on. @throws {UsageError} */
function momentOf(name: string, options: CommandOptions): ((now: bigint) => bigint) | undefined {
  const text = options[name];
  if (typeof text !== "string") return undefined;
  const relative = /^-(\d{1,9})([smhd])$/.exec(text);
  if (relative !== null) {
    const span = BigInt(relative[1] as string) * (UNITS[relative[2] as string] as bigint) * SECOND;
    return (now) => now - span;
  }
  const match = ISO.exec(text);
  const [, day = "", time = "00:00", fraction = "", zone = "Z"] = match ?? [];
  const seconds = Date.parse(`${day}T${time.length === 5 ? `${time}:00` : time}${zone}`) / 1000;
  // (`Date` takes February 30th for March 2nd.)
  const isDay = new Date(Date.parse(day)).toJSON()?.startsWith(day) === true;
  if (match === null || !isDay || !Number.isSafeInteger(seconds)) {
    throw new UsageError(
      `--${name} ${text}: no time: 2026-03-01T12:00:00Z, 2026-03-01, or -10m (s, m, h, d before now)`,
    );
  }
  const moment = BigInt(seconds) * SECOND + BigInt(fraction.padEnd(9, "0"));
  return () => moment;
}

/** The kernel's now, where a moment is said from it on. */
async function needsNow(
  options: CommandOptions,
  kernel: Parameters<typeof listTimeline>[0],
): Promise<bigint> {
  const isRelative = [options.since, options.until].some(
    (text) => typeof text === "string" && text.startsWith("-"),
  );
  if (!isRelative) return 0n;
  const damage = () => {};
  return (await readClocks(kernel, { onDamage: damage }))?.realtime ?? 0n;
}
