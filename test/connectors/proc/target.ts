/** Processes with known memory, for tests: what target.c says of itself. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadFfiNow } from "../../../connectors/ffi.js";

export const BASE = 0x2000_0000_0000n;
export const FAR = BASE + 0x1_4000_0000n;
export const PAGE = 4096;
export const pageAt = (page: number): bigint => BASE + BigInt(page * PAGE);

/** The first word of a page of a generation. */
export function wordOf(page: number, generation: bigint): bigint {
  return BigInt.asUintN(64, pageAt(page) * 0x9e3779b97f4a7c15n) ^ generation;
}

/** Whether processes can be made, and read in calls. */
export const canRun: boolean = (() => {
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
    loadFfiNow();
    return process.platform === "linux";
  } catch {
    return false;
  }
})();

/** The compiled program, and those that run it. */
export class Targets {
  readonly #folder = mkdtempSync(join(tmpdir(), "memtool-vm-"));
  readonly #binary = join(this.#folder, "target");
  readonly #children: ChildProcess[] = [];
  /** Processes to be ended that are none of our children. */
  readonly others: number[] = [];

  constructor() {
    if (canRun) execFileSync("cc", ["-O1", "-o", this.#binary, "test/connectors/proc/target.c"]);
  }

  /** Starts one. @returns its number, and what it says next. */
  async start(...args: string[]): Promise<{ readonly pid: number; next(): Promise<number> }> {
    const child = spawn(this.#binary, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    const lines: string[] = [];
    let wake = () => {};
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      lines.push(...text.trim().split("\n"));
      wake();
    });
    const next = async (): Promise<number> => {
      while (lines.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return Number((lines.shift() as string).split(" ")[1]);
    };
    const pid = await next();
    this.others.push(pid);
    return { pid, next };
  }

  close(): void {
    for (const pid of this.others) if (existsSync(`/proc/${pid}`)) process.kill(pid, "SIGKILL");
    for (const child of this.#children) child.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export function waitUntil(what: () => boolean): void {
  const end = Date.now() + 10_000;
  while (!what()) if (Date.now() > end) throw new Error("it did not happen within 10 s");
}

/** Ends a process, and waits until it has no memory any more. */
export function endNow(pid: number): void {
  process.kill(pid, "SIGKILL");
  waitUntil(() => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/maps`, "latin1") === "");
}
