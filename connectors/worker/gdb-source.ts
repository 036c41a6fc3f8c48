/** What a worker opens for `gdb:TARGET:worker=true`. */
import type { Source } from "../../src/index.js";
import { type GdbOptions, openGdb } from "../gdb/gdb.js";

/** See `openInWorker`. @internal */
export function openSource({
  target,
  options,
}: {
  readonly target: string;
  readonly options: GdbOptions;
}): Promise<Source> {
  return openGdb(target, options);
}
