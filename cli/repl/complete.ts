/** What Tab offers beyond JavaScript: commands, symbols, types and members. */
import type { LinuxKernel } from "../../src/linux/index.js";
import { ObjectApi } from "../../src/linux/objects/object-api.js";
import { driven } from "./drive.js";

/** Offers that are listed: of a letter or two, a kernel has thousands of symbols. */
const MOST = 200;

/** Matches, and the end of the line that they would replace. */
export type Completion = [matches: string[], replaced: string];

/** Calls whose first argument is a symbol, and whose first or second is a type. */
const OF_SYMBOL = new Set(["symbol", "symbols", "object", "perCpu", "findAddress"]);
const OF_TYPE = new Set(
  ["cast", "containerOf", "list", "hlist", "llist", "rbtree", "xarray", "idr", "mapleTree"].concat("type"),
);
const TYPE_BEHIND = new Set(["object", "objectAt", "perCpu"]);

/** `undefined` where JavaScript's own completion is to be asked. @param linux The kernel, if there is one. */
export function complete(
  line: string,
  linux: LinuxKernel | undefined,
  commands: Iterable<string>,
): Completion | undefined {
  const command = /^\s*\.([\w-]*)$/.exec(line)?.[1];
  if (command !== undefined) {
    const named = [...commands].filter((name) => name.startsWith(command)).sort();
    return [named.map((name) => `.${name}`), `.${command}`];
  }
  if (linux === undefined) return undefined;
  const [, dot, word] = /^\s*\.(x|w|sym|t)\s+(?:.*\s)?(\S*)$/.exec(line) ?? [];
  if (dot !== undefined && word !== undefined) {
    return dot === "t" ? types(linux, word) : symbols(linux, word);
  }
  return inString(line, linux) ?? ofObject(line, linux);
}

/** In a string that is an argument. */
function inString(line: string, linux: LinuxKernel): Completion | undefined {
  const [, name = "", before, text] = /(\w+)\(([^()"'`]*|"[^"]*",\s*)["'`]([\w.$]*)$/.exec(line) ?? [];
  if (before === undefined || text === undefined) return undefined;
  const isFirst = before.trim() === "";
  if (isFirst && OF_SYMBOL.has(name)) return symbols(linux, text);
  if (isFirst ? OF_TYPE.has(name) : TYPE_BEHIND.has(name)) return types(linux, text);
  return undefined;
}

const OBJECT = /linux\.object\(\s*["'](\w+)["']\s*(?:,\s*["']([^"']+)["']\s*)?\)((?:\.\w+|\[\d+\])*)\.(\w*)$/;

/** Members behind `linux.object("…")`, which JavaScript's completion would not call. */
function ofObject(line: string, linux: LinuxKernel): Completion | undefined {
  const [, name, type, path = "", text = ""] = OBJECT.exec(line) ?? [];
  if (name === undefined) return undefined;
  let found = driven(linux.object(name, type as string)) as Record<string, unknown>;
  for (const [, member, index] of path.matchAll(/\.(\w+)|\[(\d+)\]/g)) {
    found = found[(member ?? index) as string] as Record<string, unknown>;
  }
  const { $: api } = found;
  if (!(api instanceof ObjectApi)) return undefined;
  return [["$", ...api.members].filter((each) => each.startsWith(text)).sort(), text];
}

function symbols(linux: LinuxKernel, text: string): Completion {
  const found = new Set<string>();
  for (const { name } of linux.symbols(`${text.replace(/[*?[\]\\]/g, "")}*`).sync()) {
    found.add(name);
    if (found.size === MOST) break;
  }
  return [[...found].sort(), text];
}

function types(linux: LinuxKernel, text: string): Completion {
  const found = new Set<string>();
  for (const { name } of linux.types().sync().all()) {
    if (name.startsWith(text)) found.add(name);
    if (found.size === MOST) break;
  }
  return [[...found].sort(), text];
}
