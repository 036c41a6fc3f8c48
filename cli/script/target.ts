/** The target of `memtool run` and `memtool repl`, and the names by which it is in reach. */
import { MemtoolError } from "../../src/io/index.js";
import { KernelNotFoundError, type Linux, type Process } from "../../src/linux/index.js";
import { UsageError } from "../errors.js";
import { type Environment, type GlobalOptions, type Purpose, Session } from "../session.js";
import type { ScriptContext } from "./context.js";

/** What the command line opens. */
export interface Opened {
  readonly session?: Session;
  readonly linux?: Linux;
  readonly process?: Process | undefined;
  /** Why there is no target or no kernel, for a script that asks for it. */
  readonly none?: Error;
}

/** Opens the target, if one is given: a script, or who types, may open one. @param purpose See {@link Session}. */
export async function openTarget(
  options: GlobalOptions,
  environment: Environment,
  purpose: Purpose = "kernel",
): Promise<Opened> {
  const { file, connector, pid } = options;
  const given = environment.env.MEMTOOL_TARGET ?? "";
  if (file === undefined && connector === undefined && given === "") {
    return {
      none: new UsageError("there is no target: give a dump with -f FILE, or a connector with -c"),
    };
  }
  const session = await Session.open(options, environment, purpose);
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
export function contextOf({ session, linux, process, none }: Opened, args: readonly string[]): ScriptContext {
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
