/**
 * How the modules of a script are found and read: `memtool` is this very memtool, wherever the script lies, and types are taken out of
 * TypeScript. Node before 22.15 runs these functions in a thread of its own.
 */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { withoutTypes } from "./strip-types.js";

/** What the hooks know. It is sent to their thread. */
export interface HookData {
  /** URLs of what `memtool` and `memtool/…` name. */
  readonly entries: Readonly<Record<string, string>>;
  /** The script that came on standard input. */
  readonly input?: { readonly url: string; readonly text: string } | undefined;
}

interface Resolved {
  readonly url: string;
  readonly format?: string | undefined;
  readonly shortCircuit?: boolean;
}

interface Loaded {
  readonly format: string;
  readonly source: string;
  readonly shortCircuit: true;
}

interface Context {
  readonly parentURL?: string | undefined;
}

let data: HookData = { entries: {} };

/** Node calls it before the others. */
export function initialize(given: HookData): void {
  data = given;
}

/** Where a module is. */
export function resolve<C extends Context, R>(
  specifier: string,
  context: C,
  next: (specifier: string, context: C) => R,
): R | Resolved {
  const entry = data.entries[specifier];
  if (entry !== undefined) return { url: entry, format: "module", shortCircuit: true };
  if (specifier === data.input?.url) return { url: specifier, format: "module", shortCircuit: true };
  return next(sourceOf(specifier, context.parentURL), context);
}

/** TypeScript names a module as it will be called once compiled: `./helper.js` is `./helper.ts` here. */
function sourceOf(specifier: string, parent: string | undefined): string {
  if (parent === undefined || !isTypeScript(parent) || !/^\.{1,2}\/.*\.m?js$/.test(specifier))
    return specifier;
  const source = specifier.replace(/js$/, "ts");
  const isThere = (name: string) => existsSync(fileURLToPath(new URL(name, parent)));
  return !isThere(specifier) && isThere(source) ? source : specifier;
}

/** Its text, without types. */
export function load<C, R>(url: string, context: C, next: (url: string, context: C) => R): R | Loaded {
  if (!isTypeScript(url)) return next(url, context);
  const text = data.input?.url === url ? data.input.text : readFileSync(fileURLToPath(url), "utf8");
  return { format: "module", source: withoutTypes(text, fileURLToPath(url)), shortCircuit: true };
}

function isTypeScript(url: string): boolean {
  return url.startsWith("file:") && /\.m?ts(\?|#|$)/.test(url);
}
