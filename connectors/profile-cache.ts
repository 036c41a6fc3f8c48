/**
 * Profiles of kernels (see src/linux/profile.ts) as files: one for each build id, the newest 32 of them. What can't be written
 * is not kept, which is said, and what can't be read is not there. Behind a profile, a file has sums over
 * its pages, for one that was torn or went bad, not for a forged one.
 */
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { hex } from "../src/io/index.js";
import { type KernelProfiles, type PagedBytes, ProfileError } from "../src/linux/index.js";
import { errnoName } from "./errors.js";
import { openRegularFile, type RegularFile, readAt } from "./regular-file.js";

/** Profiles that are kept. */
const MOST = 32;
/** Largest file that is read; those of Debian's kernels have some 9 MiB. */
const MAX_BYTES = 192 << 20;
/** Largest profile that is kept: its sums take a thousandth. */
const MAX_PROFILE = 191 << 20;
const SUFFIX = ".profile";

/**
 * The cache that an option or the environment asks for; `undefined` for none, as by default: a dump that was forged could leave a
 * profile that dumps of the same build are read by (src/linux/profile-use.ts says what is compared).
 *
 * @param cache A folder, `true` for the user's folder of caches, `false` for no cache, or nothing for what `MEMTOOL_CACHE` says (a
 * folder, "on" or "off").
 */
export function profileCache(
  cache: boolean | string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): ProfileFolder | undefined {
  const given = env.MEMTOOL_CACHE ?? "off";
  const wanted = cache ?? (given === "on" ? true : given === "off" ? false : given);
  const folder = wanted === true ? folderOf(env) : wanted;
  return folder === false || folder === "" ? undefined : new ProfileFolder(folder);
}

function folderOf(env: Readonly<Record<string, string | undefined>>): string | false {
  const { XDG_CACHE_HOME: caches, LOCALAPPDATA: local } = env;
  const inHome = (...names: string[]) => {
    try {
      return join(homedir(), ...names);
    } catch {
      return undefined;
    }
  };
  const base =
    process.platform === "win32"
      ? local
      : process.platform === "darwin"
        ? inHome("Library", "Caches")
        : caches?.startsWith("/")
          ? caches
          : inHome(".cache");
  return base === undefined || base === "" ? false : join(base, "memtool", "profiles");
}

/** Profiles in a folder. */
export class ProfileFolder implements KernelProfiles {
  readonly #folder: string;
  readonly #open: ProfileFile[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** No bytes, if the file is not as it was written. */
  load(buildId: string): PagedBytes | Uint8Array | undefined {
    if (!isName(buildId)) return undefined;
    try {
      const path = join(this.#folder, buildId + SUFFIX);
      const file = openRegularFile(path, MAX_BYTES);
      if (file === undefined) return undefined;
      const sums = readSumsOrClose(file);
      if (sums === undefined) return new Uint8Array(0);
      const profile = new ProfileFile(path, file, sums);
      this.#open.push(profile);
      return profile;
    } catch {
      return undefined;
    }
  }

  save(buildId: string, bytes: Uint8Array): string | undefined {
    if (!isName(buildId) || bytes.length > MAX_PROFILE) return undefined;
    const path = join(this.#folder, buildId + SUFFIX);
    // One that did not fit. (Windows replaces no file that is open.)
    for (const profile of this.#open) if (profile.path === path) profile.close();
    const written = `${path}.${process.pid}.tmp`;
    try {
      makeFolder(this.#folder);
      // (Fails if something is there already, such as a link that somebody put there.)
      writeFileSync(written, bytes, { mode: 0o600, flag: "wx" });
      appendFileSync(written, sumsOf(bytes));
      renameSync(written, path);
      prune(this.#folder);
      return undefined;
    } catch (error) {
      removeIfThere(written);
      return `what was read of this kernel can't be kept in ${this.#folder} (${errnoName(error) ?? error})`;
    }
  }

  /** Closes the files of what was loaded: nothing comes of them any more. */
  close(): void {
    for (const profile of this.#open.splice(0)) profile.close();
  }
}

/** A profile that comes page by page: most of it is never looked at. */
class ProfileFile implements PagedBytes {
  readonly bytes: Uint8Array;
  readonly path: string;
  readonly #sums: Uint32Array;
  /** Nonzero for each page that is there. */
  readonly #isHere: Uint8Array;
  #file: RegularFile | undefined;
  #damage: ProfileError | undefined;

  constructor(path: string, file: RegularFile, { length, sums }: Sums) {
    this.path = path;
    this.#file = file;
    this.#sums = sums;
    this.#isHere = new Uint8Array(sums.length);
    // The system gives this memory page by page, as it comes.
    this.bytes = new Uint8Array(length);
  }

  need(start: number, end: number): void {
    const last = Math.ceil(end / PAGE);
    for (let page = Math.floor(start / PAGE); page < last; page++) {
      if (this.#isHere[page] !== 0) continue;
      let behind = page + 1;
      while (behind < last && this.#isHere[behind] === 0) behind++;
      this.#read(page, behind);
      page = behind - 1;
    }
  }

  #read(first: number, behind: number): void {
    const bytes = this.bytes.subarray(first * PAGE, behind * PAGE);
    if (this.#damage !== undefined) throw this.#damage;
    if (this.#file === undefined)
      throw new ProfileError(
        `${this.path} was closed with its machine: ask for symbols and types before that`,
      );
    try {
      if (!readAt(this.#file, bytes, first * PAGE)) throw this.#damaged(first);
    } catch (error) {
      throw error instanceof ProfileError ? error : this.#damaged(first, error);
    }
    for (let page = first; page < behind; page++) {
      if (crc32(this.bytes.subarray(page * PAGE, (page + 1) * PAGE)) !== this.#sums[page])
        throw this.#damaged(page);
      this.#isHere[page] = 1;
    }
  }

  /** Without it, the next run makes a new one. @param cause What Node threw, if it can't be read. */
  #damaged(page: number, cause?: unknown): ProfileError {
    this.close();
    const what = cause === undefined ? "is damaged" : `can't be read (${errnoName(cause) ?? cause})`;
    const next = removeIfThere(this.path)
      ? "is removed: try again"
      : "can't be removed: remove it, or go without a cache";
    this.#damage = new ProfileError(
      `${this.path}: the profile that was kept of this kernel ${what} at ${hex(page * PAGE)}, and ${next}`,
      { cause },
    );
    return this.#damage;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.descriptor);
    this.#file = undefined;
  }
}

/** Bytes of a profile that have a sum. */
const PAGE = 4096;
/** The profile's length, and the sum of the sums and that. */
const TRAILER = 8;

/** The sums of a profile's pages. */
interface Sums {
  /** Bytes of the profile. */
  readonly length: number;
  readonly sums: Uint32Array;
}

/** What is behind a profile in its file: CRC-32s of its pages, then its length, then the CRC-32 of all these. Numbers are little-endian. */
function sumsOf(bytes: Uint8Array): Uint8Array {
  const pages = Math.ceil(bytes.length / PAGE);
  const behind = new DataView(new ArrayBuffer(4 * pages + TRAILER));
  for (let page = 0; page < pages; page++) {
    behind.setUint32(4 * page, crc32(bytes.subarray(page * PAGE, (page + 1) * PAGE)), true);
  }
  behind.setUint32(4 * pages, bytes.length, true);
  behind.setUint32(4 * pages + 4, crc32(new Uint8Array(behind.buffer, 0, 4 * pages + 4)), true);
  return new Uint8Array(behind.buffer);
}

/** As `readSums`; the file stays open only if they are there. */
function readSumsOrClose(file: RegularFile): Sums | undefined {
  let sums: Sums | undefined;
  try {
    sums = readSums(file);
    return sums;
  } finally {
    if (sums === undefined) closeSync(file.descriptor);
  }
}

/** The sums behind a profile; `undefined` if they are not as they were written. */
function readSums(file: RegularFile): Sums | undefined {
  const trailer = new DataView(new ArrayBuffer(TRAILER));
  if (file.size < TRAILER || !readAt(file, new Uint8Array(trailer.buffer), file.size - TRAILER))
    return undefined;
  const length = trailer.getUint32(0, true);
  const pages = Math.ceil(length / PAGE);
  if (length + 4 * pages + TRAILER !== file.size) return undefined;
  const bytes = new Uint8Array(4 * pages + 4);
  if (!readAt(file, bytes, length) || crc32(bytes) !== trailer.getUint32(4, true)) return undefined;
  const view = new DataView(bytes.buffer);
  return { length, sums: Uint32Array.from({ length: pages }, (_, page) => view.getUint32(4 * page, true)) };
}

/** Makes a folder and those above it, one by one: Node's own way to do so never ends below /proc (20.20, 24.22). */
function makeFolder(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const above = dirname(folder);
  if (above !== folder) makeFolder(above);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    // (Another process may have made it meanwhile.)
    if (errnoName(error) !== "EEXIST") throw error;
  }
}

/** @returns whether nothing is there any more. */
function removeIfThere(path: string): boolean {
  try {
    rmSync(path, { force: true });
    return true;
  } catch {
    // Such as below what is no folder, or where nobody may write.
    return false;
  }
}

/** Whether a build id is one, and so no path: a dump may say anything. */
function isName(buildId: string): boolean {
  return /^[0-9a-f]{16,128}$/.test(buildId);
}

/** Removes all but the newest profiles, and what a process that was ended has left. */
function prune(folder: string): void {
  const names = readdirSync(folder).filter((name) => /^[0-9a-f]+\.profile(\.\d+\.tmp)?$/.test(name));
  if (names.length <= MOST) return;
  const files = names.map((name) => {
    const path = join(folder, name);
    return { path, time: statSync(path).mtimeMs };
  });
  files.sort((a, b) => b.time - a.time);
  for (const { path } of files.slice(MOST)) rmSync(path, { force: true });
}
