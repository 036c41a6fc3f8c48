/** QEMU's processes on this machine, and which of them a target means. */
import { readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { ConnectorError, errnoName } from "../errors.js";
import { isQemuProgram, parseCommandLine, type QemuCommandLine } from "./command-line.js";
import { socketPaths } from "./monitor-owner.js";

/** A process that runs a guest. */
export interface GuestProcess {
  readonly pid: number;
  readonly commandLine: QemuCommandLine;
}

/** Every QEMU process that can be seen, ascending by number. */
export function listGuests(): GuestProcess[] {
  const guests: GuestProcess[] = [];
  for (const entry of listProcesses()) {
    const args = argumentsOf(entry);
    if (args !== undefined && isQemuProgram(args[0] ?? ""))
      guests.push({ pid: entry, commandLine: parseCommandLine(args) });
  }
  return guests;
}

function listProcesses(): number[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

/** A process's arguments; `undefined` of one that has ended, or has none. */
function argumentsOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return text === "" ? undefined : text.replace(/\0$/, "").split("\0");
  } catch {
    return undefined;
  }
}

/** Whether a process is a QEMU by the name that it was started by, has given itself, or has as a file. */
export function isQemu(pid: number): boolean {
  const names = [
    () => argumentsOf(pid)?.[0],
    () => readFileSync(`/proc/${pid}/comm`, "utf8").trim(),
    () => readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ""),
  ];
  return names.some((name) => {
    try {
      return isQemuProgram(name() ?? "");
    } catch {
      return false;
    }
  });
}

/** What a target means: a guest, and the control socket if it was named by that. */
export interface FoundGuest extends GuestProcess {
  readonly socket?: string;
}

/**
 * The guest that a target means: by its `-name`, the number of its process, or the path of its control socket; without any, the
 * only one there is.
 *
 * @param name For messages: the target as it was written.
 * @throws {ConnectorError} `NO_SUCH_GUEST`, `AMBIGUOUS_GUEST`, both with the guests that there are.
 */
export function findGuest(name: string, target: string): FoundGuest {
  if (/^\d+$/.test(target)) return guestOfPid(name, Number(target));
  const guests = listGuests();
  if (target.includes("/")) {
    const found = guests.filter(({ pid, commandLine }) => hasSocket(pid, commandLine, target));
    const [only] = found;
    if (only !== undefined && found.length === 1) return { ...only, socket: target };
    throw new ConnectorError(
      "NO_SUCH_GUEST",
      name,
      `no QEMU process that can be seen listens on ${target}: ${listText(guests)}`,
    );
  }
  const found = target === "" ? guests : guests.filter(({ commandLine }) => commandLine.name === target);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  if (only === undefined) {
    const what = target === "" ? "no guest is running" : `there is no guest of that name (-name)`;
    throw new ConnectorError(
      "NO_SUCH_GUEST",
      name,
      target === "" || guests.length === 0 ? `${what}: ${listText(guests)}` : `${what}; ${listText(guests)}`,
    );
  }
  throw new ConnectorError(
    "AMBIGUOUS_GUEST",
    name,
    `${found.length} guests are ${target === "" ? "running" : "called that"}; say which, as in qemu:${only.pid}: ${listText(found)}`,
  );
}

function guestOfPid(name: string, pid: number): GuestProcess {
  const args = argumentsOf(pid);
  if (args === undefined) {
    throw new ConnectorError("NO_SUCH_GUEST", name, `there is no process ${pid} (or it has no arguments)`);
  }
  return { pid, commandLine: parseCommandLine(args) };
}

/**
 * Looks whether more may be seen of the process than everybody may: its files, its mappings, the sockets that it has.
 *
 * @param name For messages.
 * @throws {ConnectorError} `NO_PERMISSION`
 */
export function checkRights(
  name: string,
  pid: number,
  look: (path: string) => unknown = (path) => readdirSync(path),
): void {
  try {
    look(`/proc/${pid}/fd`);
  } catch (cause) {
    const code = errnoName(cause);
    // (One that has ended is told by who reads it.)
    if (code !== "EACCES" && code !== "EPERM") return;
    throw new ConnectorError(
      "NO_PERMISSION",
      name,
      `no permission to look into QEMU's process ${pid} (${code}): run as the user that it runs as, or as root`,
      { cause },
    );
  }
}

/** What there is, for errors: name, number, machine, RAM. */
export function listText(guests: readonly GuestProcess[]): string {
  if (guests.length === 0) return "no QEMU process can be seen on this machine";
  return guests
    .slice(0, 20)
    .map(({ pid, commandLine }) => {
      const { name, machine, ram, system } = commandLine;
      const facts = [
        `pid ${pid}`,
        ram === undefined ? undefined : `${Math.round(ram / 2 ** 20)} MiB`,
        [system, machine].filter((part) => part !== undefined).join(" ") || undefined,
      ].filter((fact) => fact !== undefined);
      return `${name ?? "(no name)"} (${facts.join(", ")})`;
    })
    .join("; ");
}

/** A path as the process sees it, as it is seen here. */
export function pathOf(pid: number, path: string): string {
  return path.startsWith("/") ? path : `/proc/${pid}/cwd/${path}`;
}

/** Whether the process listens on a UNIX socket of that path, by its command line or by the system's list. */
function hasSocket(pid: number, commandLine: QemuCommandLine, path: string): boolean {
  const wanted = realPath(path);
  const isIt = (own: string) => realPath(pathOf(pid, own)) === wanted;
  if (commandLine.monitors.some((monitor) => "path" in monitor && isIt(monitor.path))) return true;
  return socketPaths(pid).some(isIt);
}

/** Without links, where they can be followed. */
export function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
