/** A kernel's symbols: where its own table of them is, and the routines behind `kernel.symbol` and its like. */
import { hex, type Routine, type Sink } from "../io/index.js";
import type { VirtualMemory } from "../paging/virtual-memory.js";
import { searchRanges } from "./find/image.js";
import type { Vmcoreinfo } from "./find/vmcoreinfo.js";
import type { ModuleSymbols } from "./modules/module-symbols.js";
import { editDistance, isGlob, matchesGlob } from "./names.js";
import type { Kallsyms } from "./symbols/kallsyms.js";
import { type FoundKallsyms, findKallsyms } from "./symbols/kallsyms-search.js";
import { KallsymsError, kallsymsTables, readKallsyms } from "./symbols/kallsyms-tables.js";
import { type KernelSymbol, type NamedAddress, SymbolError } from "./symbols/symbol.js";

/** What the routines here ask of a kernel. */
interface SymbolSource {
  /** Addresses in the image that VMCOREINFO names. */
  readonly named: ReadonlyMap<string, bigint>;
  loadKallsyms(): Routine<Kallsyms>;
  loadModuleSymbols(): Routine<ModuleSymbols>;
}

/**
 * Kallsyms where VMCOREINFO says they are; where it does not say it (before Linux 6.0), or is wrong, where they are found by their
 * shape.
 */
export function* readOwnKallsyms(
  memory: VirtualMemory,
  info: Vmcoreinfo,
  known: ReadonlyMap<string, bigint>,
  pointerSize: 4 | 8,
): Routine<FoundKallsyms> {
  let wrong: KallsymsError | undefined;
  try {
    const tables = kallsymsTables(info.symbols);
    try {
      return { tables, kallsyms: yield* readKallsyms(memory, tables, known, pointerSize) };
    } catch (error) {
      if (!(error instanceof KallsymsError)) throw error;
      wrong = error;
    }
  } catch (error) {
    if (!(error instanceof KallsymsError)) throw error;
    if (known.size === 0) throw error;
  }
  try {
    const ranges = searchRanges([...known.values()]);
    return yield* findKallsyms(memory, { ranges, pointerSize, known });
  } catch (error) {
    // What is wrong where they should be says more than that they are nowhere else.
    throw error instanceof KallsymsError ? (wrong ?? error) : error;
  }
}

/** The routine of `kernel.kallsyms`. */
export function* kallsymsRoutine(kernel: SymbolSource): Routine<Kallsyms> {
  return yield* kernel.loadKallsyms();
}

/** The routine of `kernel.moduleSymbols`. */
export function* moduleSymbolsRoutine(kernel: SymbolSource): Routine<ModuleSymbols> {
  return yield* kernel.loadModuleSymbols();
}

/** Kallsyms, or why there are none. */
export function* kallsymsOrWhy(kernel: SymbolSource): Routine<Kallsyms | KallsymsError> {
  try {
    return yield* kernel.loadKallsyms();
  } catch (error) {
    if (error instanceof KallsymsError) return error;
    throw error;
  }
}

/** The routine of `kernel.symbol`. */
export function* symbolRoutine(kernel: SymbolSource, name: string): Routine<KernelSymbol> {
  const kallsyms = yield* kallsymsOrWhy(kernel);
  const found = kallsyms instanceof KallsymsError ? [] : kallsyms.symbol(name);
  if (found.length === 1) return found[0] as KernelSymbol;
  if (found.length > 1) throw new SymbolError("AMBIGUOUS_SYMBOL", name, found);
  const address = kernel.named.get(name);
  if (address !== undefined) return { name, address, type: "?" };
  const ofModules = (yield* kernel.loadModuleSymbols()).symbol(name);
  if (ofModules.length === 1) return ofModules[0] as KernelSymbol;
  if (ofModules.length > 1) throw new SymbolError("AMBIGUOUS_SYMBOL", name, ofModules);
  if (kallsyms instanceof KallsymsError) {
    throw new SymbolError(
      "NO_SYMBOL",
      name,
      nearAmong(named(kernel), name),
      `no kallsyms: ${kallsyms.message}`,
    );
  }
  const hint = /^[0-9a-f]{6,16}$/i.test(name)
    ? `an address is written ${hex(BigInt(`0x${name}`))}`
    : kallsyms.damage;
  throw new SymbolError("NO_SYMBOL", name, kallsyms.near(name), hint);
}

/** The routine of `kernel.nameOf`. */
export function* nameOfRoutine(kernel: SymbolSource, address: bigint): Routine<NamedAddress | undefined> {
  const kallsyms = yield* kallsymsOrWhy(kernel);
  if (!(kallsyms instanceof KallsymsError)) {
    return kallsyms.nameOf(address) ?? (yield* kernel.loadModuleSymbols()).nameOf(address);
  }
  // VMCOREINFO names a few dozen symbols only: what lies further above one of them than a page is something else.
  const nearest = named(kernel)
    .filter((symbol) => symbol.address <= address && address - symbol.address < 4096n)
    .at(-1);
  return nearest === undefined ? undefined : { ...nearest, offset: address - nearest.address };
}

/** The routine of `kernel.symbols`. */
export function* symbolsRoutine(
  sink: Sink<KernelSymbol>,
  kernel: SymbolSource,
  pattern: string,
): Routine<void> {
  const kallsyms = yield* kallsymsOrWhy(kernel);
  const tables = kallsyms instanceof KallsymsError ? undefined : kallsyms;
  const more = named(kernel).filter(
    ({ name }) => matchesGlob(pattern, name) && (tables === undefined || tables.symbol(name).length === 0),
  );
  const own = isGlob(pattern) ? undefined : (tables?.symbol(pattern) ?? []);
  if (isGlob(pattern) || (own?.length === 0 && more.length === 0)) {
    const { all } = yield* kernel.loadModuleSymbols();
    more.push(...all.filter(({ name }) => (isGlob(pattern) ? matchesGlob(pattern, name) : name === pattern)));
    more.sort(byAddress);
  }
  let next = 0;
  const matches = own ?? tables?.match(pattern);
  for (const symbol of matches ?? []) {
    for (
      let other = more[next];
      other !== undefined && other.address < symbol.address;
      other = more[++next]
    ) {
      yield sink.emit(other);
    }
    yield sink.emit(symbol);
  }
  for (const symbol of more.slice(next)) yield sink.emit(symbol);
}

/** VMCOREINFO's symbols, ascending by address. */
function named(kernel: SymbolSource): KernelSymbol[] {
  return [...kernel.named].map(([name, address]) => ({ name, address, type: "?" })).sort(byAddress);
}

function byAddress(a: KernelSymbol, b: KernelSymbol): number {
  return a.address < b.address ? -1 : a.address > b.address ? 1 : 0;
}

/** Names that are a few typing errors away. */
function nearAmong(symbols: readonly KernelSymbol[], name: string): KernelSymbol[] {
  return symbols.filter((symbol) => editDistance(name, symbol.name, 3) <= 3).slice(0, 5);
}
