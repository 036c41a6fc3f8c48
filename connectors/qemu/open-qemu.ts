/** The RAM of a guest that QEMU runs on this machine, read out of QEMU's process; nothing is installed in the guest. */
import { closeSync, readFileSync } from "node:fs";
import type { DumpNotes } from "../../src/formats/index.js";
import type { Batch } from "../../src/io/batch.hot.js";
import { type AddressRanges, fault, hex, type Source } from "../../src/io/index.js";
import type { FreezableSource, MachineSource } from "../connector.js";
import { ConnectorError, cleanUpAfter } from "../errors.js";
import { openFile } from "../file.js";
import { readMemoryMap } from "../memory-map.js";
import { parseDevices } from "../proc/maps.js";
import { openProcess, type ProcessSource } from "../proc/open-process.js";
import { type RemappedPiece, Remapping } from "../remapped-source.js";
import { type Freeze, freezeGuest } from "./freeze.js";
import { checkRights, findGuest, type GuestProcess, isQemu, pathOf, realPath } from "./guest-processes.js";
import { findBlocks, NoSuchMapping } from "./host-blocks.js";
import {
  askForNotes,
  askForRam,
  NO_MONITOR,
  type OpenMonitor,
  openMonitor,
  type PlacedRam,
} from "./monitor.js";
import { ProcessLife } from "./process-life.js";
import { QmpError } from "./qmp.js";
import { type FileStretch, fileOfStretch, ownPath } from "./ram-file.js";
import { layOut, UnknownLayout } from "./ram-layout.js";

/** Options of `openQemu`. */
export interface QemuOptions {
  /** Allows writes to the guest's RAM. Default: false. */
  readonly write?: boolean | undefined;
  /** Pauses the guest when it is opened, and lets it go on when it is closed, however the program ends. Default: false. */
  readonly freeze?: boolean | undefined;
  /** Path of the QMP socket, instead of what QEMU's command line says: an error if it can't be used. `none` asks no monitor. */
  readonly qmp?: string | undefined;
  /**
   * Where RAM is, instead of what QEMU tells: physical ranges, and addresses in QEMU's process: `0-2G@0x7f5d77e00000`. In the form of
   * `readMemoryMap`.
   */
  readonly map?: string | undefined;
}

/** A guest as a source; addresses are physical. */
export interface QemuSource extends MachineSource, FreezableSource {
  /** Of QEMU. */
  readonly pid: number;
  /** What told where RAM is. */
  readonly found: "monitor" | "command line" | "given";
  /** Where RAM is in QEMU's process, ascending. */
  readonly ram: readonly PlacedRam[];
}

const GONE = fault("gone", "process", "connector");

/** See `openQemu`. */
export async function openGuestOfQemu(target: string, options: QemuOptions = {}): Promise<QemuSource> {
  const name = target === "" ? "qemu" : `qemu:${target}`;
  if (process.platform !== "linux") {
    throw new ConnectorError("NOT_HERE", name, "guests are found through /proc, which only Linux has");
  }
  const guest = findGuest(name, target);
  checkRights(name, guest.pid);
  const map = options.map === undefined ? undefined : givenRam(options.map);
  const warnings: string[] = [];
  const remarks: string[] = [];
  const asked = guest.socket ?? options.qmp;
  const answer = await openMonitor(guest, asked);
  const monitor = "why" in answer ? undefined : answer;
  if ("why" in answer && options.qmp === NO_MONITOR && guest.socket === undefined) {
    remarks.push("QEMU's monitor is not asked (qmp=none), so registers are not known");
  } else if ("why" in answer) {
    if (options.qmp !== undefined && guest.socket === undefined) {
      throw new ConnectorError(
        "NO_MONITOR",
        name,
        `the monitor that it is to be asked by can't be used: ${answer.why} (qmp=none asks none)`,
      );
    }
    // That there is a monitor, and that it can't be had, is another thing than that there is none.
    const isThere = asked !== undefined || guest.commandLine.monitors.length > 0;
    (isThere ? warnings : remarks).push(
      `QEMU's monitor could not be asked, so registers are not known: ${answer.why}`,
    );
  }
  let freeze: Freeze | undefined;
  try {
    // First of all: registers and memory are to be of one moment.
    if (options.freeze === true) freeze = await freezeGuest(name, guest.pid, monitor);
    const ram = await findRam(name, guest, monitor, map, remarks);
    const notes = monitor === undefined ? ram.notes : await askForNotes(monitor.connection);
    const opened = openRam(name, guest.pid, ram.placed, options.write === true);
    return new OpenGuest(name, guest, options, { ...ram, notes, opened, warnings, remarks, freeze });
  } catch (error) {
    // QEMU serves one client at a time: who resumes it is the next one.
    monitor?.connection.close();
    const told =
      error instanceof QmpError
        ? new ConnectorError(error.code, name, error.message, { cause: error })
        : error;
    throw await cleanUpAfter(told, async () => freeze?.thaw());
  } finally {
    monitor?.connection.close();
  }
}

function givenRam(text: string): PlacedRam[] {
  return readMemoryMap(text).map(({ start, end, offset }) => ({ start, end, address: offset }));
}

/** Where RAM is, and what told it. */
interface FoundRam {
  readonly found: QemuSource["found"];
  readonly placed: readonly PlacedRam[];
  /** What is known without a monitor. */
  readonly notes: DumpNotes;
}

async function findRam(
  name: string,
  guest: GuestProcess,
  monitor: OpenMonitor | undefined,
  given: readonly PlacedRam[] | undefined,
  remarks: string[],
): Promise<FoundRam> {
  const { pid, commandLine } = guest;
  if (given !== undefined) return { found: "given", placed: given, notes: { cpus: [] } };
  if (monitor !== undefined) {
    return { found: "monitor", placed: await askForRam(monitor.connection), notes: { cpus: [] } };
  }
  const give =
    "give its QMP socket (qemu:/path/of/qmp, or the option qmp=PATH), or where RAM is in its process (the option map=0-2G@0x7f…)";
  if (!isQemu(pid)) {
    throw new ConnectorError(
      "NO_SUCH_GUEST",
      name,
      `process ${pid} is no QEMU by its name; if it is, ${give}`,
    );
  }
  try {
    const layout = layOut(commandLine);
    const source = openProcessOf(name, pid, false);
    try {
      const blocks = findBlocks(layout.blocks, commandLine, source.maps(), (path) =>
        realPath(pathOf(pid, path)),
      );
      const addresses = new Map(blocks.map(({ backend, address }) => [backend, address]));
      const placed = layout.parts.map(({ backend, start, end, offset }) => ({
        start,
        end,
        address: (addresses.get(backend) as number) + offset,
      }));
      remarks.push(...layout.remarks);
      const { architecture } = layout;
      return { found: "command line", placed, notes: { cpus: [], architecture } };
    } finally {
      source.close?.();
    }
  } catch (error) {
    if (!(error instanceof UnknownLayout || error instanceof NoSuchMapping)) throw error;
    throw new ConnectorError("RAM_NOT_FOUND", name, `${error.message}; ${give}`, { cause: error });
  }
}

function openProcessOf(name: string, pid: number, write: boolean): ProcessSource {
  try {
    return openProcess(pid, { write });
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    throw new ConnectorError(error.code, name, `QEMU's process: ${error.message}`, { cause: error });
  }
}

/** The sources that RAM is read from, and which piece lies where. */
interface OpenedRam {
  readonly remapping: Remapping;
  readonly sources: readonly Source[];
  /** Whether the process's end is seen by reading: not where all or some is read from files. */
  readonly life: ProcessLife | undefined;
}

function openRam(name: string, pid: number, ram: readonly PlacedRam[], write: boolean): OpenedRam {
  const whole = openProcessOf(name, pid, write);
  const sources: Source[] = [whole];
  try {
    const maps = whole.maps();
    const devices = parseDevices(readFileSync(`/proc/${pid}/maps`, "latin1"));
    const mapped = whole.ranges();
    const files = new Map<string, number>();
    const pieces = ram.map(({ start, end, address }): RemappedPiece => {
      const length = end - start;
      const i = mapped.indexAfter(address);
      if (
        !(
          (mapped.starts[i] ?? Number.POSITIVE_INFINITY) <= address &&
          address + length <= (mapped.ends[i] as number)
        )
      ) {
        throw new ConnectorError(
          "RAM_NOT_FOUND",
          name,
          `RAM at ${hex(start)} would be at ${hex(address)} in process ${pid}, which is not mapped there`,
        );
      }
      const file = fileOfStretch(pid, maps, devices, address, length);
      if (file === undefined) return { start, end, source: 0, at: address };
      const source = files.get(file.identity) ?? addFile(file, write, sources);
      closeSync(file.descriptor);
      if (source === undefined) return { start, end, source: 0, at: address };
      files.set(file.identity, source);
      return { start, end, source, at: file.offset };
    });
    const life = files.size === 0 ? undefined : new ProcessLife(pid);
    return { remapping: new Remapping(pieces, sources), sources, life };
  } catch (error) {
    for (const source of sources) source.close?.();
    throw error;
  }
}

/** Adds the file to the sources. @returns its place; `undefined` where it can't be opened so. */
function addFile(file: FileStretch, write: boolean, sources: Source[]): number | undefined {
  try {
    return sources.push(openFile(ownPath(file.descriptor), { write })) - 1;
  } catch {
    return undefined;
  }
}

interface Parts extends FoundRam {
  readonly opened: OpenedRam;
  readonly warnings: readonly string[];
  readonly remarks: readonly string[];
  readonly freeze: Freeze | undefined;
}

class OpenGuest implements QemuSource {
  readonly pid: number;
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly isMortal = true;
  readonly found: QemuSource["found"];
  readonly ram: readonly PlacedRam[];
  readonly warnings: readonly string[];
  readonly remarks: readonly string[];
  readonly #guest: GuestProcess & { readonly socket?: string };
  readonly #options: QemuOptions;
  readonly #notes: DumpNotes;
  readonly #opened: OpenedRam;
  #freeze: Freeze | undefined;
  /** What pauses and resumes, one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(
    readonly name: string,
    guest: GuestProcess,
    options: QemuOptions,
    { found, placed, notes, opened, warnings, remarks, freeze }: Parts,
  ) {
    this.pid = guest.pid;
    this.supports = { write: options.write === true, live: true };
    this.found = found;
    this.ram = [...placed].sort((a, b) => a.start - b.start);
    this.warnings = warnings;
    this.remarks = remarks;
    this.#guest = guest;
    this.#options = options;
    this.#notes = notes;
    this.#opened = opened;
    this.#freeze = freeze;
  }

  notes(): DumpNotes {
    return this.#notes;
  }

  ranges(): AddressRanges {
    return this.#opened.remapping.ranges;
  }

  transferSync(batch: Batch): void {
    const { remapping, life } = this.#opened;
    if (life !== undefined && !life.isAlive) {
      for (let row = 0; row < batch.length; row++) batch.fail(row, GONE);
      return;
    }
    remapping.transfer(batch);
  }

  get still(): string | undefined {
    return this.#freeze === undefined ? undefined : "is paused while it is read";
  }

  freeze(): Promise<void> {
    // (Who came second would find it paused, and leave it so.)
    return this.#inTurn(async () => {
      this.#freeze ??= await this.#pause();
    });
  }

  async #pause(): Promise<Freeze> {
    const { pid, socket } = this.#guest;
    const monitor = await openMonitor(this.#guest, socket ?? this.#options.qmp);
    const isOpen = !("why" in monitor);
    try {
      return await freezeGuest(this.name, pid, isOpen ? monitor : undefined);
    } finally {
      if (isOpen) monitor.connection.close();
    }
  }

  thaw(): Promise<void> {
    return this.#inTurn(async () => {
      const freeze = this.#freeze;
      this.#freeze = undefined;
      await freeze?.thaw();
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    try {
      await this.thaw();
    } finally {
      for (const source of this.#opened.sources) await source.close?.();
      this.#opened.life?.close();
    }
  }
}
