/**
 * `memtool run`, an ES module beside the library: a script's `import … from "memtool"` and its `machine` are of one library, so that
 * `instanceof` holds. The command, which has a copy of its own, loads this file for `run` only.
 */
import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MemtoolError } from "../../src/io/index.js";
import { describeError, EXIT, isUsage, UsageError } from "../errors.js";
import { escapeText } from "../render/escape.js";
import type { Environment, GlobalOptions, Session } from "../session.js";
import type { ScriptFunction } from "./context.js";
import { hookModules } from "./hook-modules.js";
import { cutOwnFrames } from "./own-frames.js";
import { contextOf, openTarget } from "./target.js";
import { watchForWaiting } from "./waiting.js";

/** Runs a script over the target. @returns the exit status. */
export async function runScript(
  path: string,
  args: readonly string[],
  options: GlobalOptions,
  environment: Environment,
): Promise<number> {
  const isOver = watchForWaiting(environment.stderr, "the script");
  cutOwnFrames(new URL(".", import.meta.url).href, environment.env);
  const fail = (error: unknown) => environment.stderr.write(`${describeFailure(error)}\n`);
  // What is thrown where nobody waits for it.
  process.on("uncaughtException", (error) => {
    fail(error);
    process.exit(EXIT.failed);
  });
  let session: Session | undefined;
  try {
    const url = await prepareModules(path, environment);
    const opened = await openTarget(options, environment);
    session = opened.session;
    const context = contextOf(opened, args);
    for (const name of Object.keys(context)) {
      const descriptor = Object.getOwnPropertyDescriptor(context, name) as PropertyDescriptor;
      Object.defineProperty(globalThis, name, { ...descriptor, configurable: true });
    }
    process.argv = [process.argv[0] as string, path, ...args];
    const module = (await import(url)) as { readonly default?: unknown };
    if (typeof module.default === "function") await (module.default as ScriptFunction)(context);
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    session?.clearProgress();
    if (isUsage(error)) {
      environment.stderr.write(`memtool: ${escapeText(describeError(error))}\n`);
      return EXIT.usage;
    }
    // (What could not be opened has no place in the script.)
    if (session === undefined && error instanceof MemtoolError) {
      environment.stderr.write(`memtool: ${escapeText(describeError(error))}\n`);
    } else fail(error);
    return EXIT.failed;
  } finally {
    isOver();
    await session?.close();
  }
}

/** The script's URL; what it imports is found. @throws {UsageError} if it is no file. */
async function prepareModules(path: string, environment: Environment): Promise<string> {
  const fromInput = path === "-";
  const url = pathToFileURL(fromInput ? join(process.cwd(), "[stdin].ts") : resolve(path)).href;
  if (!fromInput && statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new UsageError(`${path}: no such script`);
  }
  hookModules(fromInput ? { url, text: await readAll(environment.stdin) } : undefined);
  return url;
}

async function readAll(input: Environment["stdin"]): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}

/** An error with its stack and its causes; text of a dump may be in it. */
function describeFailure(error: unknown): string {
  const lines: string[] = [];
  let each = error;
  for (let depth = 0; depth < 5 && each !== undefined; depth++) {
    const text = each instanceof Error ? (each.stack ?? String(each)) : `the script threw ${String(each)}`;
    lines.push(...`${depth === 0 ? "" : "caused by: "}${text}`.split("\n"));
    each = each instanceof Error ? each.cause : undefined;
  }
  return lines.map(escapeText).join("\n");
}
