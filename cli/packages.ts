/**
 * Packages of the command line that few runs need, loaded when they are.
 *
 * CPU milliseconds that importing each took on Node 20: string-width 32 (its regular expressions of emoji), chalk 7; all
 * that memtool itself is takes about as long as these two. They are ES modules, and who needs them can't wait: `require`
 * takes such modules since Node 20.19.
 */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

let width: ((text: string) => number) | undefined;

/**
 * Characters of one column each, whatever stands beside them, as nearly all texts have them: Latin, Greek, Cyrillic and Armenian
 * letters, and signs that are neither wide, nor emoji, nor join others. (An escape sequence has its first character outside.) The
 * test asks string-width about each of them.
 */
const NARROW =
  /^[ -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0482\u048a-\u058f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2190-\u2319\u2400-\u25fc\u2600-\u2613]*$/;

/** Columns that a text takes on a terminal; colours take none. */
export function displayWidth(text: string): number {
  if (NARROW.test(text)) return text.length;
  width ??= (require("string-width") as typeof import("string-width")).default;
  return width(text);
}

/** Colours. */
export function loadChalk(): typeof import("chalk") {
  return require("chalk") as typeof import("chalk");
}

/** What runs scripts: a module of ours that is built with the library, not with the command. */
export function loadScripts(): typeof import("./script/run-script.js") {
  const path = "./run-script.js";
  return require(path) as typeof import("./script/run-script.js");
}
