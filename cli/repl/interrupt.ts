/** Ctrl-C for what runs on this stack, where no event could tell of it. */
import { Script } from "node:vm";

const RUN = Symbol.for("memtool.run");
const script = new Script(`globalThis[Symbol.for("memtool.run")]()`, { filename: "repl" });

/** Runs it so that SIGINT ends it, which throws {@link isInterrupt}'s error; no `finally` within runs then. */
export function interruptible<T>(run: () => T): T {
  const place = globalThis as unknown as Record<symbol, unknown>;
  place[RUN] = run;
  try {
    return script.runInThisContext({ breakOnSigint: true, displayErrors: false }) as T;
  } finally {
    delete place[RUN];
  }
}

/** Whether Ctrl-C is what it says. */
export function isInterrupt(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED";
}
