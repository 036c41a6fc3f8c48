/** Values of options as they are written, by their kinds. */
import type { OptionKind } from "./connector.js";
import { ConnectorError } from "./errors.js";

/** The value of an option. @param text For messages: the target. @throws {ConnectorError} `BAD_OPTION` for one of another kind. */
export function readOptionValue(
  text: string,
  key: string,
  kind: OptionKind,
  value: string | true,
): boolean | number | string {
  const parsed = parseValue(kind, value);
  if (parsed !== undefined) return parsed;
  const form = kind === "duration" ? "duration (milliseconds, 5ms, 50us, 2s)" : kind;
  throw new ConnectorError("BAD_OPTION", text, `option ${key} is a ${form}, not "${value}"`);
}

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

function parseValue(kind: OptionKind, value: string | true): boolean | number | string | undefined {
  if (kind === "boolean" || kind === "boolean or ranges") {
    if (value === true || value === "true" || value === "1" || value === "yes") return true;
    if (value === "false" || value === "0" || value === "no") return false;
    return kind === "boolean" || value === "" ? undefined : value;
  }
  if (value === true) return undefined;
  if (kind === "string") return value === "" ? undefined : value;
  if (kind === "duration") return parseDuration(value);
  const match = /^(0x[0-9a-f]+|\d+(?:\.\d+)?)([KMGT]?)$/i.exec(value);
  const unit = UNITS[(match?.[2] ?? "").toUpperCase()];
  if (match === null || unit === undefined || (kind === "number" && unit !== 1)) return undefined;
  const number = Number(match[1]) * unit;
  if (kind === "number") return number;
  return Number.isSafeInteger(number) ? number : undefined;
}

/** Longer durations are nobody's: a day. */
const MAX_DURATION = 86_400_000;
const DURATIONS: Readonly<Record<string, number>> = {
  us: 0.001,
  µs: 0.001,
  μs: 0.001,
  ms: 1,
  s: 1000,
  "": 1,
};

/** Milliseconds: a number of them, or one with `us`, `ms` or `s`; `undefined` for what is none, or more than a day. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)(us|[µμ]s|ms|s|)$/.exec(text);
  if (match === null) return undefined;
  const value = Number(match[1]) * (DURATIONS[match[2] as string] as number);
  return value <= MAX_DURATION ? value : undefined;
}
