/** Connectors by name, and the form `name[:target[:key=value,…]]` that the command line and `open` take. */
import type { Source } from "../src/io/index.js";
import { BUILT_IN } from "./built-in.js";
import type { Connector, OptionKind, OptionValues } from "./connector.js";
import { ConnectorError, withoutSecrets } from "./errors.js";
import { MIDDLEWARE_OPTIONS, openLayered } from "./middleware/options.js";
import { readOptionValue } from "./option-value.js";

/** A parsed `name[:target[:key=value,…]]`. */
export interface ConnectorTarget {
  readonly name: string;
  readonly target: string;
  /** As written; a key without a value is `true`. */
  readonly options: ReadonlyMap<string, string | true>;
}

const connectors = new Map<string, Connector>(Object.entries(BUILT_IN));

const NAME = /^[a-z][a-z0-9-]*$/;
/**
 * `key=value`, several with commas; only the first part tells options from a target that has colons. A part that begins
 * with a digit goes on with the value before it: `map=0-3G@0,4G-5G@3G`.
 */
const OPTIONS = /^[a-zA-Z][a-zA-Z0-9-]*=[^,]*(,([a-zA-Z][a-zA-Z0-9-]*(=[^,]*)?|[0-9][^,=]*))*$/;

/**
 * Takes apart `name[:target[:key=value,…]]`.
 *
 * The target may contain colons: the part behind the last one is options only if it has the form `key=value,…`.
 * A value may hold commas, each before a digit: a list of ranges.
 * A target that ends like options needs a colon after it: `file:/tmp/a:b=c:`. That last colon is not part of it.
 *
 * @throws {ConnectorError} `BAD_TARGET` for an option given twice, or a name that can be none.
 */
export function parseTarget(text: string): ConnectorTarget {
  const colon = text.indexOf(":");
  const name = colon < 0 ? text : text.slice(0, colon);
  if (!NAME.test(name)) {
    throw new ConnectorError(
      "BAD_TARGET",
      text,
      "write name[:target[:key=value,…]], as in proc:1234:write=true",
    );
  }
  let target = colon < 0 ? "" : text.slice(colon + 1);
  const options = new Map<string, string | true>();
  const last = target.lastIndexOf(":");
  const tail = target.slice(last + 1);
  if (last >= 0 && tail === "") {
    target = target.slice(0, last);
  } else if (last >= 0 && OPTIONS.test(tail)) {
    target = target.slice(0, last);
    for (const part of tail.split(/,(?![0-9])/)) {
      const equals = part.indexOf("=");
      const key = equals < 0 ? part : part.slice(0, equals);
      if (options.has(key)) throw new ConnectorError("BAD_TARGET", text, `option ${key} is given twice`);
      options.set(key, equals < 0 ? true : part.slice(equals + 1));
    }
  }
  return { name, target, options };
}

/**
 * Makes a connector known by a name.
 *
 * @throws {ConnectorError} `NAME_TAKEN`, or `BAD_NAME` for what is not lower-case letters, digits and dashes.
 */
export function registerConnector(name: string, connector: Connector): void {
  if (!NAME.test(name)) {
    throw new ConnectorError(
      "BAD_NAME",
      name,
      "a connector's name has lower-case letters, digits and dashes",
    );
  }
  if (connectors.has(name)) throw new ConnectorError("NAME_TAKEN", name, "there is a connector of that name");
  connectors.set(name, connector);
}

/** The connectors by name, in the order of their registration. */
export function listConnectors(): ReadonlyMap<string, Connector> {
  return connectors;
}

/** The connector of that name. @throws {ConnectorError} `NO_SUCH_CONNECTOR`, with names like it. */
export function findConnector(name: string): Connector {
  const found = connectors.get(name);
  if (found !== undefined) return found;
  const near = nearestNames(name, connectors.keys());
  const hint =
    near.length > 0 ? `did you mean ${near.join(" or ")}?` : `there are ${[...connectors.keys()].join(", ")}`;
  throw new ConnectorError("NO_SUCH_CONNECTOR", name, `there is no such connector; ${hint}`);
}

/** What is asked for beside a target, as if its options had said so. */
export interface TargetWishes {
  readonly write?: boolean | undefined;
  readonly freeze?: boolean | undefined;
  readonly map?: boolean | undefined;
}

const WISHES: readonly (readonly [keyof TargetWishes, OptionKind, string, string])[] = [
  ["write", "boolean", "READ_ONLY", "this connector can't write"],
  ["freeze", "boolean", "NO_FREEZE", "this connector has nothing to pause"],
  ["map", "boolean or ranges", "NO_MMAP", "this connector has nothing to map"],
];

/**
 * A target's options with what is asked for beside it. (Mapping is faster and nothing else: there the target's own word counts.)
 *
 * @throws {ConnectorError} `READ_ONLY`, `NO_FREEZE`, `NO_MMAP` where there is no such thing; `BAD_OPTION` where the target says no to it.
 */
export function withWishes(
  text: string,
  connector: Connector,
  given: ReadonlyMap<string, string | true>,
  wishes: TargetWishes,
): ReadonlyMap<string, string | true> {
  const asked = new Map(given);
  for (const [name, kind, code, problem] of WISHES) {
    if (wishes[name] !== true) continue;
    if (!asked.has(name)) {
      if (connector.options?.[name] !== kind) throw new ConnectorError(code, text, problem);
      asked.set(name, true);
    } else if (name !== "map" && checkOptions(text, connector, asked)[name] === false) {
      throw new ConnectorError("BAD_OPTION", text, `${name} is asked for, and the target says ${name}=false`);
    }
  }
  return asked;
}

/**
 * Opens a target by `name[:target[:key=value,…]]`, with the layers around it that its options ask for (all but `cache` and `age`, which
 * are for `open`).
 *
 * @param wishes What is asked for beside it: `--write`, `--freeze`.
 * @throws {ConnectorError} for a connector or an option that there isn't, a value of another kind, and what the
 * connector itself refuses.
 */
export async function openTarget(
  text: string,
  wishes: TargetWishes = {},
): Promise<{
  readonly connector: Connector;
  readonly source: Source;
  readonly options: OptionValues;
  /** What the source's addresses are: the connector's kind, unless its source or a layer knows better. */
  readonly kind: Connector["kind"];
}> {
  const { name, target, options } = parseTarget(text);
  const connector = findConnector(name);
  const values = checkOptions(text, connector, withWishes(text, connector, options, wishes));
  const opening = openLayered(text, connector, target, values);
  const { source, kind } = await hintingAtOptions(text, connector, opening);
  return { connector, source, options: values, kind };
}

/** What is opened of a target; if that fails, the error says how options are written where the target ends as they would. */
export async function hintingAtOptions<T>(
  text: string,
  connector: Connector,
  opening: Promise<T>,
): Promise<T> {
  try {
    return await opening;
  } catch (error) {
    const { name, target } = parseTarget(text);
    const hint = text === `${name}:${target}` ? hintOfOptions(connector, name, target) : "";
    if (hint !== "" && error instanceof Error) error.message += `; ${hint}`;
    throw error;
  }
}

/** How its options are written, for a target that ends as its connector's options would; else nothing. */
function hintOfOptions(connector: Connector, name: string, target: string): string {
  const kindOf = (key: string): OptionKind | undefined =>
    [connector.options ?? {}, MIDDLEWARE_OPTIONS].find((kinds) => Object.hasOwn(kinds, key))?.[key];
  const key = target.slice(0, Math.max(0, target.indexOf("=")));
  if (OPTIONS.test(target) && kindOf(key) !== undefined) {
    return `options come behind a second colon: ${withoutSecrets(`${name}::${target}`)}`;
  }
  const last = target.lastIndexOf(":");
  const flags = target.slice(last + 1).split(",");
  if (!flags.every((flag) => kindOf(flag)?.startsWith("boolean"))) return "";
  const written = flags.map((flag) => `${flag}=true`).join(",");
  return last < 0
    ? `options come behind a second colon: ${name}::${written}`
    : `options are key=value: ${written}`;
}

/**
 * Options as a connector wants them, and those that every connector has.
 *
 * @throws {ConnectorError} `BAD_OPTION`, naming those that there are.
 */
export function checkOptions(
  text: string,
  connector: Connector,
  given: ReadonlyMap<string, string | true>,
): OptionValues {
  const own = connector.options ?? {};
  const values: Record<string, boolean | number | string> = {};
  for (const [key, value] of given) {
    const kinds = Object.hasOwn(own, key) ? own : MIDDLEWARE_OPTIONS;
    const kind = Object.hasOwn(kinds, key) ? kinds[key] : connector.otherOptions;
    if (kind === undefined) {
      const names = Object.keys(own);
      const known = names.length === 0 ? "" : `it has ${names.map((n) => `${n}=${own[n]}`).join(", ")}; `;
      const general = Object.keys(MIDDLEWARE_OPTIONS).filter((name) => !Object.hasOwn(own, name));
      const all = general.map((n) => `${n}=${MIDDLEWARE_OPTIONS[n]}`).join(", ");
      throw new ConnectorError(
        "BAD_OPTION",
        text,
        `there is no option ${key}; ${known}every connector has ${all}`,
      );
    }
    values[key] = readOptionValue(text, key, kind, value);
  }
  return values;
}

/** Up to three of `names` that are like `name`, the nearest first. */
export function nearestNames(name: string, names: Iterable<string>): string[] {
  const limit = Math.max(1, Math.floor(name.length / 3));
  return [...names]
    .map((other) => ({ other, distance: other.startsWith(name) ? 0 : editDistance(name, other) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ other }) => other);
}

/** Changes, insertions, deletions and swaps of neighbours that lead from one to the other. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] as number) + 1 : change;
      next.push(Math.min(change, swap, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] as number;
}
