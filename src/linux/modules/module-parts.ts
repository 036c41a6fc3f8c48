/**
 * Modules as others need them: where their structures are, their memory, their tables of symbols. What /proc/modules shows is in
 * module.ts.
 *
 * Facts: include/linux/module.h (`struct module`, `struct module_memory`, `enum module_state`).
 */
import type { Routine } from "../../io/index.js";
import { findListHead } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, listsFunctionsOnly, needSymbol, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { int, maybe, offsetOf, type Row, raw, record, text, type Values, word } from "../objects/record.js";

const MODULE = record("module", {
  name: text("name"),
  state: int("state"),
  // Since 6.4 (ac3b43283923) an array of parts; since 4.5 (7523e4dc5057) `core_layout`.
  mem: maybe(raw("mem")),
  coreBase: maybe(word("core_layout.base", "module_core")),
  coreSize: maybe(int("core_layout.size", "core_size")),
  initBase: maybe(word("init_layout.base", "module_init")),
  initSize: maybe(int("init_layout.size", "init_size")),
  // 5.18 (01dc0386efb7) to 6.3, on some architectures.
  dataBase: maybe(word("data_layout.base")),
  dataSize: maybe(int("data_layout.size")),
  // The tables of symbols: in a structure since 4.5 (8244062ef1e5). With CONFIG_KALLSYMS.
  kallsyms: maybe(word("kallsyms")),
  symtab: maybe(word("symtab")),
  numSymtab: maybe(int("num_symtab")),
  strtab: maybe(word("strtab")),
  syms: maybe(word("syms")),
  numSyms: maybe(int("num_syms")),
  // What /sys/module/NAME/sections shows.
  sections: maybe(word("sect_attrs")),
});

const PART = record("module_memory", { base: word("base"), size: int("size") });
/** MODULE_STATE_UNFORMED. */
const LAST_STATE = 3;

/** A range of a module's memory. */
export interface ModulePart {
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
}

/** A module's `struct module`. @internal */
export type ModuleRow = Row<Values<typeof MODULE.fields>>;

/** Every `struct module` that can be read at least in part. @throws {SymbolError} without a list of them. @internal */
export function* readModules(data: KernelData, report: OnDamage): Routine<ModuleRow[]> {
  const { types, memory } = data;
  const layout = MODULE.onIf(types);
  // Without CONFIG_MODULES it is declared only.
  if (layout === undefined) return [];
  const addresses = yield* moduleAddresses(data, report);
  const rows = yield* layout.read(memory, addresses);
  for (const { address, partial, fault } of rows) {
    if (fault !== 0) report(damage(`module ${partial.name ?? "?"}`, address, "unreadable", fault));
  }
  return rows;
}

/** Addresses of the modules' structures, the last one loaded first. @throws {SymbolError} without a list of them. @internal */
export function* moduleAddresses(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { types, memory } = data;
  const layout = MODULE.onIf(types);
  // Without CONFIG_MODULES it is declared only.
  if (layout === undefined) return [];
  const offset = BigInt(offsetOf(types, "module", "list"));
  const head = (yield* findModuleList(data, layout, offset)) ?? (yield* needSymbol(data, "modules"));
  const nodes = yield* walkList(memory, head, "the list of modules", report);
  return nodes.map((node) => node - offset);
}

/** More code than any module has. */
const MAX_TEXT = 1 << 28;

const heads = new WeakMap<LinuxKernel, bigint>();

/** Where the kernel's kallsyms list functions only, the list of modules is found by its first one. */
function* findModuleList(
  data: KernelData,
  layout: ReturnType<typeof MODULE.on>,
  offset: bigint,
): Routine<bigint | undefined> {
  const { kernel, memory } = data;
  const known = (yield* symbolAddress(data, "modules")) ?? heads.get(kernel);
  if (known !== undefined) return known;
  if (!(yield* listsFunctionsOnly(data))) return undefined;
  const found = yield* findListHead(memory, kernel.searchRanges, function* (node) {
    const [row] = yield* layout.read(memory, [node - offset]);
    const value = row?.value;
    if (row === undefined || value === undefined || value.state > LAST_STATE || value.state < 0) return false;
    if (!/^[A-Za-z0-9_]+$/.test(value.name)) return false;
    const [text] = partsOf(data, row);
    if (text === undefined || text.address % 4096n !== 0n || text.size > MAX_TEXT) return false;
    // (Other structures of the image may look like a module, but for code where they point to.)
    return "physical" in (yield* memory.translate(text.address));
  });
  if (found !== undefined) heads.set(kernel, found);
  return found;
}

/** Ranges of a module's memory that are not empty, text first. @internal */
export function partsOf({ types }: KernelData, { partial }: ModuleRow): ModulePart[] {
  const parts: ModulePart[] = [];
  const add = (address: bigint | undefined, size: number | undefined) => {
    if (address !== undefined && address !== 0n && size !== undefined && size > 0)
      parts.push({ address, size });
  };
  if (partial.mem !== undefined) {
    const layout = PART.on(types);
    if (layout.size === 0) return parts;
    for (let at = 0; at + layout.size <= partial.mem.length; at += layout.size) {
      const { base, size } = layout.decode(partial.mem, at, 0n);
      add(base, size);
    }
  }
  add(partial.coreBase, partial.coreSize);
  add(partial.dataBase, partial.dataSize);
  add(partial.initBase, partial.initSize);
  return parts;
}
