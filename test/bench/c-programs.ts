/** The limits in C: compiled when they are first needed, with the system's gcc. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Ready, Timed } from "./row.js";

const SOURCES = "test/bench/c";
const CACHE = resolve("node_modules/.cache/memtool/bench");
const FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11"];

let version: string | undefined | null = null;

/** The first line of `gcc --version`, or `undefined` where there is none. The programs are for Linux. */
export function compilerVersion(): string | undefined {
  if (version !== null) return version;
  const { status, stdout } = spawnSync("gcc", ["--version"], { encoding: "utf8" });
  version = status === 0 && process.platform === "linux" ? stdout.split("\n")[0] : undefined;
  return version;
}

/** A C program that isn't just `test/bench/c/NAME.c`. */
export interface CSource {
  /** Its file; default `test/bench/c/NAME.c`. */
  readonly source?: string;
  /** Further arguments for gcc; those that come behind the file's name, libraries for one. */
  readonly flags?: readonly string[];
  readonly libraries?: readonly string[];
}

/** Path of the program made of `test/bench/c/NAME.c`. @throws if gcc refuses it. */
export function compiled(name: string, options: CSource = {}): string {
  const { source = join(SOURCES, `${name}.c`), flags = [], libraries = [] } = options;
  const args = [...FLAGS, ...flags];
  const hash = createHash("sha256")
    .update([...args, ...libraries].join(" "))
    .update(compilerVersion() ?? "");
  for (const file of [source, join(SOURCES, "bench.h")]) hash.update(readFileSync(file));
  const program = join(CACHE, `${name}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(CACHE, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const { status, stderr } = spawnSync("gcc", [...args, "-o", unfinished, source, ...libraries], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`gcc does not compile ${source}:\n${stderr}`);
  renameSync(unfinished, program);
  return program;
}

/** Repetitions in one start of a program: each is a sample of its own. */
const REPETITIONS = 5;

/**
 * A row that is a C program. Every program takes its own arguments, then how often to go through its work in one
 * repetition (which the row states in its `operations`) and how many repetitions to make, and prints a line for each:
 * CPU seconds, wall seconds, checksum.
 */
export function cProgram(
  name: string,
  args: readonly (string | number)[],
  loops: number,
  rest: Omit<Ready, "run">,
  program = compiled(name),
): Ready {
  const measured: Timed[] = [];
  const run = (): Timed => {
    let next = measured.shift();
    if (next === undefined) {
      measured.push(...start(program, [...args, loops, REPETITIONS].map(String)));
      next = measured.shift() as Timed;
    }
    return next;
  };
  return { ...rest, run };
}

function start(program: string, args: readonly string[]): Timed[] {
  const { status, stdout, stderr, signal } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${signal ?? status} ${stderr}`);
  const timed = stdout
    .trim()
    .split("\n")
    .map((text) => {
      const [cpu, wall, checksum] = text.split(" ").map(Number);
      return { cpu: (cpu as number) * 1000, wall: (wall as number) * 1000, checksum: checksum as number };
    });
  if (timed.length !== REPETITIONS) throw new Error(`${program}: ${stdout}`);
  return timed;
}
