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

/** Columns that a text takes on a terminal; colours take none. */
export function displayWidth(text: string): number {
  // One column for each character, as nearly all texts have it. (An escape sequence has its first character outside.)
  if (/^[ -~]*$/.test(text)) return text.length;
  width ??= (require("string-width") as typeof import("string-width")).default;
  return width(text);
}

/** Colours. */
export function loadChalk(): typeof import("chalk") {
  return require("chalk") as typeof import("chalk");
}
