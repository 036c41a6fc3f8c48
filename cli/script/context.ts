/**
 * memtool/script: what a script of `memtool run` has in reach, for its types. In a script, either
 * `import { script } from "memtool/script"` and `export default script(async ({ linux }) => …)`, or use the globals: they have
 * types as soon as anything of this module is imported.
 *
 * @module
 */
import type { Machine } from "../../connectors/connectors.js";
import type { Address, AddressSpace, Linux, Process } from "../../src/index.js";

/** What a script is given: as globals, and as the argument of the function that it exports as its default. */
export interface ScriptContext {
  /** The target, opened as the command line says. @throws if none was given. */
  readonly machine: Machine;
  /** Its kernel. @throws {KernelNotFoundError} if it has none. */
  readonly linux: Linux;
  /** The address space that the command line chooses: of `--pid`, of `--root`, else `machine.memory`. */
  readonly memory: AddressSpace<Address>;
  /** The process of `--pid`. */
  readonly target: Process | undefined;
  /** What follows the script's name. */
  readonly args: readonly string[];
}

/** The function that a script exports as its default. */
export type ScriptFunction = (context: ScriptContext) => unknown;

/** Gives the function back: it says what the argument's type is. */
export function script(run: ScriptFunction): ScriptFunction {
  return run;
}

declare global {
  /** `memtool run`: the target. */
  const machine: ScriptContext["machine"];
  /** `memtool run`: its kernel. */
  const linux: ScriptContext["linux"];
  /** `memtool run`: the address space that the command line chooses. */
  const memory: ScriptContext["memory"];
  /** `memtool run`: the process of `--pid`. */
  const target: ScriptContext["target"];
  /** `memtool run`: what follows the script's name. */
  const args: ScriptContext["args"];
}
