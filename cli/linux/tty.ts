import {
  listTtyDrivers,
  listTtys,
  type Tty,
  type TtyDriver,
  type TtyUser,
  ttyRanges,
} from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const TTYS: readonly ListColumn<Tty>[] = [
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "major", type: "integer", value: ({ major }) => major },
  { field: "minor", type: "integer", value: ({ minor }) => minor },
  {
    field: "device",
    title: "DEVICE",
    value: ({ major, minor }) =>
      major === undefined || minor === undefined ? undefined : `${major}:${minor}`,
  },
  { field: "driver", value: ({ driver }) => driver?.name },
  { field: "index", type: "integer", value: ({ index }) => index },
  { field: "session", type: "integer", title: "SESSION", right: true, value: ({ session }) => session },
  { field: "sessionComm", title: "LEADER", value: ({ sessionComm }) => sessionComm },
  {
    field: "foreground",
    type: "integer",
    title: "FOREGROUND",
    right: true,
    value: ({ foreground }) => foreground,
  },
  { field: "discipline", title: "DISCIPLINE", value: ({ discipline }) => discipline },
  { field: "disciplineNumber", type: "integer", value: ({ disciplineNumber }) => disciplineNumber },
  {
    field: "receive",
    title: "RECEIVE",
    value: ({ receive }) => receive,
    cell: ({ receive, receiveAddress }) =>
      receive === null ? `0x${receiveAddress?.toString(16)}, no symbol` : receive,
  },
  { field: "receiveAddress", type: "address", value: ({ receiveAddress }) => receiveAddress },
  { field: "count", type: "integer", title: "OPEN", right: true, value: ({ count }) => count },
  { field: "rows", type: "integer", value: ({ rows }) => rows },
  { field: "columns", type: "integer", value: ({ columns }) => columns },
  {
    field: "users",
    type: "json",
    title: "PIDS",
    value: ({ users }) => users.map(({ pid, comm, fd }) => ({ pid, comm, fd })),
    cell: ({ users }) => pidsOf(users),
  },
  { field: "link", type: "address", value: ({ link }) => link },
  { field: "address", type: "address", title: "ADDRESS", value: ({ address }) => address },
];

const DRIVERS: readonly ListColumn<TtyDriver>[] = [
  { field: "driver", title: "DRIVER", value: ({ driverName }) => driverName, cell: driverText },
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "major", type: "integer", title: "MAJOR", right: true, value: ({ major }) => major },
  {
    field: "minor",
    type: "integer",
    title: "MINORS",
    right: true,
    value: ({ minor }) => minor,
    cell: minorsText,
  },
  { field: "count", type: "integer", value: ({ count }) => count },
  { field: "type", title: "TYPE", value: ({ type }) => type },
  { field: "flags", type: "address", value: ({ flags }) => flags },
  { field: "address", type: "address", title: "ADDRESS", value: ({ address }) => address },
];

/** `memtool tty`. */
export const TTY: KernelCommand = {
  name: "tty",
  description: "terminals that are open: whose they are, who has them open, what receives their input",
  options: [["--drivers", "drivers of terminals instead, as /proc/tty/drivers shows them"]],
  examples: ["tty", "tty --pid 1", "tty --drivers"],
  ofProcess: true,
  async run({ session, kernel, options, pid }) {
    const damage = new DamageSummary();
    const how = { onDamage: damage.add };
    const none = pid === undefined ? "no terminals are open" : `process ${pid} has no terminals open`;
    return options.drivers === true
      ? await showList(session, listTtyDrivers(kernel, how), DRIVERS, damage, "no drivers of terminals")
      : await showList(session, listTtys(kernel, { ...how, pid }), TTYS, damage, none, false);
  },
};

function driverText({ driverName }: TtyDriver): string | undefined {
  return driverName === null ? "unknown" : driverName;
}

/** Ranges of minors that a cell has; drivers have one, if their count does not lie. */
const RANGES = 4;

/** A range for each major; how many more there are is told. (JSON has the first minor and the count.) */
export function minorsText(driver: TtyDriver): string {
  const ranges = ttyRanges(driver).map(({ first, last }) =>
    first === last ? `${first}` : `${first}-${last}`,
  );
  const more = ranges.length > RANGES ? [`and ${ranges.length - RANGES} more`] : [];
  return [...ranges.slice(0, RANGES), ...more].join(", ");
}

/** Each process once. */
function pidsOf(users: readonly TtyUser[]): string {
  return [...new Set(users.map(({ pid }) => pid ?? "?"))].join(" ");
}
