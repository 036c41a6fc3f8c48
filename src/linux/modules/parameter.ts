/**
 * Parameters of modules, and what their values are now: as /sys/module/NAME/parameters shows them.
 *
 * Facts: include/linux/moduleparam.h (`struct kernel_param`, `kparam_array`, `kparam_string`), kernel/params.c (`param_ops_…` and
 * how each is written out, `param_array_get`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { int, needStruct, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { sizeOf } from "../types/c-type.js";

/** A parameter of a module. */
export interface ModuleParameter {
  readonly name: string | undefined;
  /** `int`, `bool`, `charp`, `array of uint`: by the functions that read and write it; "" for a module's own. */
  readonly type: string;
  /** As sysfs writes it; `undefined` for what a module's own functions write, and for what can't be read. */
  readonly value: string | undefined;
  /** Permissions of its file in sysfs; 0 for one without. */
  readonly mode: number | undefined;
}

const PARAMETER = record("kernel_param", {
  name: word("name"),
  ops: word("ops"),
  mode: int("perm"),
  value: word("arg"),
});
const OPERATIONS = record("kernel_param_ops", { get: word("get") });
const ARRAY = record("kparam_array", {
  max: int("max"),
  elementSize: int("elemsize"),
  count: word("num"),
  ops: word("ops"),
  elements: word("elem"),
});
const STRING = record("kparam_string", { limit: int("maxlen"), text: word("string") });

/** More parameters than any module has. */
const MAX_PARAMETERS = 1024;
const MAX_ELEMENTS = 512;
const MAX_STEP = 64;
/** PAGE_SIZE is what sysfs shows at most. */
const MAX_TEXT = 4096;
const MAX_ARRAY_TEXT = 8192;

/** How values of a kind are written: bytes, and the text of them. */
interface Form {
  readonly bytes: number;
  readonly write: (value: bigint) => string;
}
const unsigned = (bytes: number): Form => ({
  bytes,
  write: (value) => BigInt.asUintN(8 * bytes, value).toString(),
});
const signed = (bytes: number): Form => ({
  bytes,
  write: (value) => BigInt.asIntN(8 * bytes, value).toString(),
});
const yes = (value: bigint) => ((value & 0xffn) !== 0n ? "Y" : "N");

/** By the name of their operations behind `param_ops_`; `long` has the size of a pointer. */
const FORMS: Readonly<Record<string, (pointerSize: number) => Form>> = {
  byte: () => unsigned(1),
  short: () => signed(2),
  ushort: () => unsigned(2),
  int: () => signed(4),
  uint: () => unsigned(4),
  long: (size) => signed(size),
  ulong: (size) => unsigned(size),
  llong: () => signed(8),
  ullong: () => unsigned(8),
  hexint: () => ({
    bytes: 4,
    write: (value) => `0x${BigInt.asUintN(32, value).toString(16).padStart(6, "0")}`,
  }),
  bool: () => ({ bytes: 1, write: yes }),
  bool_enable_only: () => ({ bytes: 1, write: yes }),
  invbool: () => ({ bytes: 1, write: (value) => (yes(value) === "Y" ? "N" : "Y") }),
  // Set like a bool, and written out like an int.
  bint: () => signed(4),
};

/** Reads the parameters of a module; what can't be read is reported. @internal */
export function* readParameters(
  data: KernelData,
  module: string,
  {
    parameters,
    parameterCount,
  }: { readonly parameters?: bigint | undefined; readonly parameterCount?: number | undefined },
  report: OnDamage,
): Routine<ModuleParameter[]> {
  if (parameters === undefined || parameterCount === undefined || parameterCount === 0) return [];
  const what = `the parameters of module ${module}`;
  if (parameterCount > MAX_PARAMETERS) {
    report(damage(what, parameters, "invalid", 0, `${parameterCount} can't be`));
    return [];
  }
  const size = sizeOf(needStruct(data.types, "kernel_param"));
  const rows = yield* PARAMETER.on(data.types).read(
    data.memory,
    Array.from({ length: parameterCount }, (_, i) => parameters + BigInt(i * size)),
  );
  const names = yield* readStrings(
    data.memory,
    rows.map(({ value }) => value?.name),
    "the name of a parameter",
    report,
    MAX_TEXT,
  );
  const found: ModuleParameter[] = [];
  for (const [i, { address, value, fault }] of rows.entries()) {
    if (value === undefined) {
      report(damage(what, address, "unreadable", fault));
      continue;
    }
    const type = yield* typeOf(data, value.ops);
    const text = yield* textOf(data, type, value.value, what, report);
    found.push({ name: names[i], type: text.type, value: text.value, mode: value.mode });
  }
  return found;
}

/**
 * What stands behind `param_ops_`, or before `_ops`, in the name of the operations; of a module's own operations, what stands behind
 * `param_get_` in the name of the function that writes the value out.
 */
function* typeOf(data: KernelData, ops: bigint): Routine<string> {
  const symbol = yield* data.kernel.nameOf(ops);
  const name = symbol?.offset === 0n ? symbol.name : "";
  const known = /^param_ops_(\w+)$/.exec(name)?.[1] ?? /^param_(array)_ops$/.exec(name)?.[1];
  if (known !== undefined) return known;
  const [row] = yield* OPERATIONS.on(data.types).read(data.memory, [ops]);
  const get = row?.value === undefined ? undefined : yield* data.kernel.nameOf(row.value.get);
  return get?.offset === 0n ? (/^param_get_(\w+)$/.exec(get.name)?.[1] ?? "") : "";
}

function* textOf(
  data: KernelData,
  type: string,
  at: bigint,
  what: string,
  report: OnDamage,
): Routine<{ type: string; value: string | undefined }> {
  if (type === "array") return yield* arrayAt(data, at, what, report);
  return { type, value: (yield* valuesAt(data, type, at, 1, 0, what, report))?.[0] };
}

function* arrayAt(
  data: KernelData,
  at: bigint,
  what: string,
  report: OnDamage,
): Routine<{ type: string; value: string | undefined }> {
  const [row] = yield* ARRAY.on(data.types).read(data.memory, [at]);
  const array = row?.value;
  if (array === undefined) {
    report(damage(what, at, "unreadable", row?.fault ?? 0));
    return { type: "array", value: undefined };
  }
  const element = yield* typeOf(data, array.ops);
  const type = `array of ${element === "" ? "?" : element}`;
  let count = array.max;
  if (array.count !== 0n) {
    const { bytes, holes } = yield* data.memory.readPartial(array.count, 4);
    if (holes.length === 0)
      count = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, data.types.littleEndian);
  }
  if (count > Math.min(array.max, MAX_ELEMENTS)) {
    report(damage(what, at, "invalid", 0, `${count} elements of an array of ${array.max}`));
    return { type, value: undefined };
  }
  const values = yield* valuesAt(data, element, array.elements, count, array.elementSize, what, report);
  return { type, value: values?.join(",") };
}

/** Values one after the other. @param step Bytes from one to the next; 0 for a single one. */
function* valuesAt(
  data: KernelData,
  type: string,
  at: bigint,
  count: number,
  step: number,
  what: string,
  report: OnDamage,
): Routine<string[] | undefined> {
  const { memory } = data;
  if (type === "charp") return yield* textsAt(data, at, count, what, report);
  if (type === "string") {
    const [row] = yield* STRING.on(data.types).read(memory, [at]);
    const limit = Math.min(row?.value?.limit ?? 0, MAX_TEXT);
    const [value] = yield* readStrings(memory, [row?.value?.text], what, report, limit);
    return value === undefined ? undefined : [value];
  }
  const form = Object.hasOwn(FORMS, type) ? FORMS[type]?.(memory.pointerSize) : undefined;
  if (form === undefined || (step !== 0 && (step < form.bytes || step > MAX_STEP))) return undefined;
  const { bytes, holes } = yield* memory.readPartial(at, count === 1 ? form.bytes : count * step);
  if (holes[0] !== undefined) {
    report(damage(what, at, "unreadable", holes[0].fault));
    return undefined;
  }
  return Array.from({ length: count }, (_, i) =>
    form.write(numberAt(bytes, i * step, form.bytes, data.types.littleEndian)),
  );
}

/** Strings by the pointers to them; a null pointer is written as the kernel does. */
function* textsAt(
  data: KernelData,
  at: bigint,
  count: number,
  what: string,
  report: OnDamage,
): Routine<string[] | undefined> {
  const pointers = yield* pointersAt(data.memory, at, count);
  if (typeof pointers === "number") {
    report(damage(what, at, "unreadable", pointers));
    return undefined;
  }
  const texts = yield* readStrings(data.memory, pointers, what, report, MAX_TEXT);
  const found = texts.map((each, i) => (pointers[i] === 0n ? "(null)" : (each ?? "?")));
  // (Equal pointers are read once, and would be written as often as they are there.)
  const length = found.reduce((sum, each) => sum + each.length, 0);
  if (length <= MAX_ARRAY_TEXT || count === 1) return found;
  report(damage(what, at, "too long", 0, `${length} characters of text`));
  return undefined;
}

function numberAt(bytes: Uint8Array, at: number, size: number, littleEndian: boolean): bigint {
  let value = 0n;
  for (let i = 0; i < size; i++) {
    value = (value << 8n) | BigInt(bytes[littleEndian ? at + size - 1 - i : at + i] as number);
  }
  return value;
}
