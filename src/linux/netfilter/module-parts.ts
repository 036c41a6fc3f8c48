/**
 * Parts of netfilter that may be modules: their types, their variables, and what they keep for each network namespace.
 *
 * Facts: include/net/netns/generic.h (`struct net_generic`, `net_generic()`).
 */
import { MemtoolError, type Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { moduleTypesRoutine } from "../modules/module-types.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersIn } from "../objects/pointers.js";
import { readWhole } from "../objects/read-each.js";
import { hasStruct, int, place, record, word } from "../objects/record.js";
import { ProfileError } from "../profile/profile.js";

const NET = record("net", { generic: word("gen") });
const GENERIC = record("net_generic", { length: int("s.len"), pointers: place("ptr") });
/** More parts than a kernel has. */
const MAX_ID = 4096;

/**
 * The kernel's data with the types of a part: the kernel's own where it has the structure, else the module's. `undefined` where the
 * module is not loaded, and, which is told, where it has no types.
 */
export function* dataOfPart(
  data: KernelData,
  module: string,
  struct: string,
  report: OnDamage,
): Routine<KernelData | undefined> {
  if (hasStruct(data.types, struct)) return data;
  try {
    const types = yield* moduleTypesRoutine(data.kernel, module);
    if (hasStruct(types, struct)) return { ...data, types };
    report(damage(`module ${module}`, 0n, "invalid", 0, `its types have no ${struct}`));
  } catch (error) {
    if (!(error instanceof MemtoolError) || error instanceof ProfileError) throw error;
    if (error.code !== "NO_MODULE") report(damage(`module ${module}`, 0n, "unreadable", 0, error.message));
  }
  return undefined;
}

/** The address of a variable of the kernel or, where it has none of that name, of a module. */
export function* variableOfPart(data: KernelData, module: string, name: string): Routine<bigint | undefined> {
  const own = yield* symbolAddress(data, name);
  if (own !== undefined) return own;
  const symbols = (yield* data.kernel.loadModuleSymbols()).symbol(name);
  return symbols.find((each) => each.module === module)?.address;
}

/** What a part keeps for each of some namespaces; `undefined` where it can't be read. @param id Its variable of the number. */
export function* perNamespace(
  data: KernelData,
  module: string,
  id: string,
  nets: readonly bigint[],
  report: OnDamage,
): Routine<(bigint | undefined)[]> {
  const { memory, types } = data;
  const none = nets.map(() => undefined);
  const at = yield* variableOfPart(data, module, id);
  if (at === undefined) {
    report(damage(`what ${module} keeps`, 0n, "unreadable", 0, `no symbol ${id}`));
    return none;
  }
  const { bytes, holes } = yield* memory.readPartial(at, 4);
  const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, memory.abi.littleEndian);
  if (holes[0] !== undefined || number === 0 || number > MAX_ID) {
    report(damage(id, at, holes[0] === undefined ? "invalid" : "unreadable", holes[0]?.fault, `${number}`));
    return none;
  }
  const rows = yield* readWhole(data, NET, nets, "a network namespace", report);
  const pointers = rows.map((row) => row?.generic);
  const tables = yield* readWhole(data, GENERIC, pointers, "a net_generic", report);
  // Since 4.11 the table's head is counted among the pointers.
  const index = GENERIC.on(types).offsetOf("pointers") === 0 ? number : number - 1;
  const places: bigint[] = [];
  const owners: number[] = [];
  for (const [i, table] of tables.entries()) {
    if (table === undefined) continue;
    if (index >= table.length) {
      report(damage("a net_generic", pointers[i] as bigint, "invalid", 0, `it ends before ${id}`));
      continue;
    }
    owners.push(i);
    places.push(table.pointers + BigInt(index * memory.pointerSize));
  }
  const gathered = yield* memory.gather(places, memory.pointerSize);
  const words = pointersIn(memory, gathered.bytes);
  const found = new Array<bigint | undefined>(nets.length);
  for (const [k, i] of owners.entries()) {
    const fault = gathered.faultOf(k);
    if (fault === 0) found[i] = words[k];
    else report(damage("a net_generic", places[k] as bigint, "unreadable", fault));
  }
  return found;
}
