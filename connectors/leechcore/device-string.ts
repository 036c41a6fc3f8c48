/** Where a target of ours, `name[:rest][:key=value,…]`, becomes a device string of LeechCore's, `name://…`. */
import { ConnectorError } from "../errors.js";
import { TEXT_SIZE } from "./abi.js";

/** What LeechCore is told to open. */
export interface DeviceString {
  /** At most 259 bytes. */
  readonly device: string;
  /** A remote agent's address; empty for what is here. */
  readonly remote: string;
}

/** Devices whose one nameless value is the path of a file. */
const TAKES_FILE = new Set(["file", "hibr"]);

/** Parameters that LeechCore takes; it drops those behind them. */
const MAX_PARAMETERS = 16;

/**
 * - `fpga` → `fpga`, with parameters `fpga://algo=1,readsize=…`
 * - `file:PATH` → `file://PATH`, with parameters `file://file=PATH,volatile=1`
 * - `existing:0x1234` → `existing://0x1234`
 * - what holds `://` already is taken as it is; parameters are put behind it.
 *
 * @param name For messages.
 * @throws {ConnectorError} `BAD_TARGET` for what LeechCore would cut or misread.
 */
export function deviceString(
  name: string,
  target: string,
  parameters: ReadonlyMap<string, string>,
  remote = "",
): DeviceString {
  if (target === "") {
    throw bad(
      name,
      "name a device, as in leechcore:fpga, leechcore:file:PATH or leechcore:rawudp:ip=10.0.0.2",
    );
  }
  const pairs = [...parameters].map(([key, value]) => `${key}=${value}`);
  for (const pair of pairs) {
    if (/[,;]/.test(pair)) throw bad(name, `LeechCore ends a parameter at "," and ";": ${pair}`);
  }
  const device = join(name, target, pairs);
  const count = device.split(/[,;]/).filter((part) => part.includes("=")).length;
  if (count > MAX_PARAMETERS) {
    throw bad(name, `LeechCore takes at most ${MAX_PARAMETERS} parameters, and these are ${count}`);
  }
  for (const text of [device, remote]) {
    if (Buffer.byteLength(text) >= TEXT_SIZE) {
      throw bad(name, `LeechCore takes at most ${TEXT_SIZE - 1} bytes, and this has more: ${text}`);
    }
    if (text.includes("\0")) throw bad(name, "a zero byte in it");
  }
  return { device, remote };
}

function join(name: string, target: string, pairs: readonly string[]): string {
  if (target.includes("://")) {
    if (pairs.length === 0) return target;
    return `${target}${target.endsWith("://") ? "" : ","}${pairs.join(",")}`;
  }
  const colon = target.indexOf(":");
  const device = colon < 0 ? target : target.slice(0, colon);
  if (!/^[A-Za-z0-9_]+$/.test(device)) {
    throw bad(name, `"${device}" is no name of a device; a file is leechcore:file:PATH`);
  }
  const rest = colon < 0 ? "" : target.slice(colon + 1);
  if (TAKES_FILE.has(device.toLowerCase()) && rest === "") throw bad(name, `${device}: of which file?`);
  if (rest === "") return pairs.length === 0 ? device : `${device}://${pairs.join(",")}`;
  if (pairs.length === 0) return `${device}://${rest}`;
  if (!TAKES_FILE.has(device.toLowerCase())) return `${device}://${[rest, ...pairs].join(",")}`;
  if (/[,;]/.test(rest)) {
    throw bad(name, `with parameters, LeechCore ends a path at "," and ";": rename or link the file ${rest}`);
  }
  return `${device}://${[`file=${rest}`, ...pairs].join(",")}`;
}

function bad(name: string, problem: string): ConnectorError {
  return new ConnectorError("BAD_TARGET", name, problem);
}
