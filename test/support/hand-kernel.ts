/** A kernel whose memory, types and symbols are made by hand: as much of one as lists of what it has need. */
import type { LinuxKernel } from "../../src/linux/index.js";
import { ModuleSymbols } from "../../src/linux/modules/module-symbols.js";
import type { HandMemory, HandTypes } from "./kernel-memory.js";

/** Symbols by name; those of functions name their addresses. */
export interface HandSymbols {
  readonly variables: Readonly<Record<string, bigint>>;
  readonly functions?: Readonly<Record<string, bigint>>;
  /** Where the first task is found, of a kernel whose symbols don't name it. */
  readonly initTask?: bigint;
}

export function handKernel(
  types: HandTypes,
  memory: HandMemory,
  { variables, functions = {}, initTask = 0n }: HandSymbols,
): LinuxKernel {
  const names = new Map(Object.entries(functions).map(([name, address]) => [address, name]));
  const kernel = {
    memory: memory.space,
    searchRanges: [],
    loadTypes: () => done(types),
    findAddress: (name: string) => done(variables[name] ?? functions[name]),
    findInitTask: () => done(initTask),
    nameOf: (address: bigint) => {
      const name = names.get(address);
      return done(name === undefined ? undefined : { name, address, type: "t", offset: 0n });
    },
    loadModuleSymbols: () => done(new ModuleSymbols([], [])),
  };
  return kernel as unknown as LinuxKernel;
}

/** A routine that has nothing to wait for. */
function done<T>(value: T): Iterable<never, T> {
  return { [Symbol.iterator]: () => ({ next: () => ({ done: true, value }) }) };
}
