/**
 * How the modules of a script are found and read: `memtool` is this very memtool, wherever the script lies, and types are taken out of
 * TypeScript. Node before 22.15 runs these functions in a thread of its own.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

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

/** What the package throws: a plain object. */
interface Refusal {
  readonly message?: string;
  readonly startLine?: number;
  readonly startColumn?: number;
  readonly snippet?: string;
}

/** Types become spaces: all else stays in its line and column. */
function withoutTypes(text: string, path: string): string {
  const { transformSync } = loadPackage(path);
  try {
    return transformSync(text, { mode: "strip-only", module: true, filename: path }).code;
  } catch (error) {
    const { message, startLine, startColumn, snippet } = error as Refusal;
    const place = startLine === undefined ? "" : `:${startLine}:${(startColumn ?? 0) + 1}`;
    const where = snippet === undefined ? "" : `\n${snippet.trimEnd()}`;
    throw atNoPlace(new SyntaxError(`${path}${place}: ${message ?? error}${where}`));
  }
}

function loadPackage(path: string): typeof import("@swc/wasm-typescript") {
  try {
    return createRequire(import.meta.url)("@swc/wasm-typescript");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
    throw atNoPlace(
      new Error(
        `${path} is TypeScript, and what takes its types away is not installed: npm install @swc/wasm-typescript (or write JavaScript)`,
      ),
    );
  }
}

/** An error without a stack: where it is thrown is none of the script's places. */
function atNoPlace(error: Error): Error {
  error.stack = `${error.name}: ${error.message}`;
  return error;
}
