/**
 * Profiles of kernels (see src/linux/profile.ts) as files: one for each build id, the newest 32 of them. What can't be written
 * is not kept, which is said, and what can't be read is not there. Behind a profile, a file
 * has the CRC-32 of it (little-endian), for one that was torn or went bad, not for a forged one.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import type { KernelProfiles } from "../src/linux/index.js";
import { errnoName } from "./errors.js";
import { readRegularFile } from "./regular-file.js";

/** Profiles that are kept. */
const MOST = 32;
/** Largest file that is read; those of Debian's kernels have some 9 MiB. */
const MAX_BYTES = 192 << 20;
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
): KernelProfiles | undefined {
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
class ProfileFolder implements KernelProfiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** No bytes, if they are not those that were saved. */
  load(buildId: string): Uint8Array | undefined {
    if (!isName(buildId)) return undefined;
    try {
      const bytes = readRegularFile(join(this.#folder, buildId + SUFFIX), MAX_BYTES);
      return bytes === undefined ? undefined : withoutSum(bytes);
    } catch {
      return undefined;
    }
  }

  save(buildId: string, bytes: Uint8Array): string | undefined {
    if (!isName(buildId) || bytes.length > MAX_BYTES) return undefined;
    const path = join(this.#folder, buildId + SUFFIX);
    const written = `${path}.${process.pid}.tmp`;
    try {
      makeFolder(this.#folder);
      // (Fails if something is there already, such as a link that somebody put there.)
      writeFileSync(written, withSum(bytes), { mode: 0o600, flag: "wx" });
      renameSync(written, path);
      prune(this.#folder);
      return undefined;
    } catch (error) {
      removeIfThere(written);
      return `what was read of this kernel can't be kept in ${this.#folder} (${errnoName(error) ?? error})`;
    }
  }
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

const SUM_BYTES = 4;

function withSum(bytes: Uint8Array): Uint8Array {
  const file = new Uint8Array(bytes.length + SUM_BYTES);
  file.set(bytes);
  new DataView(file.buffer).setUint32(bytes.length, crc32(bytes), true);
  return file;
}

/** The bytes before the sum; none, which are no profile, if they are not those that it is of. */
function withoutSum(file: Uint8Array): Uint8Array {
  const bytes = file.subarray(0, Math.max(0, file.length - SUM_BYTES));
  if (file.length < SUM_BYTES) return bytes;
  const sum = new DataView(file.buffer, file.byteOffset + bytes.length).getUint32(0, true);
  return crc32(bytes) === sum ? bytes : new Uint8Array(0);
}

function removeIfThere(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // Such as below what is no folder.
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
