import { loadChalk } from "./packages.js";

/** What colours mean; every function leaves text alone where there is no colour. */
export interface Style {
  readonly dim: (text: string) => string;
  readonly heading: (text: string) => string;
  readonly error: (text: string) => string;
  readonly warning: (text: string) => string;
  /** Blocks of memory that are there, that are zero, and that are missing. */
  readonly present: (text: string) => string;
  readonly zero: (text: string) => string;
  readonly missing: (text: string) => string;
}

/** Colour only on a terminal, and not where `NO_COLOR` is set (https://no-color.org: to anything but ""). */
export function wantsColour(
  isTTY: boolean | undefined,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return isTTY === true && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
}

/** Styles for standard output and standard error. */
export function makeStyle(stdout: boolean, stderr: boolean): Style {
  if (!stdout && !stderr) return PLAIN;
  const { Chalk } = loadChalk();
  const out = new Chalk({ level: stdout ? 1 : 0 });
  const error = new Chalk({ level: stderr ? 1 : 0 });
  return {
    dim: (text) => out.dim(text),
    heading: (text) => out.bold(text),
    error: (text) => error.red(text),
    warning: (text) => error.yellow(text),
    present: (text) => out.green(text),
    zero: (text) => out.cyan(text),
    missing: (text) => out.red(text),
  };
}

const plain = (text: string): string => text;
const PLAIN: Style = {
  dim: plain,
  heading: plain,
  error: plain,
  warning: plain,
  present: plain,
  zero: plain,
  missing: plain,
};
