/**
 * The types of a module: its own BTF, which goes on where the kernel's ends.
 *
 * Facts: kernel/bpf/btf.c (`struct btf_module`, `btf_modules`, `btf_module_notify`; `struct btf`: `data`, `data_size`,
 * `base_btf`), since 5.11 (36e68442d1af) with CONFIG_DEBUG_INFO_BTF_MODULES.
 */
import { Io, MemtoolError, type Routine } from "../../io/index.js";
import { findListHead } from "../find/image-search.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, listsFunctionsOnly, symbolAddress } from "../kernel-data.js";
import { readBtf } from "../kernel-types.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { hasStruct, int, offsetOf, record, word } from "../objects/record.js";
import { Btf } from "../types/btf/btf.js";
import { TypesError } from "../types/type-table.js";
import { readModules } from "./module-parts.js";

const BTF_MODULE = record("btf_module", { module: word("module"), btf: word("btf") });
const BTF = record("btf", { data: word("data"), size: int("data_size") });

/**
 * The types of a module, with those of the kernel below them; read anew by each call.
 *
 * @throws {MemtoolError} `NO_MODULE` if none of that name is loaded.
 * @throws {TypesError} `NO_TYPES` if it, or the kernel, has no BTF; `BTF` if it can't be read.
 */
export function readModuleTypes(kernel: LinuxKernel, name: string): Io<Btf> {
  return Io.of(kernel.memory.scheduler, moduleTypesRoutine, kernel, name);
}

/** @internal */
export function* moduleTypesRoutine(kernel: LinuxKernel, name: string): Routine<Btf> {
  const data = yield* kernelData(kernel);
  const { memory, types } = data;
  const wrong: string[] = [];
  const report: OnDamage = ({ message }) => wrong.push(message);
  const modules = yield* readModules(data, report);
  // (The kernel takes `-` in a module's name for `_`.)
  const wanted = name.replaceAll("-", "_");
  const module = modules.find(({ partial }) => partial.name === wanted);
  if (module === undefined) {
    throw new MemtoolError(
      "NO_MODULE",
      `no module ${name} is loaded (memtool modules lists them)${also(wrong)}`,
    );
  }
  const head = (yield* symbolAddress(data, "btf_modules")) ?? (yield* findHead(data));
  if (head === undefined || !hasStruct(types, "btf_module") || !(types instanceof Btf)) {
    throw new TypesError(
      "NO_TYPES",
      name,
      "this kernel keeps no BTF of modules (CONFIG_DEBUG_INFO_BTF_MODULES)",
    );
  }
  const offset = BigInt(offsetOf(types, "btf_module", "list"));
  const nodes = yield* walkList(memory, head, "the list of modules' BTF", report);
  const rows = yield* BTF_MODULE.on(types).read(
    memory,
    nodes.map((node) => node - offset),
  );
  const row = rows.find(({ partial }) => partial.module === module.address);
  for (const { address, fault } of rows)
    if (fault !== 0) report(damage("a btf_module", address, "unreadable", fault));
  if (row?.value === undefined) {
    throw new TypesError("NO_TYPES", name, `module ${name} has no BTF${also(wrong)}`);
  }
  const [btf] = yield* BTF.on(types).read(memory, [row.value.btf]);
  const what = `the BTF of module ${name}`;
  if (btf?.value === undefined) {
    const why = damage(what, row.value.btf, "unreadable", btf?.fault ?? 0);
    throw new TypesError("BTF", name, why.message);
  }
  const { data: start, size } = btf.value;
  const bytes = yield* readBtf(memory, start, start + BigInt(size), what);
  return new Btf(bytes, { name: what, base: types });
}

/** Where kallsyms list functions only, the list is found by its first one. */
function* findHead(data: KernelData): Routine<bigint | undefined> {
  const { types, memory, kernel } = data;
  const layout = BTF_MODULE.onIf(types);
  if (layout === undefined || !(yield* listsFunctionsOnly(data))) return undefined;
  const addresses = new Set((yield* readModules(data, () => {})).map(({ address }) => address));
  const offset = BigInt(offsetOf(types, "btf_module", "list"));
  return yield* findListHead(memory, kernel.searchRanges, function* (node) {
    const [row] = yield* layout.read(memory, [node - offset]);
    return row?.value !== undefined && addresses.has(row.value.module);
  });
}

function also(wrong: readonly string[]): string {
  return wrong.length === 0 ? "" : `; what may hide it: ${wrong.slice(0, 3).join("; ")}`;
}
