/**
 * Parameters of modules with their values, as /sys/module/NAME/parameters shows them.
 *
 * Facts: include/linux/moduleparam.h (`struct kernel_param`, `kparam_array`, `kparam_string`), kernel/params.c (the
 * `param_get_…` functions: formats of values; `param_array_get`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, nameOfFunction } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { int, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const PARAMETER = record("kernel_param", {
  name: word("name"),
  ops: word("ops"),
  // 16 bits since 2.6.34; there is a `level` behind it since 3.15.
  mode: int("perm"),
  argument: word("arg"),
});
const ARRAY = record("kparam_array", {
  max: int("max"),
  elementSize: int("elemsize"),
  count: word("num"),
  ops: word("ops"),
  elements: word("elem"),
});
const TEXT = record("kparam_string", { limit: int("maxlen"), text: word("string") });

/** More parameters or elements of one than any module has. */
const MAX_PARAMETERS = 4096;
const MAX_ELEMENTS = 4096;

/** A parameter of a module. */
export interface ModuleParameter {
  readonly name: string;
  /** `int`, `charp`, `bool`, `array of int` …; `undefined` for one with functions of its own. */
  readonly type: string | undefined;
  /** As sysfs shows it, without the line's end; `undefined` where its form is not known, or it can't be read. */
  readonly value: string | undefined;
  /** Rights of its file in sysfs, such as 0o644; 0 if it has none. */
  readonly mode: number;
}

/** Size, sign and form of what the kernel's own `param_ops_…` read; sizes in bytes, 0 for a `long`'s. */
const NUMBERS: Readonly<Record<string, { size: number; signed: boolean }>> = {
  byte: { size: 1, signed: false },
  short: { size: 2, signed: true },
  ushort: { size: 2, signed: false },
  int: { size: 4, signed: true },
  uint: { size: 4, signed: false },
  long: { size: 0, signed: true },
  ulong: { size: 0, signed: false },
  ullong: { size: 8, signed: false },
  hexint: { size: 4, signed: false },
  bint: { size: 4, signed: true },
};
const PREFIX = "param_ops_";

/**
 * Reads the parameters in an array of `struct kernel_param`; at most 4096, and of those that are arrays at most 4096 elements.
 *
 * @param what For reports: "module zram".
 * @internal
 */
export function* readParameters(
  data: KernelData,
  at: bigint | undefined,
  count: number | undefined,
  what: string,
  report: OnDamage,
): Routine<ModuleParameter[]> {
  const layout = PARAMETER.onIf(data.types);
  if (at === undefined || at === 0n || count === undefined || count === 0 || layout === undefined) return [];
  if (count > MAX_PARAMETERS) {
    report(damage(`the parameters of ${what}`, at, "too long", 0, `${count}`));
  }
  const addresses = Array.from(
    { length: Math.min(count, MAX_PARAMETERS) },
    (_, i) => at + BigInt(i * layout.size),
  );
  const rows = yield* layout.read(data.memory, addresses);
  const names = yield* readStrings(
    data.memory,
    rows.map(({ value }) => value?.name),
    `the name of a parameter of ${what}`,
    report,
    256,
  );
  const found: ModuleParameter[] = [];
  for (const [i, { address, value: row, fault }] of rows.entries()) {
    if (row === undefined) {
      report(damage(`a parameter of ${what}`, address, "unreadable", fault));
      // Where one is not there, those behind it are on the same page, or on one that is not there either.
      if (found.length === 0 && i > 0) break;
      continue;
    }
    const name = names[i];
    if (name === undefined) continue;
    const read = new Reader(data, `parameter ${name} of ${what}`, report);
    const { type, value } = yield* read.value(row.ops, row.argument, 0);
    found.push({ name, type, value, mode: row.mode });
  }
  return found;
}

interface Read {
  readonly type: string | undefined;
  readonly value: string | undefined;
}

class Reader {
  readonly #data: KernelData;
  readonly #what: string;
  readonly #report: OnDamage;

  constructor(data: KernelData, what: string, report: OnDamage) {
    this.#data = data;
    this.#what = what;
    this.#report = report;
  }

  /** @param depth Elements of arrays are none themselves. */
  *value(ops: bigint, argument: bigint, depth: number): Routine<Read> {
    const symbol = yield* nameOfFunction(this.#data, ops);
    if (symbol === "param_array_ops" && depth === 0) return yield* this.#array(argument);
    if (symbol === undefined || !symbol.startsWith(PREFIX)) return { type: undefined, value: undefined };
    const type = symbol.slice(PREFIX.length);
    return { type, value: yield* this.#formatted(type, argument) };
  }

  *#formatted(type: string, argument: bigint): Routine<string | undefined> {
    const { memory } = this.#data;
    const number = NUMBERS[type];
    if (number !== undefined) {
      const value = yield* this.#number(argument, number.size || memory.pointerSize, number.signed);
      // "%#08x": the prefix counts among the eight, and (other than in C's library) 0 has it too.
      if (type !== "hexint" || value === undefined) return value?.toString();
      return `0x${value.toString(16).padStart(6, "0")}`;
    }
    switch (type) {
      case "bool":
      case "bool_enable_only":
      case "invbool": {
        const value = yield* this.#number(argument, 1, false);
        return value === undefined ? undefined : (value !== 0n) === (type !== "invbool") ? "Y" : "N";
      }
      case "charp": {
        const pointers = yield* pointersAt(memory, argument, 1);
        if (typeof pointers === "number") return this.#unreadable(argument, pointers);
        return pointers[0] === 0n ? "(null)" : yield* this.#text(pointers[0] as bigint, 4096);
      }
      case "string": {
        const [row] = yield* TEXT.on(this.#data.types).read(memory, [argument]);
        if (row?.value === undefined) return this.#unreadable(argument, row?.fault ?? 0);
        return yield* this.#text(row.value.text, Math.min(4096, Math.max(1, row.value.limit)));
      }
      default:
        return undefined;
    }
  }

  *#array(argument: bigint): Routine<Read> {
    const { memory, types } = this.#data;
    const [row] = yield* ARRAY.on(types).read(memory, [argument]);
    if (row?.value === undefined) {
      this.#unreadable(argument, row?.fault ?? 0);
      return { type: undefined, value: undefined };
    }
    const { max, elementSize, count: countAt, ops, elements } = row.value;
    const stored = countAt === 0n ? BigInt(max) : yield* this.#number(countAt, 4, false);
    const count = Number(stored ?? 0n);
    if (count > MAX_ELEMENTS || count > max) {
      this.#report(damage(this.#what, argument, "invalid", 0, `${count} elements of at most ${max}`));
    }
    const values: string[] = [];
    let type: string | undefined;
    for (let i = 0; i < Math.min(count, max, MAX_ELEMENTS); i++) {
      const element = yield* this.value(ops, elements + BigInt(i * elementSize), 1);
      type = element.type;
      if (element.value === undefined) return { type: arrayOf(type), value: undefined };
      values.push(element.value);
    }
    type ??= (yield* nameOfFunction(this.#data, ops))?.replace(PREFIX, "");
    return { type: arrayOf(type), value: stored === undefined ? undefined : values.join(",") };
  }

  *#number(at: bigint, size: number, signed: boolean): Routine<bigint | undefined> {
    const { memory } = this.#data;
    const { bytes, holes } = yield* memory.readPartial(at, size);
    if (holes[0] !== undefined) return this.#unreadable(at, holes[0].fault);
    let value = 0n;
    for (let i = 0; i < size; i++) {
      value = (value << 8n) | BigInt(bytes[memory.abi.littleEndian ? size - 1 - i : i] as number);
    }
    return signed ? BigInt.asIntN(8 * size, value) : value;
  }

  *#text(at: bigint, limit: number): Routine<string | undefined> {
    return (yield* readStrings(this.#data.memory, [at], this.#what, this.#report, limit))[0];
  }

  #unreadable(at: bigint, fault: number): undefined {
    this.#report(damage(this.#what, at, "unreadable", fault));
    return undefined;
  }
}

function arrayOf(type: string | undefined): string {
  return type === undefined ? "array" : `array of ${type}`;
}
