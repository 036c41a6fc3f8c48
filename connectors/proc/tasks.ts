/** What /proc tells of processes and their threads besides their memory. */
import { readdirSync, readFileSync } from "node:fs";

/** A thread of a process. */
export interface ProcessThread {
  readonly tid: number;
  /** As the kernel has it: at most 15 bytes; it may hold any character. */
  readonly name: string;
  /** A letter as ps(1) shows it: `R` runs, `S` and `D` sleep, `T` and `t` are stopped, `Z` is a zombie, `I` idles. */
  readonly state: string;
}

/** A process, as /proc lists it. */
export interface ListedProcess {
  readonly pid: number;
  /** As the kernel has it: at most 15 bytes; it may hold any character. */
  readonly name: string;
  /** Arguments; none of a kernel thread or a zombie. They may hold any character. */
  readonly commandLine: readonly string[];
}

/** The threads of a process, ascending; none once it is gone. */
export function listThreads(pid: number): ProcessThread[] {
  const threads: ProcessThread[] = [];
  for (const tid of numbersIn(`/proc/${pid}/task`)) {
    const stat = readText(`/proc/${pid}/task/${tid}/stat`);
    const thread = stat === undefined ? undefined : parseStat(stat);
    if (thread !== undefined) threads.push(thread);
  }
  return threads;
}

/** The first fields of /proc/PID/stat: a name may hold blanks and parentheses. */
export function parseStat(text: string): ProcessThread | undefined {
  const match = /^(\d+) \((.*)\) (\S)/s.exec(text);
  if (match === null) return undefined;
  const [, tid, name = "", state = "?"] = match;
  return { tid: Number(tid), name, state };
}

/** What is known of a process; `undefined` if there is none of that number. */
export function readProcess(pid: number): ListedProcess | undefined {
  const name = readText(`/proc/${pid}/comm`);
  if (name === undefined) return undefined;
  const line = readText(`/proc/${pid}/cmdline`) ?? "";
  return {
    pid,
    name: name.replace(/\n$/, ""),
    commandLine: line === "" ? [] : line.replace(/\0$/, "").split("\0"),
  };
}

/** All processes (not their threads), ascending by number. */
export function listProcesses(): ListedProcess[] {
  return numbersIn("/proc").flatMap((pid) => readProcess(pid) ?? []);
}

function numbersIn(folder: string): number[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^[0-9]+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
