/**
 * A process that lets a guest go on when the program that paused it ends, however it does: it waits for the end of its standard
 * input. A line `leave` before that tells it to leave the guest alone.
 *
 * Its argument is JSON: what to resume (see `Resumption`). It says `ready` when it waits. Exit status: 0 if the guest goes on, or is
 * gone; else 1, with the reason on standard output.
 */
import { existsSync } from "node:fs";
import { GdbConnection } from "../gdb/connection.js";
import { Qmp, QmpError } from "../qemu/qmp.js";
import type { Resumption } from "../resume-guard.js";

/** Milliseconds for which it tries to reach QEMU, which serves one client at a time. */
const PATIENCE = 20_000;

async function main(): Promise<void> {
  const what = JSON.parse(process.argv[2] ?? "") as Resumption;
  // Whoever interrupts the program interrupts all of its group.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
  process.stdout.on("error", () => {});
  process.stdout.write("ready\n");
  let told = "";
  for await (const text of process.stdin) told += text;
  if (told.startsWith("leave")) return;
  if ("signal" in what) process.kill(what.pid, "SIGCONT");
  else if ("stub" in what) await resumeByStub(what.stub);
  else await resumeByMonitor(what);
}

/** (A stub serves one client at a time: it takes this one when it has seen that the other is gone.) */
async function resumeByStub(stub: Extract<Resumption, { stub: unknown }>["stub"]): Promise<void> {
  const connection = await GdbConnection.connect("stub", stub, PATIENCE);
  await connection.askText("qSupported");
  await connection.askText("D");
  connection.close();
}

async function resumeByMonitor(what: Extract<Resumption, { monitor: unknown }>): Promise<void> {
  const until = Date.now() + PATIENCE;
  for (;;) {
    try {
      const qmp = await Qmp.connect(what.monitor);
      await qmp.command("cont");
      qmp.close();
      return;
    } catch (error) {
      if (!existsSync(`/proc/${what.pid}/statm`)) return;
      const isFinal = error instanceof QmpError && error.code === "COMMAND";
      if (isFinal || Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

main().catch((error: unknown) => {
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`, () => process.exit(1));
});
