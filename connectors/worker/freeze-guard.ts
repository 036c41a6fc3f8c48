/**
 * A process that lets a guest go on when the program that paused it ends, however it does: it waits for the end of its standard
 * input. A line `leave` before that tells it to leave the guest alone, one `within MILLISECONDS` how long to wait for a stub.
 *
 * Its argument is JSON: what to resume (see `Resumption`). It says `ready` when it waits. Exit status: 0 if the guest goes on, or its
 * process is gone; 2 if nobody listens any more where its stub was; else 1, with the reason on standard output.
 */
import { errnoName } from "../errors.js";
import { GdbConnection, GdbError } from "../gdb/connection.js";
import { ProcessLife } from "../qemu/process-life.js";
import { Qmp, QmpError } from "../qemu/qmp.js";
import { NOBODY, type Resumption } from "../resume-guard.js";

/** Milliseconds for which it tries to reach QEMU, which serves one client at a time. */
const PATIENCE = 20_000;
/** Milliseconds after which it gives up, wherever it is. */
const LIMIT = 35_000;

async function main(): Promise<void> {
  const what = JSON.parse(process.argv[2] ?? "") as Resumption;
  // (Before anything is paused, so that it is of this process, also when another has its number.)
  const life = "pid" in what ? new ProcessLife(what.pid) : undefined;
  // Whoever interrupts the program interrupts all of its group.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
  process.stdout.on("error", () => {});
  process.stdout.write("ready\n");
  let told = "";
  for await (const text of process.stdin) told += text;
  if (told.startsWith("leave")) return;
  const within = /^within ([\d.]+)\n/.exec(told)?.[1];
  setTimeout(() => fail(new Error(`no answer within ${LIMIT / 1000} s`)), LIMIT).unref();
  if ("stub" in what) await resumeByStub(what.stub, within === undefined ? PATIENCE : Number(within));
  else if (life?.isAlive !== true) return;
  else if ("signal" in what) resumeBySignal(what.pid);
  else await resumeByMonitor(what.monitor, life);
}

function resumeBySignal(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch (error) {
    if (errnoName(error) !== "ESRCH") throw error;
  }
}

/** (A stub serves one client at a time: it takes this one when it has seen that the other is gone.) */
async function resumeByStub(
  stub: Extract<Resumption, { stub: unknown }>["stub"],
  patience: number,
): Promise<void> {
  let connection: GdbConnection;
  try {
    connection = await GdbConnection.connect("stub", stub, patience);
  } catch (error) {
    const why = error instanceof GdbError ? errnoName(error.cause) : undefined;
    if (why !== "ECONNREFUSED" && why !== "ENOENT") throw error;
    process.exitCode = NOBODY;
    return;
  }
  await connection.askText("qSupported");
  const answer = await connection.askText("D");
  connection.close();
  if (answer !== "OK") throw new Error(`the stub does not let it go: it answers "${answer.slice(0, 20)}"`);
}

async function resumeByMonitor(
  monitor: Extract<Resumption, { monitor: unknown }>["monitor"],
  life: ProcessLife,
): Promise<void> {
  const until = Date.now() + PATIENCE;
  for (;;) {
    try {
      const qmp = await Qmp.connect(monitor);
      await qmp.command("cont");
      qmp.close();
      return;
    } catch (error) {
      // (Also one that has ended, and whose parent has not asked how.)
      if (!life.isAlive) return;
      const isFinal = error instanceof QmpError && error.code === "COMMAND";
      if (isFinal || Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function fail(error: unknown): void {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`, () => process.exit(1));
}

main().catch(fail);
