/**
 * `memtool run`, an ES module beside the library: a script's `import … from "memtool"` and its `machine` are of one library, so that
 * `instanceof` holds. The command, which has a copy of its own, loads this file for `run` only.
 */
import { readFileSync, statSync } from "node:fs";
import * as nodeModule from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MemtoolError } from "../../src/io/index.js";
import { KernelNotFoundError, type Linux, type Process } from "../../src/linux/index.js";
import { describeError, EXIT, isUsage, UsageError } from "../errors.js";
import { escapeText } from "../render/escape.js";
import { type Environment, type GlobalOptions, Session } from "../session.js";
import type { ScriptContext, ScriptFunction } from "./context.js";
import * as hooks from "./module-hooks.js";

/** Runs a script over the target. @returns the exit status. */
export async function runScript(
  path: string,
  args: readonly string[],
  options: GlobalOptions,
  environment: Environment,
): Promise<number> {
  let isOver = false;
  // Where nothing is left to do, Node ends also a program that waits.
  process.once("exit", (code) => {
    if (isOver || code !== 0) return;
    environment.stderr.write("memtool: the script waits for something that never comes\n");
    process.exitCode = EXIT.failed;
  });
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
    isOver = true;
    await session?.close();
  }
}

/** The script's URL, and hooks for what it imports. @throws {UsageError} if it is no file. */
async function prepareModules(path: string, environment: Environment): Promise<string> {
  const fromInput = path === "-";
  const url = pathToFileURL(fromInput ? join(process.cwd(), "[stdin].ts") : resolve(path)).href;
  if (!fromInput && statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new UsageError(`${path}: no such script`);
  }
  const input = fromInput ? { url, text: await readAll(environment.stdin) } : undefined;
  const data: hooks.HookData = { entries: entriesOf(), input };
  const { registerHooks } = nodeModule as { registerHooks?: (functions: object) => unknown };
  if (registerHooks === undefined) {
    nodeModule.register(new URL("./module-hooks.js", import.meta.url), { data });
  } else {
    hooks.initialize(data);
    registerHooks({ resolve: hooks.resolve, load: hooks.load });
  }
  return url;
}

/** What `memtool` and `memtool/…` are, as package.json has it. */
function entriesOf(): Record<string, string> {
  const manifest = new URL("../package.json", import.meta.url);
  const { exports } = JSON.parse(readFileSync(manifest, "utf8")) as {
    exports: Record<string, string | { readonly default: string }>;
  };
  const entries: Record<string, string> = {};
  for (const [name, entry] of Object.entries(exports)) {
    if (typeof entry !== "string")
      entries[name.replace(".", "memtool")] = new URL(entry.default, manifest).href;
  }
  return entries;
}

async function readAll(input: Environment["stdin"]): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}

/** What the command line opens. */
interface Opened {
  readonly session?: Session;
  readonly linux?: Linux;
  readonly process?: Process | undefined;
  /** Why there is no target or no kernel, for a script that asks for it. */
  readonly none?: Error;
}

/** Opens the target, if one is given: a script may open its own. */
async function openTarget(options: GlobalOptions, environment: Environment): Promise<Opened> {
  const { file, connector, pid } = options;
  const given = environment.env.MEMTOOL_TARGET ?? "";
  if (file === undefined && connector === undefined && given === "") {
    return {
      none: new UsageError("the script asks for a target: give a dump with -f FILE, or a connector with -c"),
    };
  }
  const session = await Session.open(options, environment, "kernel");
  try {
    const linux = await session.machine.linux();
    session.clearProgress();
    for (const damage of [linux.symbolDamage, linux.typeDamage])
      if (damage !== undefined) session.warn(damage);
    return { session, linux, process: pid === undefined ? undefined : await linux.process(Number(pid)) };
  } catch (error) {
    const isNone =
      error instanceof KernelNotFoundError ||
      (error instanceof MemtoolError && session.machine.physical === undefined);
    if (isNone && pid === undefined) return { session, none: error };
    await session.close();
    throw error;
  }
}

/** What the script gets; what there is not throws when it is asked for. */
function contextOf({ session, linux, process, none }: Opened, args: readonly string[]): ScriptContext {
  return {
    get machine() {
      if (session === undefined) throw askedHere(none);
      return session.machine;
    },
    get linux() {
      if (linux === undefined) throw askedHere(none);
      return linux;
    },
    get memory() {
      if (session === undefined) throw askedHere(none);
      return process?.memory ?? session.space.virtual ?? session.machine.memory;
    },
    target: process,
    args,
  };
}

/** The error, with the stack of who asks now instead of who found it. */
function askedHere(error: Error | undefined): Error | undefined {
  if (error !== undefined) Error.captureStackTrace(error, askedHere);
  return error;
}

/** Frames of Node and of what runs the script. */
const OURS = /^\s+at .*(\bnode:|\/dist\/(run-script\.js|command\.cjs))/;

/** An error with its stack and its causes; text of a dump may be in it. */
function describeFailure(error: unknown): string {
  const lines: string[] = [];
  let each = error;
  for (let depth = 0; depth < 5 && each !== undefined; depth++) {
    const text = each instanceof Error ? (each.stack ?? String(each)) : `the script threw ${String(each)}`;
    lines.push(
      ...`${depth === 0 ? "" : "caused by: "}${text}`.split("\n").filter((line) => !OURS.test(line)),
    );
    each = each instanceof Error ? each.cause : undefined;
  }
  return lines.map(escapeText).join("\n");
}
