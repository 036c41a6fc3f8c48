/** The connector `gdb` as a target names it. */
import type { Source } from "../../src/io/index.js";
import type { OptionValues } from "../connector.js";
import { ConnectorError } from "../errors.js";
import { workerUrl } from "../start-worker.js";
import { type GdbOptions, openGdb } from "./gdb.js";

/**
 * Opens it.
 *
 * @param inWorker Whether in a thread of its own, so that `.sync()` works on it too.
 */
export async function openGdbTarget(
  target: string,
  values: OptionValues,
  inWorker: boolean,
): Promise<Source> {
  const { memory, inflight, timeout } = values;
  const name = target === "" ? "gdb" : `gdb:${target}`;
  if (memory !== undefined && memory !== "physical" && memory !== "virtual") {
    throw new ConnectorError("BAD_OPTION", name, `memory is physical or virtual, not "${memory}"`);
  }
  for (const [key, value] of Object.entries({ inflight, timeout })) {
    if (value !== undefined && !(Number(value) >= 1)) {
      throw new ConnectorError("BAD_OPTION", name, `${key} is a number from 1 on`);
    }
  }
  const options: GdbOptions = {
    write: values.write === true,
    memory,
    map: values.map as string | undefined,
    resume: values.resume !== false,
    inflight: inflight as number | undefined,
    timeout: timeout as number | undefined,
  };
  if (!inWorker) return await openGdb(target, options);
  const { openInWorker } = await import("../worker-source.js");
  try {
    return await openInWorker(workerUrl("gdb-source"), { options: { target, options } });
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    // What went wrong there, as it would have here.
    const { code, message } = (cause ?? {}) as { readonly code?: unknown; readonly message?: unknown };
    if (typeof code !== "string" || typeof message !== "string") throw error;
    throw new ConnectorError(code, name, message.replace(`${name}: `, ""), { cause: error });
  }
}
