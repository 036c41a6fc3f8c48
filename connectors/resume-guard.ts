/** A process that lets a machine go on when this program ends, however it does: see `worker/freeze-guard.ts`. */
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ConnectorError } from "./errors.js";
import type { StubAddress } from "./gdb/connection.js";
import type { MonitorAddress } from "./qemu/command-line.js";
import { workerUrl } from "./start-worker.js";

/** How a machine is let go on: by QEMU's monitor, by a signal to QEMU's process, by a stub. */
export type Resumption =
  | { readonly pid: number; readonly monitor: MonitorAddress }
  | { readonly pid: number; readonly signal: true }
  | { readonly stub: StubAddress };

/** Milliseconds in which it is there. */
const START = 20_000;
/** It gives up before that. */
const END = 40_000;

/** See the module's comment. */
export class ResumeGuard {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<{ readonly status: number | null; readonly said: string }>;
  #over: Promise<void> | undefined;

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    let said = "";
    child.stdout?.on("data", (text) => {
      said = (said + String(text)).slice(-4000);
    });
    // What is written to one that has ended is lost, and that is told by its status.
    child.stdin?.on("error", () => {});
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => resolve({ status: null, said: error.message }));
      child.once("close", (status) => resolve({ status, said: said.replace(/^ready\n/, "").trim() }));
    });
  }

  /** @throws {ConnectorError} `NOT_FROZEN` if it does not start: then nothing may be paused. */
  static async start(name: string, what: Resumption): Promise<ResumeGuard> {
    // (As the only thing that needs it, it is loaded only now.)
    const { spawn } = process.getBuiltinModule("node:child_process");
    const script = fileURLToPath(workerUrl("freeze-guard"));
    // In a session of its own: what interrupts this program is not to reach it.
    const child = spawn(process.execPath, [script, JSON.stringify(what)], {
      stdio: ["pipe", "pipe", "ignore"],
      detached: true,
      env: {},
    });
    const guard = new ResumeGuard(name, child);
    const ready = new Promise<boolean>((resolve) => {
      child.stdout?.once("data", () => resolve(true));
      guard.#ended.then(() => resolve(false));
    });
    if (!(await within(ready, START, false))) {
      child.kill("SIGKILL");
      throw new ConnectorError(
        "NOT_FROZEN",
        name,
        `the machine was not paused, because the process that would resume it does not start (${script})`,
      );
    }
    // It is nothing to stay alive for.
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as { unref?(): void } | null)?.unref?.();
    return guard;
  }

  /** Resumes the machine. @throws {ConnectorError} `STILL_FROZEN` if it could not. */
  resume(): Promise<void> {
    this.#over ??= this.#end("");
    return this.#over;
  }

  /** Leaves the machine as it is. */
  leave(): Promise<void> {
    this.#over ??= this.#end("leave\n");
    return this.#over;
  }

  async #end(word: string): Promise<void> {
    this.#child.ref();
    this.#child.stdin?.end(word);
    const { status, said } = await within(this.#ended, END, { status: null, said: "no answer" });
    if (status === 0) return;
    throw new ConnectorError(
      "STILL_FROZEN",
      this.#name,
      `the machine is still paused: resume it, in QEMU with "cont" in its monitor (${said || `status ${status}`})`,
    );
  }
}

async function within<T>(promise: Promise<T>, milliseconds: number, late: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<T>((resolve) => {
        timer = setTimeout(() => resolve(late), milliseconds);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
