/**
 * A folder that files out of a dump are written into, and nothing beside it: names are made safe (`extractNames`), links that lie in the
 * folder are not followed, nothing that is there is replaced, and no more is written than a limit allows.
 */
import {
  closeSync,
  constants,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { MemtoolError } from "../src/io/index.js";
import { errnoName } from "./errors.js";
import { collisionKey, extractNames } from "./extract-path.js";

/** Names that are tried for a file before it is given up. */
const TRIES = 10_000;
/** As `OutputFile`: a dump holds its machine's secrets. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const MAX_CALL = 2 ** 30;
/** What a file or a folder counts for besides its bytes: a block of a file system. */
const ENTRY_BYTES = 4096;

/**
 * Bytes that are written below a folder if nobody says how many: a dump may have any number of files, and one page in any number of them.
 */
export const DEFAULT_MAX_BYTES = 64 * 2 ** 30;

/** What may still be written. */
class Budget {
  readonly #path: string;
  readonly #most: number;
  #left: number;

  constructor(path: string, most: number) {
    this.#path = path;
    this.#most = most;
    this.#left = most;
  }

  /** @throws {ExtractError} `LIMIT` */
  take(bytes: number): void {
    if (bytes > this.#left) {
      // (What is smaller would fit still: but then some of what comes later is there, and some is not.)
      this.#left = 0;
      throw new ExtractError("LIMIT", this.#path, `no more than ${this.#most} bytes are written below it`);
    }
    this.#left -= bytes;
  }
}

/** A folder as it is known: which names were given in it, and what by. */
interface Folder {
  /** On the disk. */
  readonly path: string;
  /** Below the top, with "/". */
  readonly relative: string;
  /** By their own names. */
  readonly folders: Map<string, Folder>;
  /** Keys of all names that are taken. */
  readonly taken: Set<string>;
  /** The next number for a key. */
  readonly next: Map<string, number>;
}

/** The file could not be made or written. */
export class ExtractError extends MemtoolError {
  readonly path: string;

  constructor(code: string, path: string, problem: string, options?: { cause?: unknown }) {
    super(code, `${path}: ${problem}`, options);
    this.path = path;
  }
}

/** See the module's comment. Others must not change the folder meanwhile: Node can't open what is relative to an opened folder. */
export class ExtractFolder {
  /** Without links. */
  readonly path: string;
  readonly #top: Folder;
  readonly #budget: Budget;

  /**
   * Opens a folder, or makes it; the folder above must be there. (It may be a link itself: whoever names it trusts it.)
   *
   * @param maxBytes Of all that is written below it; each file and folder counts as 4096 more.
   * @throws {ExtractError} `NO_SUCH_FOLDER`, `NOT_A_FOLDER`, `WRITE_FAILED`.
   */
  constructor(path: string, maxBytes = DEFAULT_MAX_BYTES) {
    try {
      mkdirSync(path, { mode: FOLDER_MODE });
    } catch (cause) {
      const code = errnoName(cause);
      if (code === "ENOENT")
        throw new ExtractError("NO_SUCH_FOLDER", path, "the folder above it is not there", { cause });
      if (code === "ENOTDIR")
        throw new ExtractError("NOT_A_FOLDER", path, "what is above it is no folder", { cause });
      if (code !== "EEXIST") throw failed(path, "could not be made", cause);
    }
    try {
      this.path = realpathSync(path);
      if (!lstatSync(this.path).isDirectory())
        throw new ExtractError("NOT_A_FOLDER", path, "this is no folder");
    } catch (cause) {
      throw cause instanceof ExtractError ? cause : failed(path, "could not be opened", cause);
    }
    this.#top = folderAt(this.path, "");
    this.#budget = new Budget(path, maxBytes);
  }

  /**
   * Makes a new, empty file by an untrusted path, and the folders that lead to it. Where something has its name already, or one that
   * differs only in case, it gets another: `name~2`.
   *
   * @throws {ExtractError} `LIMIT`, `WRITE_FAILED`.
   */
  create(untrusted: string): ExtractedFile {
    const names = extractNames(untrusted);
    let folder = this.#top;
    for (const name of names.slice(0, -1)) folder = this.#enter(folder, name);
    return this.#make(folder, names.at(-1) as string, (path, relative) => {
      const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW = 0 } = constants;
      return new ExtractedFile(
        path,
        relative,
        openSync(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, FILE_MODE),
        this.#budget,
      );
    });
  }

  #enter(folder: Folder, name: string): Folder {
    const known = folder.folders.get(name);
    if (known !== undefined) {
      // (It was a folder when it was entered first. Whether it still is costs a call.)
      if (isFolder(known.path)) return known;
      throw new ExtractError("WRITE_FAILED", known.path, "somebody replaced this folder meanwhile");
    }
    const entered = this.#make(folder, name, (path, relative) => {
      try {
        mkdirSync(path, { mode: FOLDER_MODE });
      } catch (error) {
        if (errnoName(error) !== "EEXIST" || !isFolder(path)) throw error;
      }
      return folderAt(path, relative);
    });
    folder.folders.set(name, entered);
    return entered;
  }

  /** Makes something by a name that is free. @param make Throws EEXIST if the name is none. */
  #make<T>(folder: Folder, name: string, make: (path: string, relative: string) => T): T {
    this.#budget.take(ENTRY_BYTES);
    const first = collisionKey(name);
    for (let i = folder.next.get(first) ?? 1; i <= TRIES; i++) {
      const tried = i === 1 ? name : `${name}~${i}`;
      const key = collisionKey(tried);
      if (folder.taken.has(key)) continue;
      const path = join(folder.path, tried);
      try {
        const made = make(path, folder.relative === "" ? tried : `${folder.relative}/${tried}`);
        folder.taken.add(key);
        folder.next.set(first, i + 1);
        return made;
      } catch (cause) {
        const code = errnoName(cause);
        if (code === "EEXIST" || code === "ELOOP" || code === "EISDIR") continue;
        throw cause instanceof ExtractError ? cause : failed(path, "could not be made", cause);
      }
    }
    throw new ExtractError("WRITE_FAILED", join(folder.path, name), `${TRIES} files have this name already`);
  }
}

/** A file that is being written. What is not written of it is a hole. */
export class ExtractedFile {
  /** On the disk. */
  readonly path: string;
  /** Below the folder, with "/" between names: for lists of what was written. */
  readonly relative: string;
  readonly #budget: Budget;
  #fd: number;

  /** Use {@link ExtractFolder.create}. @internal */
  constructor(path: string, relative: string, fd: number, budget: Budget) {
    this.path = path;
    this.relative = relative;
    this.#fd = fd;
    this.#budget = budget;
  }

  /** @throws {ExtractError} `LIMIT` before anything of it is written; `NO_SPACE`, `TOO_LARGE`, `WRITE_FAILED`. */
  write(offset: number, bytes: Uint8Array): void {
    this.#budget.take(bytes.length);
    try {
      for (let at = 0; at < bytes.length; ) {
        const written = writeSync(this.#fd, bytes, at, Math.min(bytes.length - at, MAX_CALL), offset + at);
        if (written === 0) throw new Error("nothing was written");
        at += written;
      }
    } catch (cause) {
      throw failed(this.path, "could not be written", cause);
    }
  }

  /** Gives it its length: what is missing at its end is a hole then. @throws {ExtractError} as `write`. */
  resize(size: number): void {
    try {
      ftruncateSync(this.#fd, size);
    } catch (cause) {
      throw failed(this.path, `could not be given a length of ${size} bytes`, cause);
    }
  }

  /**
   * Idempotent, also where it throws. Some file systems tell only now that what was written is not there.
   *
   * @throws {ExtractError} `NO_SPACE`, `TOO_LARGE`, `WRITE_FAILED`
   */
  close(): void {
    const fd = this.#fd;
    if (fd < 0) return;
    // (It is closed then, whatever is said.)
    this.#fd = -1;
    try {
      closeSync(fd);
    } catch (cause) {
      throw failed(
        this.path,
        "could not be closed: it may not be whole; extract it anew, on another disk",
        cause,
      );
    }
  }

  /** Closes it behind another error, which says more than one of this. Idempotent; throws nothing. */
  abandon(): void {
    try {
      this.close();
    } catch {}
  }
}

function folderAt(path: string, relative: string): Folder {
  return { path, relative, folders: new Map(), taken: new Set(), next: new Map() };
}

/** Whether it is a folder, and no link to one. What can't be looked at is none. */
function isFolder(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}

function failed(path: string, what: string, cause: unknown): ExtractError {
  const code = errnoName(cause);
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new ExtractError("NO_SPACE", path, "no space is left on the disk", { cause });
  }
  if (code === "EFBIG" || code === "EINVAL") {
    return new ExtractError("TOO_LARGE", path, `${what}: its file system takes no files of that size`, {
      cause,
    });
  }
  return new ExtractError("WRITE_FAILED", path, code === undefined ? what : `${what} (${code})`, { cause });
}
