/**
 * Starts Node workers, and says where their files are. This module lies one folder deep, so that a path relative to it is the same
 * before and after the build; from source it points at the built worker, since Node 20 can't run TypeScript in one.
 */
import type { Worker, WorkerOptions } from "node:worker_threads";

const built = import.meta.url.endsWith(".ts") ? "../dist/worker/" : "./worker/";

/** The URL of `connectors/worker/NAME.ts` as it was built. */
export function workerUrl(name: string): URL {
  return new URL(`${built}${name}.js`, import.meta.url);
}

/** Starts a worker. Node's threads are loaded only now: few runs need one. */
export function startWorker(name: string, options: WorkerOptions): Worker {
  const { Worker } = process.getBuiltinModule("node:worker_threads");
  return new Worker(workerUrl(name), { ...inherited(), ...options });
}

/** A worker inherits the program's options, but refuses `--input-type` (of `node -e`). */
function inherited(): WorkerOptions {
  return process.execArgv.some((option) => option.startsWith("--input-type")) ? { execArgv: [] } : {};
}
