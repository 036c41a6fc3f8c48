/** What a guest's monitor tells: its RAM, and its processors. */
import { statSync } from "node:fs";
import type { DumpNotes } from "../../src/formats/index.js";
import { hex } from "../../src/io/index.js";
import { errnoName } from "../errors.js";
import type { MonitorAddress } from "./command-line.js";
import { type FlatRange, parseFlatView, parseGpa2hva } from "./flat-view.js";
import type { GuestProcess } from "./guest-processes.js";
import { pathOf } from "./guest-processes.js";
import { SocketsBefore } from "./monitor-owner.js";
import { fieldsOf, monitorName, Qmp, QmpError } from "./qmp.js";
import { parseRegisters } from "./registers.js";

/** A stretch of RAM, and where it is in QEMU's process. */
export interface PlacedRam {
  /** Physical address. */
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** In the process. */
  readonly address: number;
}

/** A monitor that answers. */
export interface OpenMonitor {
  readonly connection: Qmp;
  readonly address: MonitorAddress;
}

/** What is given instead of a socket's path where no monitor is to be asked. */
export const NO_MONITOR = "none";

/**
 * Connects to the guest's monitor, and to no other one: what answers is asked nothing before it is known to be the process.
 *
 * @param given A socket that was asked for, before those of the command line.
 * @returns why not, if none answers.
 */
export async function openMonitor(
  { pid, commandLine }: GuestProcess,
  given: string | undefined,
): Promise<OpenMonitor | { readonly why: string }> {
  if (given === NO_MONITOR) return { why: "no monitor is to be asked" };
  const own = commandLine.monitors.map((address): MonitorAddress => {
    return "path" in address ? { path: reach(pid, pathOf(pid, address.path)) } : address;
  });
  const addresses = given === undefined ? own : [{ path: given }];
  const problems: QmpError[] = [];
  for (const address of addresses) {
    try {
      return { connection: await connectTo(pid, address), address };
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      problems.push(error);
    }
  }
  return { why: problems[0]?.message ?? "its command line has no QMP socket" };
}

/** A path as it leads where the process is: it may have a file system of its own. */
function reach(pid: number, path: string): string {
  const inside = `/proc/${pid}/root${path}`;
  const there = fileAt(inside);
  // (The shorter one where both are the same: a socket's path may have 107 bytes.)
  return there === undefined || there === fileAt(path) ? path : inside;
}

/** What tells a file from others; `undefined` where it can't be seen. */
function fileAt(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    // (Who connects to it says why not.)
    return undefined;
  }
}

/** @throws {QmpError} `OTHER_PROCESS`, and as `Qmp.connect` does. */
async function connectTo(pid: number, address: MonitorAddress): Promise<Qmp> {
  const unproven = (why: string, cause?: unknown) =>
    new QmpError("OTHER_PROCESS", `${monitorName(address)}: ${why} process ${pid}`, { cause });
  let before: SocketsBefore;
  try {
    before = new SocketsBefore(pid);
  } catch (cause) {
    throw unproven(`not asked, as it can't be seen whether it is that of (${errnoName(cause)})`, cause);
  }
  let connection: Qmp | undefined;
  try {
    connection = await Qmp.connect(address);
    if (before.hasPeerOf(connection)) return connection;
  } catch (cause) {
    connection?.close();
    throw cause instanceof QmpError
      ? cause
      : unproven(`not asked, as it can't be seen whether it is that of`, cause);
  }
  connection.close();
  throw unproven("what answers there is not");
}

/** Names of guest RAM's regions where QEMU lists no backends (before 5.0): the machine's own block. */
const MACHINE_RAM = /^(?:pc|mach-virt|riscv_virt_board|microvm|ram-node\d+)(?:\.ram)?$/;

/**
 * Asks for the guest's RAM as its processors see it: what is plugged in, and behind what it hides, included.
 *
 * Of the ranges that memory stands behind, RAM is what belongs to a memory backend (`query-memdev`) or to the machine; VGA's memory,
 * firmware and flash are none.
 *
 * @throws {QmpError} `COMMAND` where it can't tell.
 */
export async function askForRam(qmp: Qmp): Promise<PlacedRam[]> {
  const ranges = parseFlatView(await qmp.monitor("info mtree -f"));
  if (ranges === undefined)
    throw new QmpError("COMMAND", `${qmp.name}: QEMU prints no memory map that memtool knows`);
  const isRam = await ramNames(qmp);
  const placed: PlacedRam[] = [];
  for (const range of ranges) {
    if (!isRam(range)) continue;
    const [first, last] = [await askWhere(qmp, range.start), await askWhere(qmp, range.end - 1)];
    // (One that changed in between, or that is no longer there.)
    if (first === undefined || last !== first + (range.end - range.start - 1)) {
      throw new QmpError(
        "COMMAND",
        `${qmp.name}: QEMU does not tell where its RAM at ${hex(range.start)} (${range.name}) is`,
      );
    }
    placed.push({ start: range.start, end: range.end, address: first });
  }
  if (placed.length === 0) throw new QmpError("COMMAND", `${qmp.name}: QEMU tells of no RAM`);
  return placed;
}

async function ramNames(qmp: Qmp): Promise<(range: FlatRange) => boolean> {
  const ids = new Set<string>();
  try {
    for (const { id } of await qmp.list("query-memdev")) {
      if (typeof id === "string") ids.add(id).add(`/objects/${id}`);
    }
    for (const { data } of await qmp.list("query-memory-devices")) {
      const path = fieldsOf(data).memdev;
      if (typeof path === "string") ids.add(path).add(path.slice(path.lastIndexOf("/") + 1));
    }
  } catch (error) {
    if (!(error instanceof QmpError && error.code === "COMMAND")) throw error;
  }
  return ({ name }) => ids.has(name) || MACHINE_RAM.test(name);
}

async function askWhere(qmp: Qmp, address: number): Promise<number | undefined> {
  const where = parseGpa2hva(await qmp.monitor(`gpa2hva ${hex(address)}`));
  return where === undefined || where > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(where);
}

/** Asks for the registers of all processors. */
export async function askForNotes(qmp: Qmp): Promise<DumpNotes> {
  const { cpus, architecture } = parseRegisters(await qmp.monitor("info registers -a"));
  const { arch } = await qmp.ask("query-target");
  const known = architecture === undefined ? architectureOf(String(arch ?? "")) : { architecture };
  return { cpus, ...known };
}

/** By the name of QEMU's target. One of x86-64 whose processors have not turned on paging may run either. */
function architectureOf(target: string): Pick<DumpNotes, "architecture" | "otherMachine"> {
  switch (target) {
    case "x86_64":
      return {};
    case "i386":
    case "aarch64":
    case "riscv64":
    case "s390x":
    case "ppc64":
    case "arm":
      return { architecture: target };
    default:
      return target === "" ? {} : { otherMachine: target };
  }
}
