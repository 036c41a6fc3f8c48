/** /dev/mem: the physical memory of the machine that memtool runs on, where its kernel still allows that. */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { FormatError, parseRawMap } from "../../src/formats/index.js";
import type { AddressRanges, Batch, Source } from "../../src/io/index.js";
import { ConnectorError, errnoName } from "../errors.js";
import { lockdownError } from "../lockdown.js";
import { type FilePiece, PhysicalFile } from "../physical-file.js";

/** Options of {@link openDevmem}. */
export interface DevmemOptions {
  /** Allows writes. Default: false. */
  readonly write?: boolean | undefined;
  /** Says where RAM is; default `/proc/iomem`. */
  readonly iomem?: string | undefined;
}

const PATH = "/dev/mem";
const IOMEM = "/proc/iomem";
/** Below it, kernels that let no RAM be read show zeros instead. */
const FIRST_MIB = 2 ** 20;

/**
 * Opens /dev/mem; what /proc/iomem calls System RAM is there. A page that the kernel refuses fails alone (`io` with the errno).
 *
 * @param path Default `/dev/mem`.
 * @throws {ConnectorError} `NOT_ON_PLATFORM`, `NO_DEVMEM`, `NO_PERMISSION`, `LOCKED_DOWN`, `STRICT_DEVMEM` (no RAM can be read),
 * `NO_IOMEM` (nothing tells where RAM is).
 */
export function openDevmem(
  path = "",
  options: DevmemOptions = {},
  platform: string = process.platform,
): Source {
  const name = path === "" ? "devmem" : `devmem:${path}`;
  if (path === "" && platform !== "linux") {
    throw new ConnectorError(
      "NOT_ON_PLATFORM",
      name,
      `only Linux has ${PATH}, and this is ${platform}: open a dump (-f FILE)`,
    );
  }
  const file = path === "" ? PATH : path;
  const write = options.write ?? false;
  const pieces = readPieces(name, options.iomem ?? IOMEM);
  let fd: number;
  try {
    fd = openSync(file, write ? "r+" : "r");
  } catch (error) {
    throw explain(name, file, error);
  }
  try {
    const problem = tryRam(name, file, fd, pieces);
    if (problem !== undefined) throw problem;
    return new Devmem(name, new PhysicalFile(fd, pieces), write, !fstatSync(fd).isFile());
  } catch (error) {
    closeSync(fd);
    throw error instanceof ConnectorError ? error : explain(name, file, error);
  }
}

/** /proc/iomem as users without rights see it. */
const HIDDEN = /^ *0+-0+ : System RAM/m;

/**
 * Where RAM is, by a file as /proc/iomem is, which has it at the same addresses.
 *
 * @throws {ConnectorError} `NO_IOMEM`
 * @internal
 */
export function readPieces(
  name: string,
  iomem: string,
  read: (path: string) => string = (path) => readFileSync(path, "latin1"),
): FilePiece[] {
  let text: string;
  try {
    text = read(iomem);
  } catch (error) {
    const why = errnoName(error) ?? String(error);
    throw new ConnectorError(
      "NO_IOMEM",
      name,
      `${iomem}, which says where RAM is, can't be read (${why}): run as root`,
      {
        cause: error,
      },
    );
  }
  if (iomem === IOMEM && HIDDEN.test(text)) {
    throw new ConnectorError(
      "NO_IOMEM",
      name,
      `${IOMEM}, which says where RAM is, hides the addresses from users without rights (they are all 0): run as root`,
    );
  }
  try {
    return parseRawMap(text, iomem)
      .map(({ start, end }) => ({ start, end, offset: start }))
      .sort((a, b) => a.start - b.start);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new ConnectorError("NO_IOMEM", name, error.message, { cause: error });
  }
}

/** Reads a byte of RAM. Below the first MiB, where everybody may read, that would tell nothing. */
function tryRam(
  name: string,
  file: string,
  fd: number,
  pieces: readonly FilePiece[],
): ConnectorError | undefined {
  const piece = pieces.find(({ end }) => end > FIRST_MIB);
  if (piece === undefined) return undefined;
  try {
    if (readSync(fd, new Uint8Array(1), 0, 1, Math.max(piece.start, FIRST_MIB)) > 0) return undefined;
    return new ConnectorError(
      "NO_DEVMEM",
      name,
      `${file} is empty where RAM is (another file lies over it, as in containers, or it is of another machine); try kcore`,
    );
  } catch (error) {
    if (errnoName(error) !== "EPERM") return undefined;
    return new ConnectorError(
      "STRICT_DEVMEM",
      name,
      `the kernel lets no RAM be read through ${file} (EPERM; CONFIG_STRICT_DEVMEM): try kcore`,
      { cause: error },
    );
  }
}

function explain(name: string, file: string, error: unknown): ConnectorError {
  const code = errnoName(error);
  const options = { cause: error };
  if (code === "ENOENT" || code === "ENXIO") {
    return new ConnectorError(
      "NO_DEVMEM",
      name,
      `there is no ${file}: the kernel was built without it (CONFIG_DEVMEM), or it is hidden in a container; try kcore`,
      options,
    );
  }
  if (code !== "EACCES" && code !== "EPERM") {
    return new ConnectorError(
      "OPEN_FAILED",
      name,
      `${file} could not be opened (${code ?? String(error)})`,
      options,
    );
  }
  const locked = lockdownError(name, file, ["integrity", "confidentiality"], code, error);
  if (locked !== undefined) return locked;
  return new ConnectorError(
    "NO_PERMISSION",
    name,
    `no permission to open ${file} (${code}): run as root, with the capability CAP_SYS_RAWIO`,
    options,
  );
}

class Devmem implements Source {
  readonly supports: { readonly write: boolean; readonly live: boolean };
  readonly #memory: PhysicalFile;
  #closed = false;

  constructor(
    readonly name: string,
    memory: PhysicalFile,
    write: boolean,
    live: boolean,
  ) {
    this.#memory = memory;
    this.supports = { write, live };
  }

  ranges(): AddressRanges {
    return this.#memory.ranges;
  }

  transferSync(batch: Batch): void {
    this.#memory.transfer(batch);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#memory.fd);
  }
}
