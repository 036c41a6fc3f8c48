/** Symbols outside of the kernel's image: those of modules, and of what BPF has translated. Read when first needed. */
import { MemtoolError, type Routine } from "../../io/index.js";
import { readBpfSymbols } from "../bpf/bpf-symbols.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import type { Damage } from "../objects/damage.js";
import { ProfileError } from "../profile/profile.js";
import type { KernelSymbol, NamedAddress } from "../symbols/symbol.js";
import { partsOf, readModules } from "./module-parts.js";
import { ModuleTables } from "./module-table.js";

/** Symbols of a range of memory that has only these. */
export interface SymbolRange {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  /** Ascending by address; where several have one address, in their table's order. */
  readonly symbols: readonly KernelSymbol[];
}

/** Damage that is kept. */
const KEPT = 1000;

/** Symbols of modules and of BPF. */
export class ModuleSymbols {
  /** All of them, ascending by address. */
  readonly all: readonly KernelSymbol[];
  /** What could not be read: symbols of it are missing. The first thousand. */
  readonly damage: readonly Damage[];
  /** Why there are none, where the kernel does not tell (it has no types). */
  readonly error: MemtoolError | undefined;
  /** Ascending; they don't overlap in a sound kernel. */
  readonly #ranges: readonly SymbolRange[];
  #byName: Map<string, KernelSymbol[]> | undefined;

  /** Use `kernel.moduleSymbols()`. @internal */
  constructor(
    all: readonly KernelSymbol[],
    ranges: readonly SymbolRange[],
    damage: readonly Damage[] = [],
    error?: MemtoolError,
  ) {
    this.all = sorted(all);
    this.#ranges = [...ranges].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    this.damage = damage;
    this.error = error;
  }

  /** Every symbol of this name, ascending by address. */
  symbol(name: string): readonly KernelSymbol[] {
    if (this.#byName === undefined) {
      this.#byName = new Map();
      for (const symbol of this.all) {
        const same = this.#byName.get(symbol.name);
        if (same === undefined) this.#byName.set(symbol.name, [symbol]);
        else same.push(symbol);
      }
    }
    return this.#byName.get(name) ?? [];
  }

  /** The nearest symbol at or below an address in the memory of the same module or BPF program. */
  nameOf(address: bigint): NamedAddress | undefined {
    for (const { start, end, symbols } of this.#ranges) {
      if (start > address) break;
      if (address >= end) continue;
      const symbol = nearest(symbols, address);
      if (symbol !== undefined && symbol.address >= start) {
        return { ...symbol, offset: address - symbol.address };
      }
    }
    return undefined;
  }
}

/** Reads them all. Never throws for what a kernel lacks: `error` says it. @throws {ProfileError} @internal */
export function* readModuleSymbols(kernel: LinuxKernel): Routine<ModuleSymbols> {
  const damage: Damage[] = [];
  const report = (found: Damage) => {
    if (damage.length < KEPT) damage.push(found);
  };
  const all: KernelSymbol[] = [];
  const ranges: SymbolRange[] = [];
  try {
    const data = yield* kernelData(kernel);
    const tables = new ModuleTables(data, report);
    for (const row of yield* readModules(data, report)) {
      const symbols = yield* tables.read(row);
      for (const symbol of symbols) all.push(symbol);
      const named = sorted(symbols.filter(({ name }) => !isMark(name)));
      for (const { address, size } of partsOf(data, row)) {
        ranges.push({ start: address, end: address + BigInt(size), symbols: named });
      }
    }
    for (const { symbol, end } of yield* readBpfSymbols(data, report)) {
      all.push(symbol);
      ranges.push({ start: symbol.address, end, symbols: [symbol] });
    }
    return new ModuleSymbols(all, ranges, damage);
  } catch (error) {
    // (What was kept and went bad says nothing of the kernel: the next run reads that anew.)
    if (error instanceof MemtoolError && !(error instanceof ProfileError)) {
      return new ModuleSymbols(all, ranges, damage, error);
    }
    throw error;
  }
}

/** Names that assemblers make, of no use to say where an address is (include/linux/module_symbol.h). */
function isMark(name: string): boolean {
  return name.startsWith("$") || name.startsWith(".L") || name.startsWith("L0");
}

function sorted(symbols: readonly KernelSymbol[]): KernelSymbol[] {
  return [...symbols].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
}

/** The last at or below an address; of several at one address the first. */
function nearest(symbols: readonly KernelSymbol[], address: bigint): KernelSymbol | undefined {
  let low = 0;
  let high = symbols.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((symbols[middle] as KernelSymbol).address <= address) low = middle + 1;
    else high = middle;
  }
  let first = low - 1;
  while (first > 0 && symbols[first - 1]?.address === symbols[first]?.address) first--;
  return symbols[first];
}
