/**
 * Where the files of Node workers are. This module lies one folder deep, so that a path relative to it is the same
 * before and after the build; from source it points at the built worker, since Node 20 can't run TypeScript in one.
 */
import type { WorkerOptions } from "node:worker_threads";

const built = import.meta.url.endsWith(".ts") ? "../dist/worker/" : "./worker/";

/** The URL of `connectors/worker/NAME.ts` as it was built. */
export function workerUrl(name: string): URL {
  return new URL(`${built}${name}.js`, import.meta.url);
}

/** What every worker is started with: it inherits the program's options, but refuses `--input-type` (of `node -e`). */
export function workerOptions(): WorkerOptions {
  return process.execArgv.some((option) => option.startsWith("--input-type")) ? { execArgv: [] } : {};
}
