/**
 * BPF's programs, maps and links.
 *
 * Facts: include/linux/bpf.h (`struct bpf_prog_aux`, `bpf_map`, `bpf_link`), include/linux/filter.h (`struct bpf_prog`; in
 * bpf.h since 5.17), kernel/bpf/syscall.c (`prog_idr`, `map_idr`, `link_idr`; `bpf_prog_get_info_by_fd`),
 * include/uapi/linux/bpf.h (the enumerations, whose constants the types name).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, listsFunctionsOnly, symbolAddress } from "../kernel-data.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { pointersAt, pointersIn } from "../objects/pointers.js";
import { hasStruct, int, maybe, offsetOf, raw, record, text, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { walkXarray } from "../objects/xarray.js";
import { constantName } from "../types/constant-name.js";
import { tagText, translatedPrograms } from "./bpf-symbols.js";

const PROGRAM = record("bpf_prog", {
  type: int("type"),
  attachType: maybe(int("expected_attach_type")),
  jited: maybe(int("jited")),
  length: int("len"),
  jitedLength: maybe(int("jited_len")),
  tag: maybe(raw("tag")),
  image: word("bpf_func"),
  aux: word("aux"),
});
const AUX = record("bpf_prog_aux", {
  prog: maybe(word("prog")),
  id: maybe(int("id")),
  name: maybe(text("name")),
  // Nanoseconds since boot, since 4.15 (cb4d2b3f03d8).
  loadTime: maybe(word("load_time")),
  user: maybe(word("user")),
  usedMaps: maybe(word("used_maps")),
  usedMapCount: maybe(int("used_map_cnt")),
  // Since 5.5 (f1b9509c2fb0).
  attachName: maybe(word("attach_func_name")),
});
const USER = record("user_struct", { uid: int("uid.val", "uid") });
const MAP = record("bpf_map", {
  id: maybe(int("id")),
  type: int("map_type"),
  name: maybe(text("name")),
  keySize: int("key_size"),
  valueSize: int("value_size"),
  maxEntries: int("max_entries"),
  flags: maybe(int("map_flags")),
});
const LINK = record("bpf_link", { id: int("id"), type: int("type"), prog: word("prog") });

/** A program uses 64 maps at most (`MAX_USED_MAPS`, include/linux/bpf_verifier.h). */
const MAX_MAPS = 64;

/** Kinds of what BPF has. */
export type BpfKind = "program" | "map" | "link";

interface BpfCommon {
  readonly kind: BpfKind;
  /** Its number among those of its kind. */
  readonly id: number;
  /** As in the kernel's enumeration, in lower case without what begins all of them: "socket_filter", "array". */
  readonly type: string | undefined;
  /** Address of its structure. */
  readonly address: bigint;
}

/** A program. What could not be read of it is `undefined`; `OnDamage` was told why. */
export interface BpfProgram extends BpfCommon {
  readonly kind: "program";
  /** At most 15 bytes; "" if it was given none. */
  readonly name: string | undefined;
  /** 8 bytes of a hash of its instructions, as hex. */
  readonly tag: string | undefined;
  /** Seconds since boot. */
  readonly loaded: number | undefined;
  /** The same as the kernel has it: nanoseconds. */
  readonly loadedNanoseconds: bigint | undefined;
  /** Who loaded it. */
  readonly uid: number | undefined;
  /** Number of its instructions. */
  readonly instructions: number | undefined;
  /** Bytes of its translation; 0 if it is interpreted. */
  readonly jited: number | undefined;
  /** Where what runs begins: its translation, or the interpreter. */
  readonly image: bigint | undefined;
  /** Numbers of the maps that it uses. */
  readonly maps: readonly number[];
  /** What it is to be attached to: a name of the enumeration `bpf_attach_type`, as `type` is. */
  readonly attachType: string | undefined;
  /** The function that it is attached to, for a program for one. */
  readonly attachedTo: string | undefined;
}

/** A map. */
export interface BpfMap extends BpfCommon {
  readonly kind: "map";
  readonly name: string | undefined;
  /** Bytes of a key and of a value. */
  readonly keySize: number | undefined;
  readonly valueSize: number | undefined;
  readonly maxEntries: number | undefined;
  /** `BPF_F_…` of include/uapi/linux/bpf.h. */
  readonly flags: number | undefined;
}

/** What keeps a program attached; since 5.8 (a3b80e107894). */
export interface BpfLink extends BpfCommon {
  readonly kind: "link";
  /** Number of its program. */
  readonly program: number | undefined;
}

/** A program, map or link. */
export type BpfItem = BpfProgram | BpfMap | BpfLink;

/** Programs, then maps, then links, each ascending by number. Empty for a kernel without BPF's system call. */
export function listBpf(kernel: LinuxKernel, options: DamageOptions = {}): IoSequence<BpfItem> {
  return IoSequence.of(kernel.memory.scheduler, bpfRoutine, kernel, options);
}

function* bpfRoutine(sink: Sink<BpfItem>, kernel: LinuxKernel, options: DamageOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  let programs = yield* numbered(data, "prog_idr", "BPF's programs", log.report);
  let maps = yield* numbered(data, "map_idr", "BPF's maps", log.report);
  if (yield* listsFunctionsOnly(data)) {
    programs = yield* programsBySymbol(data, log.report);
    maps = yield* mapsOfPrograms(data, programs);
    const why = "no symbol map_idr: only translated programs and the maps that they use are found";
    log.report(damage("the list of BPF's maps", 0n, "unreadable", 0, why));
  }
  const links = yield* numbered(data, "link_idr", "BPF's links", log.report);
  const mapIds = new Map(maps.map(({ index, entry }) => [entry, index]));
  const programIds = new Map(programs.map(({ index, entry }) => [entry, index]));
  for (const item of yield* programsOf(data, programs, mapIds, log.report)) yield sink.emit(item);
  for (const item of yield* mapsOf(data, maps, log.report)) yield sink.emit(item);
  for (const item of yield* linksOf(data, links, programIds, log.report)) yield sink.emit(item);
  log.end();
}

interface Numbered {
  readonly index: number;
  readonly entry: bigint;
}

/** What an IDR holds. */
function* numbered(data: KernelData, symbol: string, what: string, report: OnDamage): Routine<Numbered[]> {
  const { types, memory } = data;
  const at = yield* symbolAddress(data, symbol);
  if (at === undefined || !hasStruct(types, "idr")) return [];
  // Since 4.11 (0a835c4f090a) a radix tree.
  const root = at + BigInt(offsetOf(types, "idr", "idr_rt"));
  return yield* walkXarray(memory, types, root, what, report);
}

/** Programs that their symbols lead to. */
function* programsBySymbol(data: KernelData, report: OnDamage): Routine<Numbered[]> {
  const rows = yield* AUX.on(data.types).read(data.memory, yield* translatedPrograms(data, report));
  const found: Numbered[] = [];
  for (const { address, partial, fault } of rows) {
    if (partial.id === undefined || partial.prog === undefined) {
      report(damage("a bpf_prog_aux", address, "unreadable", fault));
      // A function of a program has a symbol of its own, and no number.
    } else if (partial.id !== 0) found.push({ index: partial.id, entry: partial.prog });
  }
  return found.sort((a, b) => a.index - b.index);
}

/** Maps that programs use. */
function* mapsOfPrograms({ types, memory }: KernelData, programs: readonly Numbered[]): Routine<Numbered[]> {
  const rows = yield* PROGRAM.on(types).read(
    memory,
    programs.map(({ entry }) => entry),
  );
  const auxes = yield* AUX.on(types).read(
    memory,
    rows.map(({ partial }) => partial.aux ?? 0n),
  );
  const pointers = new Set<bigint>();
  for (const { partial } of auxes) {
    const { usedMaps: at, usedMapCount: count } = partial;
    if (at === undefined || count === undefined || count === 0) continue;
    const found = yield* pointersAt(memory, at, Math.min(count, MAX_MAPS));
    // (What can't be read is told of when the program is.)
    if (typeof found !== "number") for (const pointer of found) pointers.add(pointer);
  }
  const maps = yield* MAP.on(types).read(memory, [...pointers]);
  const found = maps.map(({ address, partial }) => ({ index: partial.id ?? 0, entry: address }));
  return found.sort((a, b) => a.index - b.index);
}

function* programsOf(
  data: KernelData,
  entries: readonly Numbered[],
  maps: ReadonlyMap<bigint, number>,
  report: OnDamage,
): Routine<BpfProgram[]> {
  const { types, memory } = data;
  const found: BpfProgram[] = [];
  const rows = yield* PROGRAM.on(types).read(
    memory,
    entries.map(({ entry }) => entry),
  );
  const auxes = yield* AUX.on(types).read(
    memory,
    rows.map(({ partial }) => partial.aux ?? 0n),
  );
  const users = yield* USER.on(types).read(
    memory,
    auxes.map(({ partial }) => partial.user ?? 0n),
  );
  const attached = yield* readStrings(
    memory,
    auxes.map(({ partial }) => partial.attachName),
    "the name of a function with a BPF program",
    report,
    512,
  );
  for (const [i, { index, entry }] of entries.entries()) {
    const what = `BPF program ${index}`;
    const { partial, fault } = rows[i] as (typeof rows)[0];
    const aux = auxes[i] as (typeof auxes)[0];
    if (fault !== 0) report(damage(what, entry, "unreadable", fault));
    else if (aux.fault !== 0) report(damage(what, aux.address, "unreadable", aux.fault));
    else if (aux.partial.id !== undefined && aux.partial.id !== index) {
      report(damage(what, aux.address, "mismatch", 0, `it has the number ${aux.partial.id}`));
    }
    const user = users[i] as (typeof users)[0];
    if (user.fault !== 0 && (aux.partial.user ?? 0n) !== 0n) {
      report(damage(`the user of ${what}`, user.address, "unreadable", user.fault));
    }
    const isJited = partial.jited !== 0;
    found.push({
      kind: "program",
      id: index,
      type: constantName(data.types, "bpf_prog_type", "BPF_PROG_TYPE_", partial.type),
      name: aux.partial.name,
      tag: partial.tag === undefined ? undefined : tagText(partial.tag),
      loaded: aux.partial.loadTime === undefined ? undefined : Number(aux.partial.loadTime) / 1e9,
      loadedNanoseconds: aux.partial.loadTime,
      uid: user.value?.uid,
      instructions: partial.length,
      jited: isJited ? partial.jitedLength : 0,
      image: partial.image,
      maps: yield* usedMaps(data, aux.partial.usedMaps, aux.partial.usedMapCount, maps, what, report),
      attachType: attachTypeOf(data, partial.type, partial.attachType),
      attachedTo: attached[i],
      address: entry,
    });
  }
  return found;
}

/** The numbers of the maps in an array of pointers to them. */
function* usedMaps(
  { memory }: KernelData,
  at: bigint | undefined,
  count: number | undefined,
  maps: ReadonlyMap<bigint, number>,
  what: string,
  report: OnDamage,
): Routine<number[]> {
  if (at === undefined || at === 0n || count === undefined || count === 0) return [];
  if (count > MAX_MAPS) report(damage(`the maps of ${what}`, at, "too long", 0, `${count}`));
  const { bytes, holes } = yield* memory.readPartial(at, Math.min(count, MAX_MAPS) * memory.pointerSize);
  const hole = holes[0];
  if (hole !== undefined) report(damage(`the maps of ${what}`, at, "unreadable", hole.fault));
  const found: number[] = [];
  for (const pointer of pointersIn(memory, bytes.subarray(0, hole?.start ?? bytes.length))) {
    const id = maps.get(pointer);
    if (id === undefined) report(damage(`the maps of ${what}`, pointer, "mismatch", 0, "it is no map"));
    else found.push(id);
  }
  return found;
}

function* mapsOf(data: KernelData, entries: readonly Numbered[], report: OnDamage): Routine<BpfMap[]> {
  const rows = yield* MAP.on(data.types).read(
    data.memory,
    entries.map(({ entry }) => entry),
  );
  return rows.map(({ partial, fault }, i) => {
    const { index, entry } = entries[i] as Numbered;
    const what = `BPF map ${index}`;
    if (fault !== 0) report(damage(what, entry, "unreadable", fault));
    else if (partial.id !== undefined && partial.id !== index) {
      report(damage(what, entry, "mismatch", 0, `it has the number ${partial.id}`));
    }
    return {
      kind: "map",
      id: index,
      type: constantName(data.types, "bpf_map_type", "BPF_MAP_TYPE_", partial.type),
      name: partial.name,
      keySize: partial.keySize,
      valueSize: partial.valueSize,
      maxEntries: partial.maxEntries,
      flags: partial.flags,
      address: entry,
    };
  });
}

function* linksOf(
  data: KernelData,
  entries: readonly Numbered[],
  programs: ReadonlyMap<bigint, number>,
  report: OnDamage,
): Routine<BpfLink[]> {
  const layout = LINK.onIf(data.types);
  if (layout === undefined || entries.length === 0) return [];
  const rows = yield* layout.read(
    data.memory,
    entries.map(({ entry }) => entry),
  );
  return rows.map(({ partial, fault }, i) => {
    const { index, entry } = entries[i] as Numbered;
    if (fault !== 0) report(damage(`BPF link ${index}`, entry, "unreadable", fault));
    return {
      kind: "link",
      id: index,
      type: constantName(data.types, "bpf_link_type", "BPF_LINK_TYPE_", partial.type),
      program: partial.prog === undefined ? undefined : programs.get(partial.prog),
      address: entry,
    };
  });
}

/** 0 is what most programs have for none, and what those of control groups have for one of theirs. */
function attachTypeOf(
  data: KernelData,
  type: number | undefined,
  value: number | undefined,
): string | undefined {
  const name = constantName(data.types, "bpf_prog_type", "BPF_PROG_TYPE_", type);
  if (value === 0 && name?.startsWith("cgroup_") !== true) return undefined;
  return constantName(data.types, "bpf_attach_type", "BPF_", value);
}
