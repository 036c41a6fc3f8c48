/** What reading a kernel's structures takes: its memory, its types, its symbols. */
import type { Routine } from "../io/index.js";
import type { VirtualMemory } from "../paging/virtual-memory.js";
import type { LinuxKernel } from "./kernel.js";
import { SymbolError } from "./symbols/symbol.js";
import type { TypeTable } from "./types/type-table.js";

/** A kernel whose types are there. */
export interface KernelData {
  readonly kernel: LinuxKernel;
  readonly memory: VirtualMemory;
  readonly types: TypeTable;
}

/** @throws {TypesError} if the kernel has no types, or they can't be read. */
export function* kernelData(kernel: LinuxKernel): Routine<KernelData> {
  const types = yield* kernel.loadTypes();
  return { kernel, memory: kernel.memory, types };
}

/** The address of the first of some symbols that is there; the newest kernels' name comes first. */
export function* symbolAddress(
  { kernel }: Pick<KernelData, "kernel">,
  ...names: string[]
): Routine<bigint | undefined> {
  for (const name of names) {
    const address = yield* kernel.findAddress(name);
    if (address !== undefined) return address;
  }
  return undefined;
}

/** As {@link symbolAddress}. @throws {SymbolError} `NO_SYMBOL`. */
export function* needSymbol(data: Pick<KernelData, "kernel">, ...names: string[]): Routine<bigint> {
  const address = yield* symbolAddress(data, ...names);
  if (address === undefined) {
    // (Kallsyms lists variables only with CONFIG_KALLSYMS_ALL.)
    throw new SymbolError(
      "NO_SYMBOL",
      names.join(" or "),
      [],
      "a table of symbols may have it: --symbols System.map",
    );
  }
  return address;
}

/** The symbol of a function that a pointer leads to, without what compilers add to it; `undefined` if none begins there. */
export function* nameOfFunction({ kernel }: KernelData, address: bigint): Routine<string | undefined> {
  const named = yield* kernel.nameOf(address);
  // (Clang's names have suffixes: ".cfi_jt" of control-flow integrity before 6.1, ".llvm.123" of link-time optimization.)
  return named === undefined || named.offset !== 0n ? undefined : named.name.replace(/\..*$/, "");
}

/** Whether kallsyms have no variables (no CONFIG_KALLSYMS_ALL): what they would name is to be found another way. */
export function* listsFunctionsOnly({ kernel }: KernelData): Routine<boolean> {
  return (yield* kernel.findAddress("init_task")) === undefined;
}
