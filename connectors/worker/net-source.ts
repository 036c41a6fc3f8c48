/** `net:` in a worker, for `sync=true`: see `openInWorker`. */
import type { Source } from "../../src/index.js";
import type { OptionValues } from "../connector.js";
import { openTarget } from "../net/connector.js";

/** @internal */
export function openSource(given: unknown): Promise<Source> {
  const { target, options, session } = given as {
    readonly target: string;
    readonly options: OptionValues;
    readonly session: string;
  };
  return openTarget(target, options, session);
}
