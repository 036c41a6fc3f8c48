/** `leechcore:DEVICE[:key=value,…]` on the command line. */
import type { Source } from "../../src/io/index.js";
import type { OptionValues } from "../connector.js";
import { readMemoryMap } from "../memory-map.js";
import { openLeechCore } from "./source.js";

/** Options that are ours; all others are parameters of the device. */
const OWN = new Set(["library", "remote", "write", "map", "max"]);

/**
 * Opens what the command line names.
 *
 * A remote agent's address has colons of its own, so `remote=` comes last: all behind it that is no option of ours
 * belongs to it.
 */
export function openLeechCoreTarget(target: string, options: OptionValues): Promise<Source> {
  const parameters = new Map<string, string>();
  for (const [key, value] of Object.entries(options)) {
    if (!OWN.has(key) && value !== undefined) parameters.set(key, String(value));
  }
  let device = target;
  let remote = options.remote as string | undefined;
  let library = options.library as string | undefined;
  let write = options.write === true;
  const found = /^(.*?):(?:(.*,)?)remote=(.*)$/.exec(target);
  if (found !== null) {
    device = found[1] as string;
    remote = [found[3], ...[...parameters].map(([key, value]) => `${key}=${value}`)].join(":");
    parameters.clear();
    for (const pair of (found[2] ?? "").split(",").filter((part) => part.includes("="))) {
      const key = pair.slice(0, pair.indexOf("="));
      const value = pair.slice(key.length + 1);
      if (key === "library") library = value;
      else if (key === "write") write = value !== "false";
      else parameters.set(key, value);
    }
  }
  return openLeechCore(device, {
    library,
    remote,
    parameters,
    write,
    maxAddress: options.max as number | undefined,
    memoryMap: options.map === undefined ? undefined : readMemoryMap(String(options.map)),
  });
}
