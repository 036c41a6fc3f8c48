// Builds dist/. `node scripts/build.mjs` always does; with `--if-stale` only when a source changed since.
//
// Others may be running from dist meanwhile (several test runs at once, a CLI under test), so it is never empty: the
// build goes into a folder of its own, and its files are then renamed over the old ones, chunks first. One build runs
// at a time; who comes second waits and finds the work done.
import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "tsup";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const STATE = "node_modules/.cache/memtool";
// (Worktrees may share node_modules: what is built in one says nothing of another's dist.)
const STAMP = `${STATE}/built-${createHash("sha256").update(ROOT).digest("hex").slice(0, 16)}`;
const LOCK = `${STATE}/build.lock`;
const SOURCES = ["src", "connectors", "cli", "test/suite", "test/support"];
const SETTINGS = ["package.json", "package-lock.json", "tsconfig.json", "tsup.config.ts"];
/** Longer than any build takes: a lock of this age was left behind. */
const LOCK_EXPIRES_MS = 5 * 60_000;

/** @param {string} folder @returns {string[]} the files below it, sorted */
function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function hashSources() {
  const hash = createHash("sha256");
  for (const file of [...SETTINGS, ...SOURCES.flatMap(filesBelow)])
    hash.update(`${file}\0`).update(readFileSync(file));
  return hash.digest("hex");
}

/** @param {string} hash */
function isBuilt(hash) {
  return existsSync("dist/cli.cjs") && existsSync(STAMP) && readFileSync(STAMP, "utf8") === hash;
}

/** @param {number} pid */
function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "EPERM";
  }
}

function tryLock() {
  try {
    const file = openSync(LOCK, "wx");
    writeFileSync(file, String(process.pid));
    closeSync(file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error;
  }
  try {
    const pid = Number(readFileSync(LOCK, "utf8"));
    const age = Date.now() - statSync(LOCK).mtimeMs;
    // An empty lock is one that its owner is about to write its pid into.
    if ((pid > 0 && !isRunning(pid)) || age > LOCK_EXPIRES_MS) rmSync(LOCK, { force: true });
  } catch {
    // Its owner removed it between our two looks.
  }
  return false;
}

/** @param {string} from */
function replaceDist(from) {
  const files = filesBelow(from).map((file) => relative(from, file));
  const isChunk = (/** @type {string} */ file) => /^chunk-/.test(file);
  for (const file of [...files.filter(isChunk), ...files.filter((file) => !isChunk(file))]) {
    mkdirSync(dirname(join("dist", file)), { recursive: true });
    renameSync(join(from, file), join("dist", file));
  }
  const wanted = new Set(files);
  for (const file of filesBelow("dist")) if (!wanted.has(relative("dist", file))) rmSync(file);
  rmSync(from, { recursive: true });
}

process.chdir(ROOT);
const ifStale = process.argv.includes("--if-stale");
mkdirSync(STATE, { recursive: true });
if (!ifStale || !isBuilt(hashSources())) {
  while (!tryLock()) await sleep(100);
  // As deep as dist, so that the paths in the source maps hold.
  const outDir = `.dist-${process.pid}`;
  try {
    const hash = hashSources();
    if (!ifStale || !isBuilt(hash)) {
      await build({ outDir, silent: ifStale });
      // The command holds commander's code (tsup.config.ts), whose licence asks to be with it.
      copyFileSync("node_modules/commander/LICENSE", join(outDir, "commander.LICENSE"));
      replaceDist(outDir);
      writeFileSync(STAMP, hash);
    }
  } finally {
    rmSync(outDir, { recursive: true, force: true });
    rmSync(LOCK, { force: true });
  }
}
