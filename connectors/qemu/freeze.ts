/** Pausing a guest while it is read, so that it goes on whatever becomes of this program. */
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ConnectorError, errnoName } from "../errors.js";
import { workerUrl } from "../start-worker.js";
import type { MonitorAddress } from "./command-line.js";
import type { Qmp } from "./qmp.js";

/** How a guest is let go on: by its monitor, or by a signal to its process. */
export type Resumption =
  | { readonly pid: number; readonly monitor: MonitorAddress }
  | { readonly pid: number; readonly signal: true };

/** Milliseconds in which the guard is there, and in which a process stops. */
const START = 20_000;
/** The guard gives up before that. */
const END = 40_000;

/** A guest that is paused. */
export interface Freeze {
  /** Lets it go on, unless it was paused before. @throws {ConnectorError} `STILL_FROZEN` if it could not. */
  thaw(): Promise<void>;
}

/**
 * Pauses a guest.
 *
 * A process of its own resumes it (see `worker/freeze-guard.ts`): also after an error, a signal, or an exit that nobody foresaw.
 *
 * @param name For messages. @param qmp Its monitor, if it can be asked; else its process is stopped by a signal.
 * @throws {ConnectorError} `NOT_FROZEN`. {QmpError}
 */
export async function freezeGuest(
  name: string,
  pid: number,
  qmp: { readonly connection: Qmp; readonly address: MonitorAddress } | undefined,
): Promise<Freeze> {
  if (qmp !== undefined) {
    const { running } = (await qmp.connection.command("query-status")) as { readonly running?: unknown };
    if (running !== true) return { thaw: async () => {} };
    const guard = await Guard.start(name, { pid, monitor: qmp.address });
    return await guard.over(async () => {
      await qmp.connection.command("stop");
    });
  }
  if (isStopped(pid)) return { thaw: async () => {} };
  const guard = await Guard.start(name, { pid, signal: true });
  return await guard.over(() => stopProcess(name, pid));
}

async function stopProcess(name: string, pid: number): Promise<void> {
  try {
    process.kill(pid, "SIGSTOP");
  } catch (cause) {
    throw new ConnectorError("NOT_FROZEN", name, `its process can't be stopped (${errnoName(cause)})`, {
      cause,
    });
  }
  const until = Date.now() + START;
  while (!isStopped(pid)) {
    if (Date.now() > until) throw new ConnectorError("NOT_FROZEN", name, "its process does not stop");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Whether a process is stopped by a signal (proc(5), stat: the state behind the name, which may hold anything). */
function isStopped(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return /^[Tt]$/.test(text.slice(text.lastIndexOf(")") + 2, text.lastIndexOf(")") + 3));
  } catch {
    return false;
  }
}

/** The process that resumes the guest. */
class Guard {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<{ readonly status: number | null; readonly said: string }>;
  #thawed: Promise<void> | undefined;

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

  static async start(name: string, what: Resumption): Promise<Guard> {
    // (As the only thing that needs it, it is loaded only now.)
    const { spawn } = process.getBuiltinModule("node:child_process");
    const script = fileURLToPath(workerUrl("freeze-guard"));
    // In a session of its own: what interrupts this program is not to reach it.
    const child = spawn(process.execPath, [script, JSON.stringify(what)], {
      stdio: ["pipe", "pipe", "ignore"],
      detached: true,
      env: {},
    });
    const guard = new Guard(name, child);
    const ready = new Promise<boolean>((resolve) => {
      child.stdout?.once("data", () => resolve(true));
      guard.#ended.then(() => resolve(false));
    });
    if (!(await within(ready, START, false))) {
      child.kill("SIGKILL");
      throw new ConnectorError(
        "NOT_FROZEN",
        name,
        `the guest was not paused, because the process that would resume it does not start (${script})`,
      );
    }
    // It is nothing to stay alive for.
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as { unref?(): void } | null)?.unref?.();
    return guard;
  }

  /** Pauses; if that fails, the guest is resumed all the same. */
  async over(pause: () => Promise<void>): Promise<Freeze> {
    try {
      await pause();
    } catch (error) {
      await this.thaw().catch(() => {});
      throw error;
    }
    return this;
  }

  thaw(): Promise<void> {
    this.#thawed ??= this.#resume();
    return this.#thawed;
  }

  async #resume(): Promise<void> {
    this.#child.ref();
    this.#child.stdin?.end();
    const { status, said } = await within(this.#ended, END, { status: null, said: "no answer" });
    if (status === 0) return;
    throw new ConnectorError(
      "STILL_FROZEN",
      this.#name,
      `the guest is still paused: resume it with "cont" in its monitor (${said || `status ${status}`})`,
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
