/** `leechcore:DEVICE[:key=value,…]` on the command line. */
import type { Source } from "../../src/io/index.js";
import type { OptionValues } from "../connector.js";
import { readMemoryMap } from "../memory-map.js";
import { openLeechCore } from "./source.js";

/** Options that are ours; all others are parameters of the device. */
const OWN = new Set(["library", "remote", "write", "map", "max"]);

/** A target of the command line, taken apart. */
interface LeechCoreTarget {
  readonly device: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** Empty for what is here. */
  readonly remote: string;
  readonly library: string | undefined;
  readonly write: boolean;
}

/** Opens what the command line names. */
export function openLeechCoreTarget(target: string, options: OptionValues): Promise<Source> {
  const { device, ...how } = targetOf(target, options);
  return openLeechCore(device, {
    ...how,
    maxAddress: options.max as number | undefined,
    memoryMap: options.map === undefined ? undefined : readMemoryMap(String(options.map)),
  });
}

/**
 * Tells options of ours from parameters of the device and a remote agent's address. That has colons of its own, so
 * `remote=` comes last: all behind it that is no option of ours belongs to it.
 */
export function targetOf(target: string, options: OptionValues): LeechCoreTarget {
  const others = new Map<string, string>();
  for (const [key, value] of Object.entries(options)) {
    if (!OWN.has(key) && value !== undefined) others.set(key, String(value));
  }
  const { library, remote = "" } = options as { library?: string; remote?: string };
  const write = options.write === true;
  const found = /^(.*?):(?:(.*,)?)remote=(.*)$/s.exec(target);
  if (found === null) return { device: target, parameters: others, remote, library, write };
  const [, device = "", before = "", first = ""] = found;
  const given = new Map<string, string>();
  for (const pair of before.split(",").filter((part) => part.includes("="))) {
    const equals = pair.indexOf("=");
    given.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const ours = {
    library: given.get("library") ?? library,
    write: write || ["true", "1", "yes"].includes(given.get("write") ?? ""),
  };
  const parameters = new Map([...given].filter(([key]) => !OWN.has(key)));
  return {
    device,
    parameters,
    remote: [first, ...[...others].map(([key, value]) => `${key}=${value}`)].join(":"),
    ...ours,
  };
}
