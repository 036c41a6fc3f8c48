/**
 * The kernel's own tables for walking its stacks on x86-64: where, at each instruction, the frame of the caller is (ORC).
 *
 * Facts: Documentation/arch/x86/orc-unwinder.rst, arch/x86/include/asm/orc_types.h (`struct orc_entry`, ORC_REG_*, ORC_TYPE_*),
 * arch/x86/kernel/unwind_orc.c (tables of 32-bit distances to instructions, ascending, beside tables of entries; modules have their
 * own, `mod_arch_specific`).
 */
import type { Fault, Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { partsOf, readModules } from "../modules/module-parts.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, int, maybe, needStruct, record, word } from "../objects/record.js";
import { sizeOf } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";

const MODULE = record("module", {
  count: maybe(int("arch.num_orcs")),
  addresses: maybe(word("arch.orc_unwind_ip")),
  entries: maybe(word("arch.orc_unwind")),
});

/** What an entry says a frame is. */
export type OrcType = "undefined" | "end" | "call" | "registers" | "part of registers";

/** By their numbers; before 6.4 (fb799447ae29) those from "call" on, and a bit for the end. */
const TYPES: readonly OrcType[] = ["undefined", "end", "call", "registers", "part of registers"];

/** Where the frame of a caller is, at some instruction. */
export interface OrcEntry {
  readonly type: OrcType;
  /** ORC_REG_*: what the address of the caller's frame is computed from. */
  readonly spRegister: number;
  readonly spOffset: number;
  /** ORC_REG_*: where the caller's frame pointer was saved. */
  readonly bpRegister: number;
  readonly bpOffset: number;
  /** Whether the caller was interrupted; `undefined` where the type alone tells (before 6.3, ffb1b4a41016). */
  readonly signal: boolean | undefined;
}

interface Table {
  /** The code that it is about: `start` to `end` (exclusive). */
  readonly start: bigint;
  readonly end: bigint;
  readonly addresses: bigint;
  readonly entries: bigint;
  readonly count: number;
}

/** More than any kernel has: a kernel with all of its drivers built in has some 2 million. */
const MAX_ENTRIES = 1 << 24;

/** The tables of a kernel and its modules. */
export class OrcTables {
  readonly #data: KernelData;
  readonly #tables: readonly Table[];
  readonly #size: number;
  readonly #typeBits: number;
  readonly #hasEnd: boolean;
  readonly #hasSignal: boolean;

  private constructor(data: KernelData, tables: readonly Table[]) {
    this.#data = data;
    this.#tables = tables;
    const entry = needStruct(data.types, "orc_entry");
    this.#size = sizeOf(entry);
    this.#typeBits = findPlace(entry, "type")?.bitSize ?? 3;
    this.#hasEnd = findPlace(entry, "end") !== undefined;
    this.#hasSignal = findPlace(entry, "signal") !== undefined;
  }

  /** The tables; `undefined` for a kernel that has none, or of which nothing tells where they are. */
  static *read(data: KernelData, report: OnDamage): Routine<OrcTables | undefined> {
    if (!hasStruct(data.types, "orc_entry")) return undefined;
    const addresses = yield* symbolAddress(data, "__start_orc_unwind_ip");
    const end = yield* symbolAddress(data, "__stop_orc_unwind_ip");
    const entries = yield* symbolAddress(data, "__start_orc_unwind");
    const start = yield* symbolAddress(data, "_stext");
    const stop = (yield* symbolAddress(data, "_einittext")) ?? (yield* symbolAddress(data, "_etext"));
    if (!addresses || !end || !entries || !start || !stop || end <= addresses) return undefined;
    const count = Math.min(MAX_ENTRIES, Number((end - addresses) / 4n));
    const tables: Table[] = [{ start, end: stop, addresses, entries, count }];
    const modules = yield* readModules(data, report);
    const own = yield* readEach(
      data,
      MODULE,
      modules.map(({ address }) => address),
      "the stack tables of a module",
      report,
    );
    for (const [i, module] of modules.entries()) {
      const { count: entriesOfModule, addresses: at, entries: to } = own[i] ?? {};
      if (!entriesOfModule || entriesOfModule > MAX_ENTRIES || !at || !to) continue;
      for (const { address, size } of partsOf(data, module)) {
        const part = { start: address, end: address + BigInt(size) };
        tables.push({ ...part, addresses: at, entries: to, count: entriesOfModule });
      }
    }
    return new OrcTables(data, tables);
  }

  /** What holds at an instruction: a fault if the tables can't be read there, `undefined` for code that they don't describe. */
  *find(address: bigint): Routine<OrcEntry | Fault | undefined> {
    const table = this.#tables.find(({ start, end }) => address >= start && address < end);
    if (table === undefined) return undefined;
    // The last entry that is not above the address.
    let from = 0;
    let to = table.count;
    while (from < to) {
      const middle = (from + to) >> 1;
      const at = table.addresses + BigInt(4 * middle);
      const bytes = yield* this.#read(at, 4);
      if (typeof bytes === "number") return bytes;
      if (at + BigInt(bytes.getInt32(0, true)) <= address) from = middle + 1;
      else to = middle;
    }
    if (from === 0) return undefined;
    const bytes = yield* this.#read(table.entries + BigInt(this.#size * (from - 1)), this.#size);
    return typeof bytes === "number" ? bytes : this.#decode(bytes);
  }

  *#read(address: bigint, length: number): Routine<DataView | Fault> {
    const { bytes, holes } = yield* this.#data.memory.readPartial(BigInt.asUintN(64, address), length);
    const hole = holes[0];
    return hole === undefined ? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) : hole.fault;
  }

  #decode(bytes: DataView): OrcEntry {
    const registers = bytes.getUint8(4);
    const rest = bytes.getUint8(5);
    const number = rest & ((1 << this.#typeBits) - 1);
    const flag = ((rest >> this.#typeBits) & 1) === 1;
    const isEnd = this.#hasEnd && flag;
    return {
      type: isEnd ? "end" : (TYPES[this.#hasEnd ? number + 2 : number] ?? "undefined"),
      spRegister: registers & 15,
      bpRegister: registers >> 4,
      spOffset: bytes.getInt16(0, true),
      bpOffset: bytes.getInt16(2, true),
      signal: this.#hasSignal ? flag : undefined,
    };
  }
}
