/**
 * Symbols of what BPF has translated: programs, trampolines, dispatchers.
 *
 * Facts: include/linux/bpf.h (`struct bpf_ksym`, since 5.7, bfea9a8574f3), kernel/bpf/core.c (`bpf_kallsyms`,
 * `bpf_get_kallsym`: each is a `t` of the module "bpf"; `bpf_get_prog_name`).
 */
import type { Routine } from "../../io/index.js";
import { findListHead } from "../find/image-search.js";
import { type KernelData, listsFunctionsOnly, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { hasStruct, int, offsetOf, raw, record, text, word } from "../objects/record.js";
import type { KernelSymbol } from "../symbols/symbol.js";

const KSYM = record("bpf_ksym", {
  start: word("start"),
  end: word("end"),
  name: text("name"),
  isProgram: int("prog"),
});

// 4.11 (74451e66d516) to 5.6: programs only, and their names are put together when they are shown.
const AUX = record("bpf_prog_aux", { prog: word("prog"), name: text("name") });
const PROGRAM = record("bpf_prog", { image: word("bpf_func"), length: int("jited_len"), tag: raw("tag") });

/** A symbol and where what it names ends. */
export interface BpfSymbol {
  readonly symbol: KernelSymbol;
  /** Exclusive. */
  readonly end: bigint;
}

/** All of them, in the order of their list; empty for a kernel without BPF's translation. @internal */
export function* readBpfSymbols(data: KernelData, report: OnDamage): Routine<BpfSymbol[]> {
  const addresses = yield* ksymAddresses(data, report);
  return hasStruct(data.types, "bpf_ksym")
    ? yield* fromKsyms(data, addresses, report)
    : yield* fromPrograms(data, addresses, report);
}

/** Addresses of the translated programs' `bpf_prog_aux`, trampolines left out. @internal */
export function* translatedPrograms(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { types, memory } = data;
  const addresses = yield* ksymAddresses(data, report);
  if (!hasStruct(types, "bpf_ksym")) return addresses;
  const rows = yield* KSYM.on(types).read(memory, addresses);
  const offset = BigInt(offsetOf(types, "bpf_prog_aux", "ksym"));
  return rows.filter(({ value }) => value?.isProgram === 1).map(({ address }) => address - offset);
}

/** Addresses of every `bpf_ksym`; before 5.7 of `bpf_prog_aux`. */
function* ksymAddresses(data: KernelData, report: OnDamage): Routine<bigint[]> {
  const { types, memory } = data;
  const isNew = hasStruct(types, "bpf_ksym");
  if (!isNew && !hasStruct(types, "bpf_prog_aux")) return [];
  const head = (yield* symbolAddress(data, "bpf_kallsyms")) ?? (yield* findHead(data));
  if (head === undefined) return [];
  const nodeAt = isNew ? offsetOf(types, "bpf_ksym", "lnode") : offsetOf(types, "bpf_prog_aux", "ksym_lnode");
  const nodes = yield* walkList(memory, head, "the list of BPF's symbols", report);
  return nodes.map((node) => node - BigInt(nodeAt));
}

/** Where kallsyms list functions only, the list is found by its first one. */
function* findHead(data: KernelData): Routine<bigint | undefined> {
  const { types, memory, kernel } = data;
  const layout = KSYM.onIf(types);
  if (layout === undefined || !(yield* listsFunctionsOnly(data))) return undefined;
  const offset = BigInt(offsetOf(types, "bpf_ksym", "lnode"));
  return yield* findListHead(memory, kernel.searchRanges, function* (node) {
    const [row] = yield* layout.read(memory, [node - offset]);
    const value = row?.value;
    return value !== undefined && value.start < value.end && value.name.startsWith("bpf_");
  });
}

function* fromKsyms({ types, memory }: KernelData, at: bigint[], report: OnDamage): Routine<BpfSymbol[]> {
  const found: BpfSymbol[] = [];
  for (const { address, value, fault } of yield* KSYM.on(types).read(memory, at)) {
    if (value === undefined) report(damage("a symbol of BPF", address, "unreadable", fault));
    else found.push(symbolOf(value.name, value.start, value.end));
  }
  return found;
}

function* fromPrograms({ types, memory }: KernelData, at: bigint[], report: OnDamage): Routine<BpfSymbol[]> {
  const found: BpfSymbol[] = [];
  for (const { address, value: aux, fault } of yield* AUX.on(types).read(memory, at)) {
    if (aux === undefined) {
      report(damage("a bpf_prog_aux", address, "unreadable", fault));
      continue;
    }
    const [row] = yield* PROGRAM.on(types).read(memory, [aux.prog]);
    if (row?.value === undefined) {
      report(damage("a bpf_prog", aux.prog, "unreadable", row?.fault ?? 0));
      continue;
    }
    const { image, length, tag } = row.value;
    const name = `bpf_prog_${tagText(tag)}${aux.name === "" ? "" : `_${aux.name}`}`;
    found.push(symbolOf(name, image, image + BigInt(length)));
  }
  return found;
}

function symbolOf(name: string, start: bigint, end: bigint): BpfSymbol {
  return { symbol: { name, address: start, type: "t", module: "bpf" }, end };
}

/** A program's tag as hex. @internal */
export function tagText(tag: Uint8Array): string {
  return Array.from(tag, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
