/** `leechcore:DEVICE[:key=value,…]` on the command line. */
import type { Source } from "../../src/io/index.js";
import type { OptionValues } from "../connector.js";
import { readMemoryMap } from "../memory-map.js";
import { readOptionValue } from "../option-value.js";
import { OWN_OPTIONS } from "./own-options.js";
import { openLeechCore } from "./source.js";

/** A target of the command line, taken apart. */
interface LeechCoreTarget {
  readonly device: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** Empty for what is here. */
  readonly remote: string;
  readonly library: string | undefined;
  readonly write: boolean;
  readonly map: string | undefined;
  readonly max: number | undefined;
}

/** Opens what the command line names. */
export function openLeechCoreTarget(target: string, options: OptionValues): Promise<Source> {
  const { device, map, max, ...how } = targetOf(target, options);
  return openLeechCore(device, {
    ...how,
    maxAddress: max,
    memoryMap: map === undefined ? undefined : readMemoryMap(map),
  });
}

/**
 * Tells options of ours from parameters of the device and a remote agent's address. That has colons of its own, so
 * `remote=` comes last: all behind it that is no option of ours belongs to it.
 *
 * @throws {ConnectorError} `BAD_OPTION` for a value of another kind.
 */
export function targetOf(target: string, options: OptionValues): LeechCoreTarget {
  const found = /^(.*?):(?:(.*,)?)remote=(.*)$/s.exec(target);
  if (found === null) return taken(target, options, "");
  const [, device = "", before = "", first = ""] = found;
  const given: Record<string, boolean | number | string> = {};
  // (As options are written: a part that begins with a digit goes on with the value before it.)
  for (const part of before.split(/,(?![0-9])/).filter((each) => each !== "")) {
    const equals = part.indexOf("=");
    const key = equals < 0 ? part : part.slice(0, equals);
    const kind = (Object.hasOwn(OWN_OPTIONS, key) ? OWN_OPTIONS[key] : undefined) ?? "string";
    given[key] = readOptionValue(`leechcore:${target}`, key, kind, equals < 0 || part.slice(equals + 1));
  }
  const own: Record<string, boolean | number | string | undefined> = {};
  const ofAddress: string[] = [];
  for (const [key, value] of Object.entries(options)) {
    if (Object.hasOwn(OWN_OPTIONS, key)) own[key] = value;
    else if (value !== undefined) ofAddress.push(`${key}=${value}`);
  }
  // LeechCore has them behind the second colon, with commas in between.
  const remote = ofAddress.length === 0 ? first : `${first}:${ofAddress.join(",")}`;
  return taken(device, { ...own, ...given }, remote);
}

function taken(device: string, options: OptionValues, address: string): LeechCoreTarget {
  const parameters = new Map<string, string>();
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(OWN_OPTIONS, key) && value !== undefined) parameters.set(key, String(value));
  }
  const {
    library,
    remote = "",
    write,
    map,
    max,
  } = options as {
    readonly library?: string;
    readonly remote?: string;
    readonly write?: boolean;
    readonly map?: string;
    readonly max?: number;
  };
  return {
    device,
    parameters,
    remote: address === "" ? remote : address,
    library,
    write: write === true,
    map,
    max,
  };
}
