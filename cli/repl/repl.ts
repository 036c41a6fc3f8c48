/**
 * `memtool repl`, an ES module beside the library, as `memtool run` is: what a session imports from "memtool" and its `machine` are of
 * one library. On a terminal it is Node's REPL; else lines are read and answered, without a prompt.
 */

import { once } from "node:events";
import type { CompleterResult } from "node:readline";
import { type REPLServer, Recoverable, start } from "node:repl";
import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { MemtoolError } from "../../src/io/index.js";
import { describeError, EXIT, isUsage, statusOf, UsageError } from "../errors.js";
import { readLines } from "../lines.js";
import { escapeText } from "../render/escape.js";
import type { ScriptContext } from "../script/context.js";
import { hookModules } from "../script/hook-modules.js";
import { cutOwnFrames } from "../script/own-frames.js";
import { contextOf, type Opened, openTarget } from "../script/target.js";
import { watchForWaiting } from "../script/waiting.js";
import type { Environment, GlobalOptions } from "../session.js";
import { DOT_COMMANDS, helpText } from "./commands.js";
import { complete } from "./complete.js";
import { driveForMembers, driven } from "./drive.js";
import { historyFile } from "./history.js";
import { DRIVE, prepareInput } from "./input.js";
import { interruptible, isInterrupt, untilInterrupt } from "./interrupt.js";
import { type ShowOptions, showResult } from "./show.js";

/** Options of `memtool repl`. */
export interface ReplOptions {
  readonly history?: boolean;
}

/** Runs a session over the target. @returns the exit status. */
export async function runRepl(
  options: ReplOptions,
  globals: GlobalOptions,
  environment: Environment,
  version: string,
): Promise<number> {
  let opened: Opened;
  try {
    opened = await openTarget(globals, environment, "virtual");
  } catch (error) {
    environment.stderr.write(`memtool: ${escapeText(describeError(error))}\n`);
    return isUsage(error) ? EXIT.usage : EXIT.failed;
  }
  hookModules();
  cutOwnFrames(new URL(".", import.meta.url).href, environment.env);
  const repl = new Repl(opened, globals, environment, version);
  try {
    const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
    return isTerminal ? await repl.onTerminal(options.history !== false) : await repl.onLines();
  } finally {
    await repl.close();
  }
}

/** How an evaluation ended. */
type Outcome = { readonly value: unknown } | "failed" | "incomplete";
type Ended = (outcome: Outcome) => void;

/** What Node's server has besides what its types say: the domain that it evaluates in, which is told of errors. */
interface Internals {
  readonly _domain?: NodeJS.EventEmitter;
  last: unknown;
  readonly underscoreAssigned: boolean;
}

class Repl {
  readonly #globals: GlobalOptions;
  readonly #environment: Environment;
  readonly #version: string;
  #opened: Opened;
  #context: ScriptContext;
  /** What ends the evaluation under way. */
  #ended: Ended | undefined;
  /** Errors until now, also those that nobody waited for. */
  #failures = 0;
  /** Once the last line was answered: whether one went well. */
  #over: { readonly good: boolean } | undefined;

  constructor(opened: Opened, globals: GlobalOptions, environment: Environment, version: string) {
    this.#opened = opened;
    this.#context = contextOf(opened, []);
    this.#globals = globals;
    this.#environment = environment;
    this.#version = version;
    this.#nameAll();
  }

  async close(): Promise<void> {
    await this.#opened.session?.close();
  }

  /** With prompt, history and completion. */
  async onTerminal(withHistory: boolean): Promise<number> {
    const { stderr, env } = this.#environment;
    const { session } = this.#opened;
    if (session !== undefined)
      stderr.write(`${escapeText(session.machine.name)}: .help tells what there is\n`);
    const [server, evaluate] = this.#serve(process.stdin, process.stdout, true);
    Object.assign(server, {
      eval: (
        text: string,
        _context: unknown,
        file: string,
        done: (error: Error | null, value?: unknown) => void,
      ) =>
        evaluate(text, file, (outcome) => {
          if (outcome === "incomplete") done(new Recoverable(new SyntaxError("incomplete")));
          else done(null, outcome === "failed" ? undefined : outcome.value);
        }),
      completer: this.#completer(server),
    });
    for (const [name, { help }] of DOT_COMMANDS) {
      server.defineCommand(name, {
        help,
        action: (text) => {
          server.clearBufferedCommand();
          server.pause();
          // (In raw mode, Ctrl-C would be a character that nobody reads.)
          process.stdin.setRawMode(false);
          void this.#stoppable(name, text).then(() => {
            process.stdin.setRawMode(true);
            server.displayPrompt();
          });
        },
      });
    }
    server.defineCommand("help", {
      help: "this",
      action: () => {
        server.output.write(`${helpText()}\n`);
        server.displayPrompt();
      },
    });
    const path = withHistory ? historyFile(env) : undefined;
    if (path !== undefined) {
      await new Promise<void>((resolve) => {
        server.setupHistory(path, (error) => {
          if (error !== null) stderr.write(`memtool: the history is not kept: ${describeError(error)}\n`);
          resolve();
        });
      });
    }
    await once(server, "exit");
    return EXIT.ok;
  }

  /** Lines of standard input, each answered before the next. @returns 0 if all went well, 1 if nothing did. */
  async onLines(): Promise<number> {
    const { out, stderr, stdin, style } = this.#environment;
    const [server, evaluate] = this.#serve(new PassThrough(), new PassThrough(), false);
    const internals = server as unknown as Internals;
    let good = false;
    let bad = false;
    let text = "";
    const isOver = watchForWaiting(stderr, "the session");
    const run = () => new Promise<Outcome>((resolve) => evaluate(text, "stdin", resolve));
    reading: for await (const group of readLines(stdin)) {
      for (const line of group) {
        if (line.text === undefined) {
          stderr.write(`memtool: line ${line.number} is too long\n`);
          bad = true;
          continue;
        }
        const [, name, rest] = /^\s*\.([a-z][\w-]*)\s*(.*)$/.exec(line.text) ?? [];
        if (name === "break") {
          text = "";
          continue;
        }
        if (text === "" && name !== undefined) {
          if (name === "exit") break reading;
          const fine = await this.#command(name, rest as string);
          good ||= fine;
          bad ||= !fine;
          continue;
        }
        text += `${line.text}\n`;
        if (text.trim() === "") text = "";
        if (text === "") continue;
        const known = this.#failures;
        const outcome = await run();
        if (outcome === "incomplete") continue;
        text = "";
        // (A promise that was rejected, and for which nobody waits, is told behind the line.)
        await turn();
        const isRejection = this.#failures > known && outcome !== "failed" && isPromise(outcome.value);
        good ||= outcome !== "failed" && !isRejection;
        if (outcome === "failed" || isRejection || outcome.value === undefined) continue;
        if (!internals.underscoreAssigned) internals.last = outcome.value;
        out.text(`${this.#shown(outcome.value, { columns: out.columns, dim: style.dim })}\n`);
        await out.flush();
      }
    }
    if (text !== "") {
      stderr.write("memtool: the input ends amid an expression\n");
      bad = true;
    }
    isOver();
    server.close();
    this.#over = { good };
    return statusOf(good, bad || this.#failures > 0);
  }

  /** The names in reach: of the target that is open now. */
  #nameAll(): void {
    for (const name of Object.keys(this.#context) as (keyof ScriptContext)[]) {
      Object.defineProperty(globalThis, name, {
        get: () => this.#context[name],
        // Who gives the name to something else has that.
        set: (value: unknown) => {
          Object.defineProperty(globalThis, name, { value, writable: true });
        },
        configurable: true,
        enumerable: true,
      });
    }
    Object.defineProperty(globalThis, Symbol.for(DRIVE), { value: driven });
    driveForMembers();
  }

  /** Node's server, and an evaluation that takes TypeScript, and drives operations. */
  #serve(input: NodeJS.ReadableStream, output: NodeJS.WritableStream, isTerminal: boolean) {
    const { style, out } = this.#environment;
    const server = start({
      prompt: isTerminal ? "memtool> " : "",
      input,
      output,
      terminal: isTerminal,
      useGlobal: true,
      ignoreUndefined: true,
      breakEvalOnSigint: isTerminal,
      preview: false,
      writer: (value) => this.#shown(value, { columns: out.columns, dim: style.dim }),
    });
    const own = server.eval;
    const { _domain: domain } = server as unknown as Internals;
    // Node tells it, instead of who asked for an evaluation; and what is thrown later, by whom nobody waits for.
    domain?.removeAllListeners("error");
    domain?.on("error", (error: unknown) => this.#failed(error));
    const evaluate = (text: string, file: string, ended: Ended) => {
      this.#ended = ended;
      const code = prepareInput(text);
      if (code === undefined) return this.#end("incomplete");
      own.call(server, code, server.context, file, (error: unknown, value?: unknown) => {
        if (error instanceof Recoverable) return this.#end("incomplete");
        if (error !== null && error !== undefined) return this.#failed(error);
        try {
          this.#end({ value: interruptible(() => driven(value)) });
        } catch (thrown) {
          this.#failed(thrown);
        }
      });
    };
    return [server, evaluate] as const;
  }

  #end(outcome: Outcome): void {
    const ended = this.#ended;
    this.#ended = undefined;
    ended?.(outcome);
  }

  #failed(error: unknown): void {
    this.#failures++;
    if (this.#over !== undefined) process.exitCode = statusOf(this.#over.good, true);
    this.#environment.stderr.write(`${failureText(error)}\n`);
    void this.#repair(error).then(() => this.#end("failed"));
  }

  #shown(value: unknown, options: ShowOptions): string {
    try {
      return interruptible(() => showResult(value, options));
    } catch (error) {
      void this.#repair(error);
      return failureText(error);
    }
  }

  /** Where Ctrl-C cut off what was reading, its state is lost with it: the target is opened again. */
  async #repair(error: unknown): Promise<void> {
    const { session } = this.#opened;
    if (session === undefined || !isInterrupt(error) || !session.machine.memory.scheduler.driving) return;
    const { stderr } = this.#environment;
    try {
      const opened = await openTarget(this.#globals, this.#environment, "virtual");
      this.#opened = opened;
      this.#context = contextOf(opened, []);
      stderr.write("memtool: the target was opened again: what was got from it before is not to be used\n");
      // (It may never be: what was cut off amid a transfer is waited for.)
      session.machine.close().catch((failed) => stderr.write(`${failureText(failed)}\n`));
    } catch (failed) {
      stderr.write(`${failureText(failed)}\n`);
    }
  }

  /** A command on a terminal: Ctrl-C ends it. */
  async #stoppable(name: string, text: string): Promise<void> {
    const { session } = this.#opened;
    const onStack = session?.machine.source.source.transferSync !== undefined;
    // (Also while the target is opened again: the signal would end the session.)
    const ignore = () => {};
    process.on("SIGINT", ignore);
    await this.#command(name, text, (run) => untilInterrupt(run, onStack));
    process.off("SIGINT", ignore);
  }

  /** @returns whether all went well. */
  async #command(
    name: string,
    text: string,
    through = (run: () => Promise<number>): Promise<number> => run(),
  ): Promise<boolean> {
    const { out, stderr } = this.#environment;
    try {
      if (name === "help") {
        out.text(`${helpText()}\n`);
        return true;
      }
      const command = DOT_COMMANDS.get(name);
      if (command === undefined) throw new UsageError(`.${name} is no command (.help)`);
      const { session, linux, none } = this.#opened;
      if (session === undefined || linux === undefined) throw none;
      const target = { session, linux, version: this.#version };
      return (await through(async () => await command.run(target, text.trim()))) === EXIT.ok;
    } catch (error) {
      this.#opened.session?.clearProgress();
      stderr.write(`${failureText(error)}\n`);
      await this.#repair(error);
      return false;
    } finally {
      this.#opened.session?.clearProgress();
      await out.flush();
    }
  }

  #completer(server: REPLServer) {
    const own: (...given: never[]) => unknown = server.completer;
    return (line: string, done: (error: Error | null, found?: CompleterResult) => void) => {
      try {
        const names = [...DOT_COMMANDS.keys(), "help", "exit", "break", "clear", "editor", "load", "save"];
        const found = complete(line, this.#opened.linux, names);
        if (found === undefined) Reflect.apply(own, server, [line, done]);
        else done(null, found);
      } catch {
        // What can't be read has no names.
        done(null, [[], line]);
      }
    };
  }
}

function isPromise(value: unknown): boolean {
  return value instanceof Promise;
}

/** As the command line says what went wrong; errors of JavaScript with their names. */
function failureText(error: unknown): string {
  if (isInterrupt(error)) return "memtool: stopped";
  const isOwn = error instanceof MemtoolError || error instanceof UsageError || !(error instanceof Error);
  return `memtool: ${isOwn ? "" : `${error.name}: `}${escapeText(describeError(error))}`;
}
