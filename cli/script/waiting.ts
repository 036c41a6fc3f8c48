/** A program that waits for what never comes: Node ends it, with status 0, once nothing is left to do. */
import { EXIT } from "../errors.js";
import type { Environment } from "../session.js";

/** Sees to it that this is told, and is a failure. @returns to be called once everything is over. */
export function watchForWaiting(stderr: Environment["stderr"], what: string): () => void {
  const told = (code: number) => {
    if (code !== 0) return;
    stderr.write(`memtool: ${what} waits for something that never comes\n`);
    process.exitCode = EXIT.failed;
  };
  process.once("exit", told);
  return () => process.off("exit", told);
}
