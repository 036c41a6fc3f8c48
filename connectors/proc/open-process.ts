/** A live process as a source: its memory through /proc/PID/mem and process_vm_readv(2), its maps and pages. */
import { readFileSync } from "node:fs";
import { AddressRanges, type Batch, type Source } from "../../src/io/index.js";
import { ConnectorError } from "../errors.js";
import { AT_PAGESZ, parseAuxv } from "./auxv.js";
import { findProcessNumber } from "./find-process.js";
import { type PageFrame, readFrame } from "./frames.js";
import { type ProcessMap, parseMaps } from "./maps.js";
import { MemoryFile } from "./memory-file.js";
import { checkPlatform, explainOpen, noMemory } from "./open-error.js";
import { Pagemap, type ProcessPage } from "./pagemap.js";
import { closeProcessFiles, openProcessFiles, type ProcessFiles, readAgain } from "./proc-files.js";
import { SameProgram } from "./same-program.js";
import { listThreads, type ProcessThread, readProcess } from "./tasks.js";
import { type FastReads, fastReads, type VmUse } from "./vm-use.js";

/** Options of {@link openProcess}. */
export interface ProcessOptions {
  /** Allows writes, also to pages that the process itself may not write (as a debugger does). Default: false. */
  readonly write?: boolean | undefined;
}

/** A process as a source; addresses are virtual. */
export interface ProcessSource extends Source {
  /** Of a process, or of one of its threads. */
  readonly pid: number;
  /** As the kernel has it: at most 15 bytes; it may hold any character. */
  readonly processName: string;
  /** Arguments that it was started with; they may hold any character. */
  readonly commandLine: readonly string[];
  /** What is mapped now, ascending; empty once the process is gone, or runs another program, and once this is closed. */
  maps(): ProcessMap[];
  /** Its threads now, ascending by number; empty once the process is gone. */
  threads(): ProcessThread[];
  /**
   * Every page of what is mapped in a range now, ascending, as /proc/PID/pagemap tells it.
   *
   * @param range Addresses, `end` exclusive; default all.
   * @throws {ConnectorError} `NO_PAGEMAP` where the system does not tell.
   */
  pages(range?: { readonly start: bigint; readonly end: bigint }): Iterable<ProcessPage>;
  /** Why pages have no physical address; `undefined` where they have. */
  readonly noFrames: string | undefined;
  /** What the system knows of the frame at a physical address; `undefined` where it does not tell. */
  frame(physical: number): PageFrame | undefined;
}

/**
 * Opens a process by its number (or that of one of its threads), or by its name, where only one has it.
 *
 * Reads fail a page at a time: `outside` where nothing is mapped, `io` (with the errno) where something is that can't
 * be read, `gone` once the process has exited or replaced its program. The process is not stopped.
 *
 * Where many rows are read at once, they are read with process_vm_readv(2) if the optional package `ffi-rs` is there.
 *
 * @throws {ConnectorError} `NOT_ON_PLATFORM`, `BAD_TARGET`, `NO_SUCH_PROCESS`, `AMBIGUOUS_PROCESS` (with those that have the name),
 * `NO_PERMISSION`, `NO_MEMORY` (a kernel thread or a zombie).
 */
export function openProcess(target: number | string, options: ProcessOptions = {}): ProcessSource {
  return openProcessWith(target, options, {});
}

/** {@link openProcess} with its parts exchanged, for tests. @internal */
export function openProcessWith(
  target: number | string,
  options: ProcessOptions,
  parts: VmUse & { readonly platform?: string },
): ProcessSource {
  const name = target === "" ? "proc" : `proc:${target}`;
  checkPlatform(name, "processes are read through /proc,", parts.platform);
  const pid = findProcessNumber(name, target);
  const write = options.write ?? false;
  let files: ProcessFiles;
  try {
    files = openProcessFiles(pid, write);
  } catch (error) {
    throw explainOpen(name, pid, error);
  }
  try {
    if (parseMaps(readAgain(files.maps).toString("latin1")).length === 0) throw noMemory(name);
    return new OpenProcess(name, pid, files, write, parts);
  } catch (error) {
    closeProcessFiles(files);
    throw error instanceof ConnectorError ? error : explainOpen(name, pid, error);
  }
}

class OpenProcess implements ProcessSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly isMortal = true;
  readonly processName: string;
  readonly commandLine: readonly string[];
  readonly #files: ProcessFiles;
  readonly #file: MemoryFile;
  readonly #fast: FastReads;
  readonly #pagemap: Pagemap | undefined;
  #closed = false;

  constructor(
    readonly name: string,
    readonly pid: number,
    files: ProcessFiles,
    write: boolean,
    use: VmUse,
  ) {
    this.#files = files;
    this.supports = { write, live: true };
    const listed = readProcess(pid);
    this.processName = listed?.name ?? "";
    this.commandLine = listed?.commandLine ?? [];
    const pageSize = pageSizeOf(pid);
    this.#file = new MemoryFile(files.mem, pageSize, () => this.ranges());
    this.#fast = fastReads(pid, this.#file, () => SameProgram.of(pid, files), use);
    this.#pagemap = typeof files.pagemap === "number" ? new Pagemap(files.pagemap, pageSize) : undefined;
  }

  maps(): ProcessMap[] {
    // (The numbers of its files may be others' by then.)
    if (this.#closed) return [];
    try {
      return parseMaps(readAgain(this.#files.maps).toString("utf8"));
    } catch {
      return [];
    }
  }

  threads(): ProcessThread[] {
    return this.maps().length === 0 ? [] : listThreads(this.pid);
  }

  ranges(): AddressRanges {
    // Bounds are multiples of a page, so exact as doubles up to 2^64.
    return AddressRanges.from(this.maps().map((map) => ({ start: Number(map.start), end: Number(map.end) })));
  }

  *pages(range?: { readonly start: bigint; readonly end: bigint }): Generator<ProcessPage, void, void> {
    const pagemap = this.#pagemap;
    if (pagemap === undefined) {
      throw new ConnectorError(
        "NO_PAGEMAP",
        this.name,
        `its system does not tell where its pages are (/proc/${this.pid}/pagemap: ${this.#files.pagemap})`,
      );
    }
    const { start = 0n, end = 1n << 63n } = range ?? {};
    for (const map of this.maps()) {
      // (The vsyscall page is the kernel's, and beyond what a pagemap has.)
      if (map.end <= start || map.start >= end || map.end > 1n << 63n) continue;
      let [from, to] = [map.start, map.end];
      if (from < start) from = start;
      if (to > end) to = end;
      yield* pagemap.pages(from, to);
    }
  }

  get noFrames(): string | undefined {
    if (this.#pagemap === undefined)
      return `/proc/${this.pid}/pagemap can't be opened (${this.#files.pagemap})`;
    for (const page of this.pages()) {
      if (page.state !== "present") continue;
      return page.physical === undefined
        ? "the system tells frames only to those with the capability CAP_SYS_ADMIN (root)"
        : undefined;
    }
    return undefined;
  }

  frame(physical: number): PageFrame | undefined {
    return readFrame(Math.floor(physical / pageSizeOf("self")));
  }

  transferSync(batch: Batch): void {
    this.#file.begin();
    if (batch.direction !== "read") this.#file.write(batch);
    else this.#fast.read(batch);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeProcessFiles(this.#files);
  }
}

function pageSizeOf(pid: number | "self"): number {
  try {
    return Number(parseAuxv(readFileSync(`/proc/${pid}/auxv`)).get(AT_PAGESZ) ?? 4096n);
  } catch {
    return 4096;
  }
}
