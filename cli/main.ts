#!/usr/bin/env node
/**
 * The command's first file: has Node keep the compiled code of the second one, where it can (22.1 and later), which saves a
 * quarter of what memtool takes to start.
 *
 * In a folder of the user's own: Node's default is one below the folder of temporary files, which others may have made. Where
 * nothing can be kept (no home, a folder that can't be written), memtool says nothing and does without; nor does Node keep
 * anything where `NODE_DISABLE_COMPILE_CACHE` is set.
 */
import { mkdirSync } from "node:fs";
import * as module from "node:module";
import { isAbsolute, join } from "node:path";

const { enableCompileCache } = module as { readonly enableCompileCache?: (folder: string) => unknown };
if (enableCompileCache !== undefined) {
  try {
    const { XDG_CACHE_HOME = "", HOME = "" } = process.env;
    // https://specifications.freedesktop.org/basedir-spec: a path that is not absolute is none.
    const [base, names] = isAbsolute(XDG_CACHE_HOME)
      ? [XDG_CACHE_HOME, ["memtool", "code"]]
      : [HOME, [".cache", "memtool", "code"]];
    if (isAbsolute(base)) enableCompileCache(makeFolder(base, names));
  } catch {
    // Then without.
  }
}

await import("./command.js");

/** Makes folders in each other, one by one: Node's own way to do so never ends below /proc (24.21). */
function makeFolder(base: string, names: readonly string[]): string {
  let folder = base;
  for (const name of names) {
    folder = join(folder, name);
    try {
      mkdirSync(folder, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  return folder;
}
