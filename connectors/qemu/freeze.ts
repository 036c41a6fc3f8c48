/** Pausing a guest while it is read, so that it goes on whatever becomes of this program. */
import { readFileSync } from "node:fs";
import { ConnectorError, cleanUpAfter, errnoName } from "../errors.js";
import { ResumeGuard } from "../resume-guard.js";
import type { MonitorAddress } from "./command-line.js";
import { isQemu } from "./guest-processes.js";
import type { Qmp } from "./qmp.js";

/** Milliseconds in which a process stops. */
const START = 20_000;

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
 * @param name For messages. @param qmp Its monitor, if it can be asked; else its process is stopped by a signal, if it is a QEMU.
 *             Who resumes it connects anew, and QEMU serves one client: so close it before that.
 * @throws {ConnectorError} `NOT_FROZEN`, `STILL_FROZEN`. {QmpError}
 */
export async function freezeGuest(
  name: string,
  pid: number,
  qmp: { readonly connection: Qmp; readonly address: MonitorAddress } | undefined,
): Promise<Freeze> {
  if (qmp !== undefined) {
    const { running } = await qmp.connection.ask("query-status");
    if (running === false) return { thaw: async () => {} };
    if (running !== true) {
      throw new ConnectorError(
        "NOT_FROZEN",
        name,
        "its monitor does not say whether it runs: it is not paused",
      );
    }
    const guard = await ResumeGuard.start(name, { pid, monitor: qmp.address });
    return await pauseWith(guard, async () => {
      try {
        await qmp.connection.command("stop");
      } catch (error) {
        qmp.connection.close();
        throw error;
      }
    });
  }
  if (!isQemu(pid)) {
    throw new ConnectorError(
      "NOT_FROZEN",
      name,
      `process ${pid} is no QEMU by its name, and no monitor of it can be asked: it is not paused`,
    );
  }
  if (isStopped(pid)) return { thaw: async () => {} };
  const guard = await ResumeGuard.start(name, { pid, signal: true });
  return await pauseWith(guard, () => stopProcess(name, pid));
}

/** Pauses; if that fails, the guest is resumed all the same. @throws {ConnectorError} `STILL_FROZEN` if that fails as well. */
async function pauseWith(guard: ResumeGuard, pause: () => Promise<void>): Promise<Freeze> {
  try {
    await pause();
  } catch (error) {
    throw await cleanUpAfter(error, () => guard.resume());
  }
  return {
    thaw: async () => {
      await guard.resume();
    },
  };
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
