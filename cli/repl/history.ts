/** Where what was typed is kept for the next session. */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { makeFolder } from "../make-folder.js";

/** The file, whose folder is made; `undefined` where there is no place for one. */
export function historyFile(
  env: Readonly<Record<string, string | undefined>>,
  platform: string = process.platform,
): string | undefined {
  const [base, names] = placeOf(env, platform) ?? [];
  if (base === undefined || names === undefined) return undefined;
  try {
    return join(makeFolder(base, names), "repl_history");
  } catch {
    return undefined;
  }
}

/** A folder that is there, and names below it. https://specifications.freedesktop.org/basedir-spec: a path that is not absolute is none. */
function placeOf(
  env: Readonly<Record<string, string | undefined>>,
  platform: string,
): readonly [string, readonly string[]] | undefined {
  const { LOCALAPPDATA: local = "", XDG_STATE_HOME: state = "", HOME: home = homedir() } = env;
  if (platform === "win32") return local === "" ? undefined : [local, ["memtool"]];
  if (isAbsolute(state)) return [state, ["memtool"]];
  return isAbsolute(home) ? [home, [".local", "state", "memtool"]] : undefined;
}
