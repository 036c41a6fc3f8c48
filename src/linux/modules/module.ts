/**
 * Loaded modules: what /proc/modules shows, and their parameters.
 *
 * Facts: include/linux/module.h (`struct module`, `enum module_state`, `mod_mem_type`), kernel/module/procfs.c (`m_show`,
 * `module_total_size`), kernel/module/main.c (`module_refcount`, MODULE_REF_BASE), include/linux/module.h (`module_use`).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import {
  int,
  maybe,
  needStruct,
  offsetOf,
  place,
  record,
  text,
  type Values,
  word,
} from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import { moduleAddresses } from "./module-parts.js";
import { type ModuleParameter, readParameters } from "./parameter.js";

/** MODULE_STATE_…, by value. */
const STATES = ["Live", "Loading", "Unloading", "Unformed"] as const;
/** A module that nobody uses has one reference, its own (MODULE_REF_BASE). */
const OWN_REFERENCE = 1;
/** Longest version: no real one has more. */
const MAX_TEXT = 256;

/** @internal */
export const MODULE = record("module", {
  name: text("name"),
  state: int("state"),
  references: maybe(int("refcnt.counter")),
  users: maybe(place("source_list")),
  parameters: maybe(word("kp")),
  parameterCount: maybe(int("num_kp")),
  taints: maybe(word("taints")),
  version: maybe(word("version")),
  sourceVersion: maybe(word("srcversion")),
  // Since 6.4 (ac3b43283923) memory of each kind is apart; since 4.5 (7523e4dc5057) there were two layouts.
  coreBase: maybe(word("core_layout.base", "module_core")),
  coreSize: maybe(int("core_layout.size", "core_size")),
  initSize: maybe(int("init_layout.size", "init_size")),
  memory: maybe(place("mem")),
});

const USE = record("module_use", { user: word("source") });

/** A loaded module. What could not be read of it is `undefined`. */
export interface LoadedModule {
  readonly name: string | undefined;
  /** Where its code begins. */
  readonly address: bigint | undefined;
  /** Bytes, as /proc/modules counts them: all of its memory. */
  readonly size: number | undefined;
  /** `Live`, `Loading`, `Unloading`, as /proc/modules has it, or `Unformed`, which that leaves out. */
  readonly state: string | undefined;
  /** References from users other than itself. */
  readonly references: number | undefined;
  /** Names of modules that use it. */
  readonly usedBy: readonly (string | undefined)[];
  /** With their values now. */
  readonly parameters: readonly ModuleParameter[];
  /** Bits of what it taints the kernel with (TAINT_…). */
  readonly taints: bigint | undefined;
  /** MODULE_VERSION and the checksum of its source, where it has them. */
  readonly version: string | undefined;
  readonly sourceVersion: string | undefined;
  /** Address of its `struct module`. */
  readonly module: bigint;
}

/** Modules, the last one loaded first, as /proc/modules has them. */
export function listModules(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<LoadedModule> {
  return IoSequence.of(kernel.memory.scheduler, modulesRoutine, kernel, options);
}

function* modulesRoutine(
  sink: Sink<LoadedModule>,
  kernel: LinuxKernel,
  options: DamageOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const addresses = yield* moduleAddresses(data, log.report);
  const rows = yield* MODULE.on(data.types).read(data.memory, addresses);
  const names = new Map(rows.map(({ address, partial }) => [address, partial.name]));
  const version = yield* readStrings(
    data.memory,
    rows.map(({ partial }) => partial.version),
    "the version of a module",
    log.report,
    MAX_TEXT,
  );
  const sources = rows.map(({ partial }) => partial.sourceVersion);
  const sourceVersion = yield* readStrings(
    data.memory,
    sources,
    "the source version of a module",
    log.report,
    MAX_TEXT,
  );
  for (const [i, { address, partial, fault }] of rows.entries()) {
    if (fault !== 0) log.report(damage("a struct module", address, "unreadable", fault));
    const { name, state, references } = partial;
    if (state !== undefined && STATES[state] === undefined) {
      log.report(damage(`the state of module ${name ?? "?"}`, address, "invalid", 0, `${state}`));
    }
    const { base, size } = yield* memoryOf(data, partial, log.report);
    yield sink.emit({
      name,
      address: base,
      size,
      state: state === undefined ? undefined : (STATES[state] ?? String(state)),
      references: references === undefined ? undefined : references - OWN_REFERENCE,
      usedBy: yield* usersOf(data, partial, names, log.report),
      parameters: yield* readParameters(data, name ?? "?", partial, log.report),
      taints: partial.taints,
      version: version[i],
      sourceVersion: sourceVersion[i],
      module: address,
    });
  }
  log.end();
}

/** Where its code begins, and how much memory it has in all. */
function* memoryOf(
  { types, memory }: KernelData,
  module: Partial<Values<typeof MODULE.fields>>,
  report: OnDamage,
): Routine<{ base: bigint | undefined; size: number | undefined }> {
  const { coreBase, coreSize, initSize } = module;
  if (module.memory === undefined) {
    return { base: coreBase, size: coreSize === undefined ? undefined : coreSize + (initSize ?? 0) };
  }
  const array = findPlace(needStruct(types, "module"), "mem");
  const type = array === undefined ? undefined : stripped(array.type);
  if (type?.kind !== "array") return { base: undefined, size: undefined };
  const each = sizeOf(type.element);
  const first = module.memory;
  const rows = yield* MODULE_MEMORY.on(types).read(
    memory,
    Array.from({ length: Math.min(type.count, MAX_KINDS) }, (_, i) => first + BigInt(i * each)),
  );
  const failed = rows.find(({ fault }) => fault !== 0);
  if (failed !== undefined)
    report(damage("the memory of a module", failed.address, "unreadable", failed.fault));
  const known = rows.flatMap(({ value }) => (value === undefined ? [] : [value]));
  const size = known.length < rows.length ? undefined : known.reduce((sum, { size: part }) => sum + part, 0);
  // MOD_TEXT is the first kind.
  return { base: rows[0]?.value?.base, size };
}

/** MOD_MEM_NUM_TYPES is 7. */
const MAX_KINDS = 32;
const MODULE_MEMORY = record("module_memory", { base: word("base"), size: int("size") });

/** Who uses it: the list that /proc/modules and `lsmod` show. */
function* usersOf(
  data: KernelData,
  module: Partial<Values<typeof MODULE.fields>>,
  names: ReadonlyMap<bigint, string | undefined>,
  report: OnDamage,
): Routine<(string | undefined)[]> {
  if (module.users === undefined) return [];
  const what = `the list of users of module ${module.name ?? "?"}`;
  const nodes = yield* walkList(data.memory, module.users, what, report);
  const offset = BigInt(offsetOf(data.types, "module_use", "source_list"));
  const rows = yield* USE.on(data.types).read(
    data.memory,
    nodes.map((node) => node - offset),
  );
  for (const { address, fault } of rows) {
    if (fault !== 0) report(damage("a module_use", address, "unreadable", fault));
  }
  return rows.map(({ value }) => (value === undefined ? undefined : names.get(value.user)));
}
