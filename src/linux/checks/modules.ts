/**
 * Modules by all that knows of them: a module that hides takes itself off some lists, and stays on others, or in memory.
 *
 * Facts: kernel/module/main.c (`modules`, `mod_sysfs_setup`), kernel/params.c (`module_kset`), include/linux/module.h
 * (`struct module_kobject`: `mod` leads back to the module, and is null for what is built in), kernel/module/tree_lookup.c (`mod_tree`),
 * include/linux/rbtree_latch.h (two trees; each node has a place for both).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { moduleAddresses } from "../modules/module-parts.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { pointersIn } from "../objects/pointers.js";
import { walkRbtree } from "../objects/rbtree.js";
import { readWhole } from "../objects/read-each.js";
import { hasStruct, int, offsetOf, record, text, word } from "../objects/record.js";
import type { Check, Examination } from "./check.js";

const MODULE = record("module", { name: text("name"), state: int("state"), self: word("mkobj.mod") });
const KOBJECT = record("module_kobject", { module: word("mod") });
const TREE_NODE = record("mod_tree_node", { module: word("mod") });
/** MODULE_STATE_LIVE. */
const LIVE = 0;
/** MODULE_STATE_UNFORMED is the last. */
const STATES = 4;
/** Bytes that are searched on at most: module space has 1 GiB on x86-64, 2 GiB on others, and little of it is used. */
const MAX_SEARCHED = 1 << 28;
const PIECE = 1 << 20;

/** Bytes around modules that are known. */
const AROUND = 1n << 27n;

/** A place where modules are told, and those that it tells. */
interface Place {
  readonly name: string;
  readonly modules: ReadonlySet<bigint>;
  /** Whether all of it could be read: what a torn list has not may be behind the tear. */
  readonly isWhole: boolean;
}

/** What a place has, and whether that is all of it. */
type Told = Omit<Place, "name">;

/** @internal */
export const MODULES: Check = {
  name: "modules",
  description: "modules that some lists have and others have not, or that only memory has",
  run: function* (examination) {
    const { data, report } = examination;
    const whole = function* <T extends Iterable<bigint>>(
      read: (tell: OnDamage) => Routine<T | undefined>,
    ): Routine<Told | undefined> {
      let isWhole = true;
      const found = yield* read((each) => {
        isWhole = false;
        report(each);
      });
      return found === undefined ? undefined : { modules: new Set(found), isWhole };
    };
    if (!hasStruct(data.types, "module")) {
      examination.examined("this kernel has no modules");
      return;
    }
    const list = yield* whole((tell) => moduleAddresses(data, tell));
    const listed = list?.modules ?? new Set<bigint>();
    const places: Place[] = [
      { name: "the list of modules", modules: listed, isWhole: list?.isWhole === true },
    ];
    const objects = yield* whole((tell) => ofKobjects(data, tell));
    if (objects === undefined)
      examination.untold("kobjects: there is no symbol module_kset, or it can't be read");
    else places.push({ name: "the kobjects (/sys/module)", ...objects });
    const tree = yield* whole((tell) => ofTree(data, tell));
    if (tree === undefined) examination.untold("the tree of modules' memory: there is no symbol mod_tree");
    else places.push({ name: "the tree of modules' memory", ...tree });
    for (const { name, isWhole } of places) {
      if (!isWhole) examination.untold(`${name} can't be read to its end: what it has not is no finding`);
    }
    const searched = yield* ofMemory(examination, [...listed]);
    const memory = searched ?? new Set<bigint>();
    if (searched === undefined) {
      examination.untold("memory of modules: it is not known where that is on this architecture");
    }
    const all = new Set([...places.flatMap(({ modules }) => [...modules]), ...memory]);
    const rows = yield* readWhole(data, MODULE, [...all], "a struct module", report);
    for (const [i, address] of [...all].entries()) {
      const module = rows[i];
      if (module === undefined) continue;
      const missing = places
        .filter(({ modules, isWhole }) => isWhole && !modules.has(address))
        .map(({ name }) => name);
      // (While it is loaded or goes, a module is on some only.)
      const isLive = module.state === LIVE;
      const evidence: string[] = [];
      const found = places.filter(({ modules }) => modules.has(address)).map(({ name }) => name);
      if (memory.has(address)) found.push("memory of modules");
      if (missing.length > 0 && isLive) {
        evidence.push(`not in ${missing.join(", nor in ")}, but in ${found.join(" and ")}`);
      }
      if (module.self !== address && listed.has(address) && isLive && module.self !== 0n) {
        evidence.push("its kobject leads to another module");
      }
      yield* examination.see({ what: `module ${module.name}`, address, evidence });
    }
    const counts = places.map(({ name, modules }) => `${modules.size} in ${name}`);
    if (searched !== undefined) counts.push(`${memory.size} in memory of modules`);
    // (A list alone has nothing that it could differ from.)
    if (counts.length > 1) examination.examined(counts.join(", "));
    else examination.untold(`${counts[0]}, and nothing to hold them against`);
  },
};

/** Those that /sys/module has a directory for. */
function* ofKobjects(data: KernelData, report: OnDamage): Routine<Set<bigint> | undefined> {
  const { memory, types } = data;
  const symbol = yield* symbolAddress(data, "module_kset");
  if (symbol === undefined) return undefined;
  const { bytes, holes } = yield* memory.readPartial(symbol, memory.pointerSize);
  const [kset = 0n] = pointersIn(memory, bytes);
  if (holes[0] !== undefined || kset === 0n) {
    report(damage("module_kset", symbol, "unreadable", holes[0]?.fault ?? 0, "it is null"));
    return undefined;
  }
  const head = kset + BigInt(offsetOf(types, "kset", "list"));
  const entry = BigInt(offsetOf(types, "module_kobject", "kobj") + offsetOf(types, "kobject", "entry"));
  const nodes = yield* walkList(memory, head, "the kobjects of modules", report);
  const rows = yield* readWhole(
    data,
    KOBJECT,
    nodes.map((node) => node - entry),
    "a module_kobject",
    report,
  );
  return new Set(rows.flatMap((row) => (row === undefined || row.module === 0n ? [] : [row.module])));
}

/** Those whose memory is in the tree that addresses are looked up in. */
function* ofTree(data: KernelData, report: OnDamage): Routine<Set<bigint> | undefined> {
  const { memory, types } = data;
  const symbol = yield* symbolAddress(data, "mod_tree");
  if (symbol === undefined || !hasStruct(types, "mod_tree_root") || !hasStruct(types, "mod_tree_node")) {
    return undefined;
  }
  const node = BigInt(offsetOf(types, "mod_tree_node", "node"));
  const found = new Set<bigint>();
  for (const i of [0, 1]) {
    const root = symbol + BigInt(offsetOf(types, "mod_tree_root", `root.tree[${i}]`));
    const offset = node + BigInt(offsetOf(types, "latch_tree_node", `node[${i}]`));
    const nodes = yield* walkRbtree(memory, root, "the tree of modules' memory", report);
    const places = nodes.map((each) => each - offset);
    for (const row of yield* readWhole(data, TREE_NODE, places, "a mod_tree_node", report)) {
      if (row !== undefined && row.module !== 0n) found.add(row.module);
    }
  }
  return found;
}

/** What looks like a module in the memory that modules are put in: its own kobject leads back to it. */
function* ofMemory(examination: Examination, known: readonly bigint[]): Routine<Set<bigint> | undefined> {
  const { data, report } = examination;
  const { memory, types } = data;
  const found = new Set<bigint>();
  const range = moduleSpace(data, known);
  if (range === undefined) return undefined;
  const self = offsetOf(types, "module", "mkobj.mod");
  const size = BigInt(memory.pointerSize);
  const candidates: bigint[] = [];
  let left = MAX_SEARCHED;
  let missing = 0;
  const areas = yield* memory.areas(range).toArray();
  for (const area of areas) {
    if (area.state !== undefined) continue;
    for (let at = area.start; at < area.end && left > 0; at += BigInt(PIECE)) {
      const length = Number(area.end - at < BigInt(PIECE) ? area.end - at : BigInt(PIECE));
      left -= length;
      const { bytes, holes } = yield* memory.readPartial(at, length);
      for (const { start, end } of holes) {
        bytes.fill(0, start, end);
        missing += end - start;
      }
      const pointers = pointersIn(memory, bytes);
      for (const [i, value] of pointers.entries()) {
        if (value !== 0n && value === at + BigInt(i) * size - BigInt(self)) candidates.push(value);
      }
    }
  }
  if (missing > 0) {
    examination.untold(`memory of modules: ${missing} bytes of it are not in the dump, or could not be read`);
  }
  if (left <= 0) report(damage("memory of modules", range.start, "too long"));
  for (const { address, value } of yield* MODULE.on(types).read(memory, candidates)) {
    if (value === undefined || value.state < 0 || value.state >= STATES) continue;
    if (/^[A-Za-z0-9_-]{1,55}$/.test(value.name)) found.add(address);
  }
  return found;
}

/**
 * Where modules are put: fixed on x86-64 (arch/x86/include/asm/pgtable_64_types.h); elsewhere around those that are known, as KASLR moves
 * it (arch/arm64/kernel/kaslr.c).
 */
function moduleSpace(
  { kernel }: KernelData,
  known: readonly bigint[],
): { start: bigint; end: bigint } | undefined {
  if (kernel.architecture === "x86_64") return { start: 0xffff_ffff_c000_0000n, end: 0xffff_ffff_ff00_0000n };
  let start = known[0];
  let end = known[0];
  if (start === undefined || end === undefined || kernel.architecture === "i386") return undefined;
  for (const each of known) {
    if (each < start) start = each;
    if (each > end) end = each;
  }
  const page = ~0xffffn;
  return { start: (start - AROUND) & page, end: (end + AROUND) & page };
}
