/** /proc/kcore: the physical memory of the machine that memtool runs on, or a copy of such a file. */
import { closeSync, fstatSync, openSync, readSync, statfsSync, statSync } from "node:fs";
import type { DumpNotes } from "../../src/formats/index.js";
import { type AddressRanges, type Batch, type Fault, fault } from "../../src/io/index.js";
import type { MachineSource } from "../connector.js";
import { ConnectorError, errnoName } from "../errors.js";
import { lockdownError } from "../lockdown.js";
import { PhysicalFile } from "../physical-file.js";
import { headersEnd, type KcoreHeaders, KcoreProblem, parseKcore } from "./kcore-headers.js";

/** Where the kernel puts it. */
const PATH = "/proc/kcore";
/** `f_type` of a procfs (uapi/linux/magic.h): everything else holds copies. */
const PROC_SUPER_MAGIC = 0x9fa0;
/** Milliseconds for which the list of ranges is good: memory is plugged in by hand. */
const RANGES_AGE = 1000;
/** How often a batch is read again because the file moved under it. */
const TRIES = 3;
const HEAD = 64;

/**
 * Opens the memory of the running kernel, read-only, by physical address.
 *
 * What the kernel keeps from reading through this file (memory that is offline, broken, or kept by a balloon) it shows as zeros,
 * and nothing tells those from others. Where it refuses a page, that page fails alone (`io` with the errno).
 *
 * @param path Default `/proc/kcore`; also a copy, or another procfs's (`/host/proc/kcore` in a container).
 * @throws {ConnectorError} `NOT_ON_PLATFORM`, `NO_KCORE`, `NO_PERMISSION`, `LOCKED_DOWN`, `BAD_KCORE`.
 */
export function openKcore(path = "", platform: string = process.platform): MachineSource {
  return openKcoreWith(path, { platform });
}

/** {@link openKcore} with its parts exchanged, for tests: a file counts as the kernel's own. @internal */
export function openKcoreWith(
  path: string,
  { platform = process.platform, isLive }: { readonly platform?: string; readonly isLive?: boolean },
): MachineSource {
  const name = path === "" ? "kcore" : `kcore:${path}`;
  if (path === "" && platform !== "linux") {
    throw new ConnectorError(
      "NOT_ON_PLATFORM",
      name,
      `only Linux shows its memory so, and this is ${platform}: open a dump (-f FILE)`,
    );
  }
  const file = path === "" ? PATH : path;
  let fd: number;
  let live: boolean;
  try {
    const stat = statSync(file);
    if (!stat.isFile()) {
      throw new ConnectorError(
        "NO_KCORE",
        name,
        `${file} is hidden (another file lies over it, as in containers): run memtool outside of the container, or mount the ` +
          "machine's /proc into it and give kcore:/host/proc/kcore",
      );
    }
    live = isLive ?? statfsSync(file).type === PROC_SUPER_MAGIC;
    fd = openSync(file, "r");
  } catch (error) {
    throw error instanceof ConnectorError ? error : explain(name, file, error);
  }
  try {
    const headers = readHeaders(fd, live ? undefined : fstatSync(fd).size);
    if (headers.pieces.length === 0) {
      throw new KcoreProblem(
        "its kernel does not say where its segments are in physical memory (that is since Linux 4.11)",
      );
    }
    return new Kcore(name, file, fd, live, headers);
  } catch (error) {
    closeSync(fd);
    if (error instanceof KcoreProblem) throw new ConnectorError("BAD_KCORE", name, error.message);
    throw explain(name, file, error);
  }
}

function explain(name: string, file: string, error: unknown): ConnectorError {
  const code = errnoName(error);
  const options = { cause: error };
  if (code === "ENOENT") {
    const why =
      file === PATH
        ? `there is no ${file}: the kernel was built without it (CONFIG_PROC_KCORE), or /proc is not mounted`
        : `there is no ${file}`;
    return new ConnectorError(
      "NO_KCORE",
      name,
      `${why}; devmem is another way, and -f FILE opens a dump`,
      options,
    );
  }
  if (code === "EACCES" || code === "EPERM") {
    // (In integrity mode it may be read.)
    const locked = lockdownError(name, file, ["confidentiality"], code, error);
    if (locked !== undefined) return locked;
    return new ConnectorError(
      "NO_PERMISSION",
      name,
      `no permission to read ${file} (${code}): run as root, with the capability CAP_SYS_RAWIO`,
      options,
    );
  }
  return new ConnectorError(
    "OPEN_FAILED",
    name,
    `${file} could not be opened (${code ?? String(error)})`,
    options,
  );
}

function readAt(fd: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let got = 0;
  while (got < length) {
    const count = readSync(fd, bytes, got, length - got, offset + got);
    if (count === 0) break;
    got += count;
  }
  return bytes.subarray(0, got);
}

/** @param size Of a copy. @throws {KcoreProblem} */
function readHeaders(fd: number, size: number | undefined): KcoreHeaders {
  const notes = (offset: number, length: number) =>
    readAt(fd, offset, size === undefined ? length : Math.max(0, Math.min(length, size - offset)));
  let bytes = readAt(fd, 0, HEAD);
  for (let i = 0; i < TRIES; i++) {
    const end = headersEnd(bytes);
    // The kernel makes them anew for each read: only those that came in one belong together.
    if (i > 0 && (bytes.length >= end || size !== undefined)) return parseKcore(bytes, notes, size);
    bytes = readAt(fd, 0, Math.max(HEAD, size === undefined ? end : Math.min(end, size)));
  }
  throw new KcoreProblem("its program headers change faster than they can be read");
}

/** Where everything is changed faster than it could be read. */
const MOVING: Fault = fault("io", "memory", "connector");

class Kcore implements MachineSource {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly #path: string;
  readonly #memory: PhysicalFile;
  #headers: KcoreHeaders;
  /** Read into, to compare it with the headers. */
  #again = new Uint8Array(0);
  #readAt = Date.now();
  #closed = false;

  constructor(
    readonly name: string,
    path: string,
    fd: number,
    live: boolean,
    headers: KcoreHeaders,
  ) {
    this.#path = path;
    this.#headers = headers;
    this.#memory = new PhysicalFile(fd, headers.pieces);
    this.supports = { write: false, live };
  }

  ranges(): AddressRanges {
    if (this.supports.live && !this.#closed && Date.now() - this.#readAt >= RANGES_AGE) this.#reopen();
    return this.#memory.ranges;
  }

  notes(): DumpNotes {
    const { architecture, vmcoreinfo } = this.#headers;
    return { architecture, vmcoreinfo, cpus: [] };
  }

  transferSync(batch: Batch): void {
    for (let i = 1; ; i++) {
      this.#memory.transfer(batch);
      if (!this.supports.live || !this.#moved()) return;
      for (let row = 0; row < batch.length; row++) batch.status[row] = -1;
      batch.faults = [];
      if (i < TRIES) continue;
      // Nobody knows what was read.
      for (let row = 0; row < batch.length; row++) batch.fail(row, MOVING);
      return;
    }
  }

  /**
   * With memory that is plugged in or taken away, there are other headers, and everything behind them may be at another place.
   * That is to be seen in the file that is open already.
   */
  #moved(): boolean {
    const { bytes } = this.#headers;
    const { fd } = this.#memory;
    if (this.#again.length !== bytes.length) this.#again = new Uint8Array(bytes.length);
    try {
      const got = readSync(fd, this.#again, 0, bytes.length, 0);
      if (got === bytes.length && Buffer.compare(this.#again, bytes) === 0) return false;
      this.#use(fd, readHeaders(fd, undefined));
    } catch {
      // They can't be told just now.
    }
    return true;
  }

  /** The kernel makes its list anew when the file is opened. */
  #reopen(): void {
    let fd: number;
    try {
      fd = openSync(this.#path, "r");
    } catch {
      return;
    }
    let headers: KcoreHeaders;
    try {
      headers = readHeaders(fd, undefined);
    } catch {
      closeSync(fd);
      return;
    }
    const before = this.#memory.fd;
    this.#use(fd, headers);
    closeSync(before);
  }

  #use(fd: number, headers: KcoreHeaders): void {
    this.#readAt = Date.now();
    this.#headers = { ...headers, vmcoreinfo: headers.vmcoreinfo ?? this.#headers.vmcoreinfo };
    this.#memory.use(fd, headers.pieces);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#memory.fd);
  }
}
