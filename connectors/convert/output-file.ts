/** A file that appears whole or not at all: written under a temporary name, and given its own once it is complete. */
import {
  close,
  closeSync,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncate,
  linkSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  write,
} from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { DumpSink } from "../../src/formats/index.js";
import { MemtoolError } from "../../src/io/index.js";
import { errnoName } from "../errors.js";

/** Writes under way at once: Node has four threads for them. */
const PARALLEL = 4;
const MAX_CALL = 2 ** 30;

/** The file could not be written; nothing of it is left. */
export class OutputError extends MemtoolError {
  readonly path: string;

  constructor(code: string, path: string, problem: string, options?: { cause?: unknown }) {
    super(code, `${path}: ${problem}`, options);
    this.path = path;
  }
}

/** Options of {@link OutputFile.create}. */
export interface OutputFileOptions {
  /** Replaces a regular file of that name, if there is one. */
  readonly force?: boolean | undefined;
  /** Paths of files that must not be replaced: those that are being read. */
  readonly sources?: readonly string[] | undefined;
}

/** See the module's comment. */
export class OutputFile implements DumpSink {
  readonly path: string;
  /** Where it is until `commit`. */
  readonly temporary: string;
  readonly #fd: number;
  readonly #force: boolean;
  readonly #queue: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  #active = 0;
  #error: unknown;
  #settled: (() => void) | undefined;
  #open = true;

  private constructor(path: string, temporary: string, fd: number, force: boolean) {
    this.path = path;
    this.temporary = temporary;
    this.#fd = fd;
    this.#force = force;
    unfinished.add(temporary);
    if (unfinished.size === 1) process.on("exit", removeUnfinished);
  }

  /** @throws {OutputError} `OUTPUT_EXISTS`, `SAME_FILE`, `NOT_A_FILE`, `NO_PERMISSION`, `NO_SUCH_FOLDER` … */
  static create(given: string, options: OutputFileOptions = {}): OutputFile {
    const { force = false, sources = [] } = options;
    if (/[/\\]$/.test(given))
      throw new OutputError("NOT_A_FILE", given, "this is a folder; name a file in it");
    const path = checkReplaced(given, force, sources);
    const temporary = `${path}.partial-${crypto.randomUUID().slice(0, 8)}`;
    let fd: number;
    try {
      // As makedumpfile: a dump holds its machine's secrets.
      fd = openSync(temporary, "wx", 0o600);
    } catch (error) {
      const code = errnoName(error);
      if (code === "ENOENT" || code === "ENOTDIR") {
        throw noFolder(path, error);
      }
      throw explain(path, error, "could not be made");
    }
    return new OutputFile(path, temporary, fd, force);
  }

  write(offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#error !== undefined) return;
    this.#queue.push({ offset, bytes });
    if (this.#active < PARALLEL) this.#next();
  }

  #next(): void {
    const entry = this.#queue.shift();
    if (entry === undefined) return;
    this.#active++;
    this.#writeOut(entry.bytes, entry.offset);
  }

  #writeOut(bytes: Uint8Array, offset: number): void {
    write(this.#fd, bytes, 0, Math.min(bytes.length, MAX_CALL), offset, (error, written) => {
      if (error === null && written < bytes.length && written > 0) {
        this.#writeOut(bytes.subarray(written), offset + written);
        return;
      }
      this.#active--;
      if (error !== null || written === 0) {
        this.#error ??= error ?? new Error("nothing was written");
        this.#queue.length = 0;
      }
      this.#next();
      if (this.#active === 0) this.#settled?.();
    });
  }

  /** Waits until everything has been written: the memory of it is the caller's again. @throws {OutputError} */
  async settle(): Promise<void> {
    if (this.#active > 0) {
      await new Promise<void>((done) => {
        this.#settled = done;
      });
      this.#settled = undefined;
    }
    if (this.#error !== undefined) throw explain(this.path, this.#error, "could not be written");
  }

  /** Gives the file its length, and brings it to the disk; it can be read under its temporary name then. */
  async complete(size: number): Promise<void> {
    await this.settle();
    try {
      await promisify(ftruncate)(this.#fd, size);
      await promisify(fsync)(this.#fd);
    } catch (error) {
      throw explain(this.path, error, "could not be written");
    }
  }

  /** Bytes of the disk that it takes. */
  get allocated(): number {
    return fstatSync(this.#fd).blocks * 512;
  }

  /** Gives the file its name, after `complete`. @throws {OutputError} */
  async commit(): Promise<void> {
    try {
      if (this.#force) renameSync(this.temporary, this.path);
      else nameAnew(this.temporary, this.path);
      this.#open = false;
      finished(this.temporary);
      await promisify(close)(this.#fd);
    } catch (error) {
      throw error instanceof OutputError ? error : explain(this.path, error, "could not be renamed to that");
    }
    syncFolder(dirname(this.path));
  }

  /** Removes it, unless it was committed. Idempotent; never throws. */
  async discard(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#queue.length = 0;
    await this.settle().catch(() => {});
    remove(this.temporary);
    finished(this.temporary);
    try {
      closeSync(this.#fd);
    } catch {
      // Nothing of it is of use any more.
    }
  }
}

/** Temporary names, for a process that ends before anybody could discard them. */
const unfinished = new Set<string>();

function removeUnfinished(): void {
  for (const path of unfinished) remove(path);
}

function finished(temporary: string): void {
  unfinished.delete(temporary);
  if (unfinished.size === 0) process.off("exit", removeUnfinished);
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is gone already.
  }
}

/** Renames unless there is a file of the new name, also one that was made meanwhile. */
function nameAnew(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    const code = errnoName(error);
    if (code === "EEXIST") throw exists(to);
    // File systems without links: the next best.
    if (lstatSync(to, { throwIfNoEntry: false }) !== undefined) throw exists(to);
    renameSync(from, to);
    return;
  }
  unlinkSync(from);
}

function exists(path: string): OutputError {
  return new OutputError("OUTPUT_EXISTS", path, "there is a file of that name; --force replaces it");
}

/** @returns the file to write: what a link leads to, so that the link stays one. */
function checkReplaced(path: string, force: boolean, sources: readonly string[]): string {
  let stats: Stats | undefined;
  try {
    stats = statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (errnoName(error) === "ENOTDIR") throw noFolder(path, error);
    throw explain(path, error, "could not be looked at");
  }
  if (stats === undefined) {
    // A link that leads nowhere is there all the same.
    if (!force && isThere(path)) throw exists(path);
    return path;
  }
  for (const source of sources) {
    const other = statSync(source, { throwIfNoEntry: false });
    if (other !== undefined && other.dev === stats.dev && other.ino === stats.ino) {
      throw new OutputError("SAME_FILE", path, "this is what is being read; give another name");
    }
  }
  if (!stats.isFile()) {
    const kind = stats.isDirectory() ? "a folder; name a file in it" : "no regular file";
    throw new OutputError("NOT_A_FILE", path, `this is ${kind}`);
  }
  if (!force) throw exists(path);
  return isLink(path) ? realpathSync(path) : path;
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

function noFolder(path: string, cause: unknown): OutputError {
  return new OutputError("NO_SUCH_FOLDER", path, `there is no folder ${dirname(path)}`, { cause });
}

function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

/** So that the name survives a crash of the machine too; not every file system takes that. */
function syncFolder(path: string): void {
  try {
    const fd = openSync(path, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // The file is there, and was synced itself.
  }
}

const PROBLEMS: Readonly<Record<string, readonly [code: string, problem: string]>> = {
  ENOSPC: [
    "NO_SPACE",
    "no space is left on the disk; write to another, or write less: --to kdump compresses, --keep RANGES leaves out",
  ],
  EDQUOT: [
    "NO_SPACE",
    "the disk quota is used up; write to another disk, or write less: --to kdump compresses, --keep RANGES leaves out",
  ],
  EFBIG: ["TOO_LARGE", "the file system or the limit of the shell (ulimit -f) allows no file of that size"],
  EROFS: ["NO_PERMISSION", "the file system is read-only"],
  EACCES: ["NO_PERMISSION", "no permission to make a file there"],
  EPERM: ["NO_PERMISSION", "no permission to make a file there"],
  ENAMETOOLONG: ["BAD_NAME", "the name is too long"],
};

function explain(path: string, error: unknown, what: string): OutputError {
  const code = errnoName(error) ?? "";
  const [known, problem] = PROBLEMS[code] ?? ["WRITE_FAILED", what];
  return new OutputError(known, path, code === "" ? problem : `${problem} (${code})`, { cause: error });
}
