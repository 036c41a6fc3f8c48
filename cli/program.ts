/** The command line: every command, in the order of the help. What a command takes is in register/, what it does in commands/, linux/ and search/. */

import { cleanUpAfter } from "../connectors/errors.js";
import { endWithError } from "./end-with-error.js";
import { EXIT, UsageError } from "./errors.js";
import { makeProgram } from "./global-options.js";
import { addKernelCommands } from "./linux/commands.js";
import { addFreeze, addServe, addWatch } from "./register/live-commands.js";
import {
  addMaps,
  addRead,
  addRoots,
  addSymbols,
  addTranslate,
  addWrite,
} from "./register/memory-commands.js";
import { example, FIXTURE, type Registry } from "./register/registry.js";
import { addSearch, addStrings, addYara } from "./register/search-commands.js";
import { addCompletion, addDiff, addRepl, addRun } from "./register/session-commands.js";
import { addConvert, addCoverage, addInfo } from "./register/target-commands.js";
import { type Environment, type GlobalOptions, Session } from "./session.js";

/** In the order of the help. Those about a kernel follow. */
const ADD_COMMANDS: readonly ((registry: Registry) => void)[] = [
  addInfo,
  addCoverage,
  addRead,
  addSearch,
  addStrings,
  addYara,
  addTranslate,
  addMaps,
  addRoots,
  addSymbols,
  addWrite,
  addWatch,
  addFreeze,
  addServe,
  addConvert,
  addDiff,
  addRun,
  addRepl,
  addCompletion,
];

/** Runs a command line. @returns the exit status. */
export async function run(
  args: readonly string[],
  version: string,
  environment: Environment,
): Promise<number> {
  let status: number = EXIT.ok;
  const program = makeProgram(version, environment);
  const globals = () => program.opts<GlobalOptions>();
  const registry: Registry = {
    program,
    environment,
    version,
    globals,
    session: async (action, purpose = "memory", rows) => {
      const opened = await Session.open({ ...globals(), rows }, environment, purpose);
      try {
        status = opened.endStatus(await action(opened));
      } catch (error) {
        throw await cleanUpAfter(opened.whyOf(error), () => opened.close());
      }
      await opened.close();
    },
    end: (ended) => {
      status = ended;
    },
  };
  for (const add of ADD_COMMANDS) add(registry);
  addKernelCommands(
    program,
    (line) => example(`${line} -f ${FIXTURE}`),
    (action, rows) => registry.session(action, "kernel", rows),
  );

  try {
    if (args.length === 0) throw new UsageError(`no command: one of ${commandNames()} (--help)`);
    if (args[0] === "help" && args[1] !== undefined && !isCommand(args[1])) {
      throw new UsageError(`unknown command '${args[1]}': one of ${commandNames()}`);
    }
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    status = await endWithError(error, environment);
  }
  await environment.out.flush();
  return status;

  function commandNames(): string {
    // (What begins with an underscore is for scripts of shells.)
    const names = program.commands.map((command) => command.name()).filter((name) => !name.startsWith("_"));
    return names.join(", ");
  }

  function isCommand(word: string): boolean {
    return (
      word.startsWith("-") || word === "help" || program.commands.some((command) => command.name() === word)
    );
  }
}
