/** A live process through /proc/PID/mem (proc(5)); its maps say what there is. */
import { closeSync, existsSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { AddressRanges, type Batch, type Fault, fault, type Source, withDetail } from "../src/io/index.js";
import { ConnectorError, errnoName, errnoOf } from "./errors.js";
import { NearRows } from "./near-rows.js";

/** Options of {@link openProcess}. */
export interface ProcessOptions {
  /** Allows writes, also to pages that the process itself may not write (as a debugger does). Default: false. */
  readonly write?: boolean | undefined;
}

/** A line of /proc/PID/maps. */
export interface ProcessMap {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly shared: boolean;
  /** In the mapped file, bytes. */
  readonly offset: bigint;
  readonly inode: number;
  /** File, `[heap]`, `[stack]` …; empty for anonymous memory. As the kernel prints it (newlines as `\012`). */
  readonly path: string;
}

/** A process as a source; addresses are virtual. */
export interface ProcessSource extends Source {
  readonly pid: number;
  /** What is mapped now, ascending; empty once the process is gone. */
  maps(): ProcessMap[];
}

const UNMAPPED: Fault = fault("outside", "address", "connector");
const FAILED: Fault = fault("io", "memory", "connector");
const EXITED: Fault = fault("gone", "process", "connector");

const PAGE = 4096;
const MAX_CALL = 2 ** 30;
/**
 * Rows are read together where a row and the gap before it have up to this many bytes: then no page is touched that
 * nobody asked for. Measured with Node 20, CPU time a row of a call each against one for all: 4 KiB with no gap 1,580
 * against 1,300 ns, 100 bytes with gaps of 900 660 against 300, 8 bytes with gaps of 56 570 against 40.
 */
const MAX_JOIN = 4096;
/** `readSync` takes positions up to 2^63 - 1. No process has readable memory above (the vsyscall page is not). */
const TOP_HIGH = 0x8000_0000;

/**
 * Opens a process by its number.
 *
 * Reads fail a page at a time: `outside` where nothing is mapped, `io` (with the errno) where something is that can't
 * be read, `gone` once the process has exited or replaced its program. The process is not stopped.
 *
 * @throws {ConnectorError} `NO_SUCH_PROCESS`, `NO_PERMISSION`, `NO_MEMORY` (a kernel thread or a zombie).
 */
export function openProcess(target: number | string, options: ProcessOptions = {}): ProcessSource {
  const name = `proc:${target}`;
  const pid = typeof target === "number" ? target : /^[0-9]+$/.test(target) ? Number(target) : Number.NaN;
  if (!(Number.isSafeInteger(pid) && pid > 0)) {
    throw new ConnectorError("BAD_TARGET", name, "give the number of a process, as in proc:1234");
  }
  const write = options.write ?? false;
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/mem`, write ? "r+" : "r");
  } catch (error) {
    throw explain(name, pid, error);
  }
  try {
    if (parseMaps(readFileSync(`/proc/${pid}/maps`, "latin1")).length === 0) {
      throw new ConnectorError(
        "NO_MEMORY",
        name,
        "it has no memory of its own (a kernel thread or a zombie)",
      );
    }
    return new OpenProcess(name, pid, fd, write);
  } catch (error) {
    closeSync(fd);
    throw error instanceof ConnectorError ? error : explain(name, pid, error);
  }
}

function noMemory(name: string): ConnectorError {
  return new ConnectorError("NO_MEMORY", name, "it has no memory of its own (a kernel thread or a zombie)");
}

function explain(name: string, pid: number, error: unknown): ConnectorError {
  const code = errnoName(error);
  // Some kernels (seen: 6.18) refuse to open the memory of what has none, others give one that is empty.
  if (code === "ESRCH" && existsSync(`/proc/${pid}/status`)) return noMemory(name);
  if (code === "ENOENT" || code === "ESRCH") {
    return new ConnectorError("NO_SUCH_PROCESS", name, "there is no such process (or no /proc)", {
      cause: error,
    });
  }
  if (code === "EACCES" || code === "EPERM") {
    return new ConnectorError(
      "NO_PERMISSION",
      name,
      `no permission to read its memory (${code}): run as the same user with kernel.yama.ptrace_scope = 0 ` +
        `(it is ${ptraceScope()}), or with the capability CAP_SYS_PTRACE (as root)`,
      { cause: error },
    );
  }
  return new ConnectorError("OPEN_FAILED", name, `could not be opened (${code ?? String(error)})`, {
    cause: error,
  });
}

function ptraceScope(): string {
  try {
    return readFileSync("/proc/sys/kernel/yama/ptrace_scope", "latin1").trim();
  } catch {
    return "not there: this kernel has no Yama";
  }
}

const MAP_LINE = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([sp]) ([0-9a-f]+) \S+ (\d+) *(.*)$/;

/** Parses /proc/PID/maps; lines of another form are skipped. */
export function parseMaps(text: string): ProcessMap[] {
  const maps: ProcessMap[] = [];
  for (const line of text.split("\n")) {
    const match = MAP_LINE.exec(line);
    if (match === null) continue;
    const [, start, end, r, w, x, s, offset, inode, path] = match;
    maps.push({
      start: BigInt(`0x${start}`),
      end: BigInt(`0x${end}`),
      readable: r === "r",
      writable: w === "w",
      executable: x === "x",
      shared: s === "s",
      offset: BigInt(`0x${offset}`),
      inode: Number(inode),
      path: path ?? "",
    });
  }
  return maps;
}

class OpenProcess implements ProcessSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly #fd: number;
  readonly #near = new NearRows(MAX_JOIN, (into, at, length, position) =>
    readSync(this.#fd, into, at, length, position),
  );

  constructor(
    readonly name: string,
    readonly pid: number,
    fd: number,
    write: boolean,
  ) {
    this.#fd = fd;
    this.supports = { write, live: true };
  }

  maps(): ProcessMap[] {
    try {
      return parseMaps(readFileSync(`/proc/${this.pid}/maps`, "utf8"));
    } catch {
      return [];
    }
  }

  ranges(): AddressRanges {
    // Bounds are multiples of a page, so exact as doubles up to 2^64.
    return AddressRanges.from(this.maps().map((map) => ({ start: Number(map.start), end: Number(map.end) })));
  }

  transferSync(batch: Batch): void {
    // Asked once a batch, and only when something fails.
    let mapped: AddressRanges | undefined;
    const ranges = () => {
      mapped ??= this.ranges();
      return mapped;
    };
    const near = batch.direction === "read" ? this.#near : undefined;
    for (let row = 0; row < batch.length; ) {
      const end = near === undefined ? row + 1 : near.end(batch, row);
      if (end > row + 1) near?.read(batch, row, end);
      for (; row < end; row++) if (batch.status[row] !== 0) this.#row(batch, row, ranges);
    }
  }

  #row(batch: Batch, row: number, ranges: () => AddressRanges): void {
    const length = batch.lengths[row] as number;
    const high = batch.words[2 * row + 1] as number;
    if (high >= TOP_HIGH) return batch.fail(row, UNMAPPED);
    const write = batch.direction === "write";
    // Positions of writes have to be numbers; no user address is that high.
    if (write && high >= 0x20_0000) return batch.fail(row, UNMAPPED);
    const memory = batch.memory[row] as Uint8Array;
    const offset = batch.offsets[row] as number;
    const start = batch.address(row);
    const exact = high >= 0x20_0000 ? batch.addresses[row] : undefined;
    batch.done(row);
    let at = 0;
    while (at < length) {
      const position = exact === undefined ? start + at : exact + BigInt(at);
      const moved = this.#move(write, memory, offset + at, Math.min(MAX_CALL, length - at), position);
      if (moved > 0) {
        at += moved;
        continue;
      }
      if (moved === 0) return batch.failRange(row, at, length, EXITED);
      const address = start + at;
      const why = ranges();
      if (why.length === 0) return batch.failRange(row, at, length, EXITED);
      const i = why.indexAfter(address);
      const next = why.starts[i] ?? Number.POSITIVE_INFINITY;
      const inside = next <= address;
      // Unmapped up to the next range, or one page that can't be moved.
      const end = Math.min(length, at + (inside ? PAGE - (address % PAGE) : next - address));
      batch.failRange(row, at, end, inside ? withDetail(FAILED, -moved) : UNMAPPED);
      at = end;
    }
  }

  /** @returns bytes moved; 0 if the process is gone; below 0 the errno, negative. */
  #move(write: boolean, memory: Uint8Array, at: number, length: number, position: number | bigint): number {
    try {
      if (write) return writeSync(this.#fd, memory, at, length, position as number);
      return readSync(this.#fd, memory, at, length, position);
    } catch (error) {
      const errno = errnoOf(error);
      return errno === 0 ? -5 : -errno;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
