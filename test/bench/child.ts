/** Runs a Node program as a process of its own, and says what it cost. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";

/** What a child cost. */
export interface Cost {
  /** Milliseconds of CPU time, all threads, from the start of the process on. */
  readonly cpu: number;
  /** Milliseconds from its start until its end. */
  readonly wall: number;
  /** Peak resident size in MiB. */
  readonly peak: number;
}

// Runs in the child before anything else: at its end, writes what it has used to a pipe. (A child's `maxRSS` begins at
// what its parent had when it was started; the high-water mark in /proc, where there is one, is its own.)
const REPORTER = `data:text/javascript,${encodeURIComponent(`
import { existsSync, readFileSync, writeSync } from "node:fs";
process.on("exit", () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const status = "/proc/self/status";
  const peak = existsSync(status) ? /VmHWM:\\s*(\\d+)/.exec(readFileSync(status, "latin1"))[1] : maxRSS;
  writeSync(3, JSON.stringify({ cpu: (userCPUTime + systemCPUTime) / 1000, peak: peak / 1024 }));
});
`)}`;

// A target of the caller's must not get in the way.
const { MEMTOOL_TARGET: _, ...environment } = process.env;

/**
 * @param args A script and its arguments, for `node`.
 * @param input Path of a file for its standard input. Its output goes nowhere.
 * @param more Of the environment, what is to be otherwise.
 * @throws if it fails; statuses of partial results (3) are fine.
 */
export function costOf(args: readonly string[], input = "/dev/null", more: NodeJS.ProcessEnv = {}): Cost {
  const from = openSync(input, "r");
  const to = openSync("/dev/null", "w");
  try {
    const start = performance.now();
    const { status, signal, output, stderr } = spawnSync(process.execPath, ["--import", REPORTER, ...args], {
      stdio: [from, to, "pipe", "pipe"],
      encoding: "utf8",
      env: { ...environment, ...more },
    });
    const wall = performance.now() - start;
    if (status !== 0 && status !== 3) throw new Error(`${args.join(" ")}: ${signal ?? status}: ${stderr}`);
    return { wall, ...JSON.parse(output[3] ?? "") };
  } finally {
    closeSync(from);
    closeSync(to);
  }
}

/** The command, as it is built. */
export const CLI = "dist/cli.cjs";
