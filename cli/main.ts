#!/usr/bin/env node
/**
 * The command's first file: runs the second one, and keeps its compiled code for the next time, which saves a quarter of what memtool
 * takes to start, and more of what it does then. On Node 22.1 and later, Node does so itself.
 *
 * In a folder of the user's own: Node's default is one below the folder of temporary files, which others may have made. Where
 * nothing can be kept (no home, a folder that can't be written), memtool says nothing and does without; nor is anything kept
 * where `NODE_DISABLE_COMPILE_CACHE` is set.
 */
import { statSync } from "node:fs";
import * as module from "node:module";
import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { runKept } from "./kept-code.js";
import { makeFolder } from "./make-folder.js";

const { enableCompileCache } = module as { readonly enableCompileCache?: (folder: string) => unknown };
const require = module.createRequire(import.meta.url);
const path = fileURLToPath(new URL("command.cjs", import.meta.url));

const folder = codeFolder();
if (enableCompileCache === undefined && folder !== undefined) {
  runKept(path, folder, require);
} else {
  if (folder !== undefined) enableCompileCache?.(folder);
  require(path);
}

/** Where compiled code is kept; `undefined` for nowhere. */
function codeFolder(): string | undefined {
  const { XDG_CACHE_HOME = "", HOME = "", NODE_DISABLE_COMPILE_CACHE: none = "" } = process.env;
  // https://specifications.freedesktop.org/basedir-spec: a path that is not absolute is none.
  const [base, names] = isAbsolute(XDG_CACHE_HOME)
    ? [XDG_CACHE_HOME, ["memtool", "code"]]
    : [HOME, [".cache", "memtool", "code"]];
  if (none !== "" || !isAbsolute(base)) return undefined;
  try {
    const made = makeFolder(base, names);
    return isOwn(made) ? made : undefined;
  } catch {
    // Then without.
    return undefined;
  }
}

/** Whether nobody else can write there: what is kept is run. (Under `sudo -E` the folder is another user's.) */
function isOwn(made: string): boolean {
  const { uid, mode } = statSync(made);
  const own = process.getuid?.();
  return own === undefined || (uid === own && (mode & 0o022) === 0);
}
