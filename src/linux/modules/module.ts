/**
 * Modules that are loaded.
 *
 * Facts: include/linux/module.h (`struct module`, `enum module_state`, `struct module_use`, `MODULE_REF_BASE`),
 * kernel/module/procfs.c (`m_show`: what /proc/modules shows), kernel/module/main.c (`module_flags_taint`),
 * kernel/panic.c (`taint_flags`).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { findListHead } from "../image-search.js";
import type { LinuxKernel } from "../kernel.js";
import {
  type KernelData,
  kernelData,
  listsFunctionsOnly,
  needSymbol,
  symbolAddress,
} from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import {
  int,
  maybe,
  offsetOf,
  place,
  type Row,
  raw,
  record,
  text,
  type Values,
  word,
} from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { type ModuleParameter, readParameters } from "./parameters.js";

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
  // Counts from 1 since 3.19 (2f35c41f58a9); not there without CONFIG_MODULE_UNLOAD.
  refcnt: maybe(int("refcnt.counter")),
  sourceList: maybe(place("source_list")),
  kp: maybe(word("kp")),
  numKp: maybe(int("num_kp")),
  taints: maybe(word("taints")),
  version: maybe(word("version")),
  srcversion: maybe(word("srcversion")),
  // The tables of symbols: in a structure since 4.5 (8244062ef1e5). With CONFIG_KALLSYMS.
  kallsyms: maybe(word("kallsyms")),
  symtab: maybe(word("symtab")),
  numSymtab: maybe(int("num_symtab")),
  strtab: maybe(word("strtab")),
  syms: maybe(word("syms")),
  numSyms: maybe(int("num_syms")),
});

const PART = record("module_memory", { base: word("base"), size: int("size") });
const USE = record("module_use", { source: word("source") });

/** What each `enum module_state` is called in /proc/modules; unformed modules are not shown there. */
const STATES = ["Live", "Loading", "Unloading", "Unformed"] as const;
/** Letters of `taint_flags`, from bit 0: those that a module may have are shown for it. */
const TAINTS = "PFSRMBUDAWCIOELKXTNJ";

/** State of a module, as /proc/modules has it; "Unformed": its loading has just begun. */
export type ModuleState = (typeof STATES)[number];

/** A range of a module's memory. */
export interface ModulePart {
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
}

/** A module. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface Module {
  readonly name: string | undefined;
  /** Where its text begins: what /proc/modules shows. */
  readonly address: bigint | undefined;
  /** Bytes of all its memory. */
  readonly size: number | undefined;
  readonly state: ModuleState | undefined;
  /** How many hold it, modules that use it among them; `undefined` too where the kernel can't unload modules. */
  readonly references: number | undefined;
  /** Modules that use it. */
  readonly usedBy: readonly string[];
  readonly parameters: readonly ModuleParameter[];
  /** Letters as in /proc/modules, such as "OE". */
  readonly taints: string | undefined;
  /** As its source says; `undefined` if it does not. */
  readonly version: string | undefined;
  readonly srcversion: string | undefined;
  /** Ranges of its memory; those for its start only are gone once it is live. */
  readonly parts: readonly ModulePart[];
  /** Address of its `struct module`. */
  readonly module: bigint;
}

/** A module's `struct module`. @internal */
export type ModuleRow = Row<Values<typeof MODULE.fields>>;

/** Modules in the order of /proc/modules: the last that was loaded comes first. Empty for a kernel without modules. */
export function listModules(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<Module> {
  return IoSequence.of(kernel.memory.scheduler, modulesRoutine, kernel, options);
}

function* modulesRoutine(sink: Sink<Module>, kernel: LinuxKernel, options: DamageOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const rows = yield* readModules(data, log.report);
  const names = new Map(rows.map(({ address, partial }) => [address, partial.name]));
  for (const row of rows) yield sink.emit(yield* moduleOf(data, row, names, log.report));
  log.end();
}

/** Every `struct module` that can be read at least in part. @throws {SymbolError} without a list of them. @internal */
export function* readModules(data: KernelData, report: OnDamage): Routine<ModuleRow[]> {
  const { types, memory } = data;
  const layout = MODULE.onIf(types);
  // Without CONFIG_MODULES it is declared only.
  if (layout === undefined) return [];
  const offset = BigInt(offsetOf(types, "module", "list"));
  const head = (yield* findModuleList(data, layout, offset)) ?? (yield* needSymbol(data, "modules"));
  const nodes = yield* walkList(memory, head, "the list of modules", report);
  const rows = yield* layout.read(
    memory,
    nodes.map((node) => node - offset),
  );
  for (const { address, partial, fault } of rows) {
    if (fault !== 0) report(damage(`module ${partial.name ?? "?"}`, address, "unreadable", fault));
  }
  return rows;
}

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
    if (row === undefined || value === undefined || STATES[value.state] === undefined) return false;
    if (!/^[A-Za-z0-9_]+$/.test(value.name)) return false;
    const [text] = partsOf(data, row);
    return text !== undefined && text.address % 4096n === 0n;
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

/** What a module's fields and what they point to say. */
function* moduleOf(
  data: KernelData,
  row: ModuleRow,
  names: ReadonlyMap<bigint, string | undefined>,
  report: OnDamage,
): Routine<Module> {
  const { partial, address } = row;
  const { state, refcnt, taints, name } = partial;
  const what = `module ${name ?? "?"}`;
  if (state !== undefined && STATES[state] === undefined) {
    report(damage(`the state of ${what}`, address, "invalid", 0, `${state}`));
  }
  const parts = partsOf(data, row);
  const hasParts = partial.mem !== undefined || partial.coreSize !== undefined;
  const [version, srcversion] = yield* readStrings(
    data.memory,
    [partial.version, partial.srcversion],
    `the version of ${what}`,
    report,
  );
  return {
    name,
    address: parts[0]?.address,
    size: hasParts ? parts.reduce((sum, { size }) => sum + size, 0) : undefined,
    state: state === undefined ? undefined : STATES[state],
    references: refcnt === undefined ? undefined : refcnt - 1,
    usedBy: yield* usersOf(data, row, names, report),
    parameters: yield* readParameters(data, partial.kp, partial.numKp, what, report),
    taints: taints === undefined ? undefined : taintLetters(taints),
    version,
    srcversion,
    parts,
    module: address,
  };
}

/** Names of the modules that use one, in the order of /proc/modules. */
function* usersOf(
  { types, memory }: KernelData,
  { partial }: ModuleRow,
  names: ReadonlyMap<bigint, string | undefined>,
  report: OnDamage,
): Routine<string[]> {
  const { sourceList, name } = partial;
  const layout = USE.onIf(types);
  if (sourceList === undefined || layout === undefined) return [];
  const what = `the list of those that use module ${name ?? "?"}`;
  const offset = BigInt(offsetOf(types, "module_use", "source_list"));
  const nodes = yield* walkList(memory, sourceList, what, report);
  const uses = yield* layout.read(
    memory,
    nodes.map((node) => node - offset),
  );
  const found: string[] = [];
  for (const { address, value, fault } of uses) {
    const user = value === undefined ? undefined : names.get(value.source);
    if (value === undefined) report(damage("a module_use", address, "unreadable", fault));
    else if (user === undefined) report(damage(what, address, "mismatch", 0, "one of them is no module"));
    else found.push(user);
  }
  return found;
}

function taintLetters(taints: bigint): string {
  return [...TAINTS].filter((_, bit) => (taints >> BigInt(bit)) & 1n).join("");
}
