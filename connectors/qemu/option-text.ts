/**
 * Options as QEMU's command line has them: `value,key=value,flag` where a comma inside a value is doubled (util/qemu-option.c),
 * or a JSON object, as libvirt writes them.
 */

/** Option values by their keys. */
export type QemuOptions = ReadonlyMap<string, string>;

/** No value of ours is longer; what is comes from no QEMU. */
const MAX_TEXT = 1_000_000;

/**
 * Takes an option's text apart.
 *
 * @param first Key of a first part that has no `=`: `type` for `-machine pc,accel=kvm`.
 * @returns what it holds: empty for what is neither form. Of a key that is given twice, the last value counts, as in QEMU.
 */
export function parseOptions(text: string, first: string): QemuOptions {
  const found = new Map<string, string>();
  if (text.length > MAX_TEXT) return found;
  if (/^\s*\{/.test(text)) {
    addJson(found, "", parseJson(text));
    return found;
  }
  for (const [i, part] of splitParts(text).entries()) {
    const equals = part.indexOf("=");
    if (equals >= 0) found.set(part.slice(0, equals), part.slice(equals + 1));
    else if (part === "") continue;
    else if (i === 0) found.set(first, part);
    else found.set(part, "on");
  }
  return found;
}

/** Splits at single commas; doubled ones become one. */
function splitParts(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  let from = 0;
  for (;;) {
    const comma = text.indexOf(",", from);
    if (comma < 0) break;
    part += text.slice(from, comma);
    if (text[comma + 1] === ",") {
      part += ",";
      from = comma + 2;
    } else {
      parts.push(part);
      part = "";
      from = comma + 1;
    }
  }
  parts.push(part + text.slice(from));
  return parts;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Nested keys are `outer.inner`, as in the other form. */
function addJson(into: Map<string, string>, prefix: string, value: unknown): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === "object") {
      // (Deeper than any option of QEMU's.)
      if (prefix.length < 200) addJson(into, `${prefix}${key}.`, inner);
    } else {
      into.set(prefix + key, typeof inner === "boolean" ? (inner ? "on" : "off") : String(inner));
    }
  }
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
};

/**
 * A size in bytes: `512M`, `1.5G`, `4194304k`, `0x100000`.
 *
 * @param unit Of a number without one: 2^20 for `-m`.
 * @returns `undefined` for what is no size, or too large to be one.
 */
export function parseSize(text: string | undefined, unit = 1): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(0x[0-9a-f]+|[0-9]+(?:\.[0-9]+)?)([bkmgtp]?)$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, number = "", suffix = ""] = match;
  const size = Number(number) * (suffix === "" ? unit : (UNITS[suffix.toUpperCase()] as number));
  const whole = Math.floor(size);
  return Number.isSafeInteger(whole) ? whole : undefined;
}
