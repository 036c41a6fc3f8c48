/** A source that answers asynchronously here, and synchronously through a worker that has a connection of its own. */
import type { Source } from "../../src/io/index.js";
import { wrapSource } from "../middleware/wrap-source.js";

/** @param worker The same target, opened in a worker. */
export function withSyncDoor<S extends Source>(source: S, worker: Source): S {
  const { transferSync } = worker;
  return wrapSource(source, {
    transferSync: (batch) => transferSync?.call(worker, batch),
    close: async () => {
      await Promise.all([source.close?.(), worker.close?.()]);
    },
  });
}
