/** A process that lets a machine go on when this program ends, however it does: see `worker/freeze-guard.ts`. */
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ConnectorError } from "./errors.js";
import type { StubAddress } from "./gdb/connection.js";
import type { MonitorAddress } from "./qemu/command-line.js";
import { monitorName } from "./qemu/qmp.js";
import { workerUrl } from "./start-worker.js";

/** How a machine is let go on: by QEMU's monitor, by a signal to QEMU's process, by a stub. */
export type Resumption =
  | { readonly pid: number; readonly monitor: MonitorAddress }
  | { readonly pid: number; readonly signal: true }
  | { readonly stub: StubAddress };

/** Milliseconds in which it is there. */
const START = 20_000;
/** It gives up before that (`LIMIT` of the process). */
const END = 40_000;

/** How it ends where nobody is there any more whom it could ask to let the machine go on. */
export const NOBODY = 2;

/** See the module's comment. */
export class ResumeGuard {
  readonly #name: string;
  readonly #what: Resumption;
  readonly #child: ChildProcess;
  readonly #ended: Promise<{ readonly status: number | null; readonly said: string }>;
  #over: Promise<boolean> | undefined;

  private constructor(name: string, what: Resumption, child: ChildProcess) {
    this.#name = name;
    this.#what = what;
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
    const guard = new ResumeGuard(name, what, child);
    const ready = new Promise<boolean>((resolve) => {
      // (What else it says is why it can't.)
      child.stdout?.once("data", (text) => resolve(String(text).startsWith("ready\n")));
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

  /**
   * Resumes the machine.
   *
   * @param patience Milliseconds for which a stub is waited for; default 20,000, as where this program ends.
   * @param isSure Whether it was paused at all: of what never said a word, nobody knows.
   * @returns whether somebody was there to do so: a stub that is gone can't.
   * @throws {ConnectorError} `STILL_FROZEN` if it could not, with how to do it by hand.
   */
  resume(patience?: number, isSure = true): Promise<boolean> {
    this.#over ??= this.#resume(patience, isSure);
    return this.#over;
  }

  /** Leaves the machine as it is. */
  async leave(): Promise<void> {
    this.#over ??= this.#end("leave\n").then(() => true);
    await this.#over;
  }

  async #resume(patience: number | undefined, isSure: boolean): Promise<boolean> {
    const { status, said } = await this.#end(patience === undefined ? "" : `within ${patience}\n`);
    if (status === 0 || status === NOBODY) return status === 0;
    throw new ConnectorError(
      "STILL_FROZEN",
      this.#name,
      `${isSure ? "the machine is still paused" : "if it is a stub, its machine may be paused now"}: resume it${byHand(this.#what)} (${said || `status ${status}`})`,
    );
  }

  async #end(word: string): Promise<{ readonly status: number | null; readonly said: string }> {
    this.#child.ref();
    this.#child.stdin?.end(word);
    return await within(this.#ended, END, { status: null, said: "no answer" });
  }
}

/** How a person resumes it. */
function byHand(what: Resumption): string {
  if ("stub" in what) {
    const { stub } = what;
    const place = "path" in stub ? stub.path : `${stub.host}:${stub.port}`;
    return `, in gdb with "target remote ${place}" and "detach"`;
  }
  return "signal" in what
    ? `: kill -CONT ${what.pid}`
    : `, with "cont" in QEMU's monitor at ${monitorName(what.monitor)}`;
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
