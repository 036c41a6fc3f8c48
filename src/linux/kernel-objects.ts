/** Objects of a kernel by the names of its variables: the routines behind `kernel.object` and its like. */
import { hex, MemtoolError, type Routine } from "../io/index.js";
import type { LinuxKernel } from "./kernel.js";
import { makeObject } from "./objects/object.js";
import { pointersAt } from "./objects/pointers.js";
import { type ObjectContext, ObjectReadError, referenceAt } from "./objects/reference.js";
import type { Unlisted } from "./objects/schema.js";
import { KallsymsError } from "./symbols/kallsyms-tables.js";
import type { CType } from "./types/c-type.js";
import { typeNamed } from "./types/type-name.js";
import { TypesError, type TypeTable } from "./types/type-table.js";
import { KNOWN_VARIABLES } from "./variables.js";

/** There is no such CPU. */
export class CpuError extends MemtoolError {
  readonly cpu: number;
  constructor(cpu: number, message: string) {
    super("NO_CPU", message);
    this.cpu = cpu;
  }
}

/** One for each kernel and table of types: objects of it share it. */
const contexts = new WeakMap<LinuxKernel, ObjectContext>();

function* contextOf(kernel: LinuxKernel): Routine<ObjectContext> {
  const types = yield* kernel.loadTypes();
  const known = contexts.get(kernel);
  if (known?.types === types) return known;
  const context: ObjectContext = { memory: kernel.memory, types, namer: () => namer(kernel) };
  contexts.set(kernel, context);
  return context;
}

/** Names addresses in the image. What has no kallsyms has no names. */
function* namer(kernel: LinuxKernel): Routine<(address: bigint) => string | undefined> {
  try {
    const kallsyms = yield* kernel.loadKallsyms();
    return (address) => {
      const found = kallsyms.nameOf(address);
      if (found === undefined) return undefined;
      return found.offset === 0n ? found.name : `${found.name}+${hex(found.offset)}`;
    };
  } catch (error) {
    if (error instanceof KallsymsError) return () => undefined;
    throw error;
  }
}

/** The type of a variable: as given, as BTF says, or as is known. */
function variableType(types: TypeTable, name: string, type: string | CType | undefined): CType {
  if (type !== undefined) return typeof type === "string" ? typeNamed(types, type) : type;
  const described = types.variable(name);
  if (described !== undefined) return described;
  const known = Object.hasOwn(KNOWN_VARIABLES, name) ? KNOWN_VARIABLES[name] : undefined;
  if (known !== undefined) return typeNamed(types, known);
  throw new TypesError(
    "NO_TYPE",
    name,
    `nothing says of what type ${name} is (a kernel's BTF describes per-CPU variables only): ` +
      `name it, as in object("${name}", "unsigned long")`,
  );
}

/** The routine of `kernel.object`. */
export function* objectRoutine(
  kernel: LinuxKernel,
  name: string,
  type: string | CType | undefined,
): Routine<Unlisted> {
  const context = yield* contextOf(kernel);
  const { address } = yield* kernel.symbol(name);
  return makeObject(referenceAt(context, address, variableType(context.types, name, type), name));
}

/** The routine of `kernel.objectAt`. */
export function* objectAtRoutine(
  kernel: LinuxKernel,
  address: bigint,
  type: string | CType,
): Routine<Unlisted> {
  const context = yield* contextOf(kernel);
  return makeObject(
    referenceAt(context, address, typeof type === "string" ? typeNamed(context.types, type) : type),
  );
}

/**
 * The routine of `kernel.perCpu`. Facts: include/asm-generic/percpu.h (`per_cpu_offset`), mm/percpu.c; without SMP there is no
 * `__per_cpu_offset`, and the variable is where its symbol says. `nr_cpu_ids` is kernel/smp.c's (a constant where one CPU is all).
 */
export function* perCpuRoutine(
  kernel: LinuxKernel,
  name: string,
  cpu: number,
  type: string | CType | undefined,
): Routine<Unlisted> {
  const context = yield* contextOf(kernel);
  const { memory, types } = context;
  const found = variableType(types, name, type);
  const { address } = yield* kernel.symbol(name);
  const offsets = yield* kernel.findAddress("__per_cpu_offset");
  const label = `${name} of CPU ${cpu}`;
  if (offsets === undefined) {
    if (cpu === 0) return makeObject(referenceAt(context, address, found, label));
    throw new CpuError(cpu, `there is no CPU ${cpu}: the kernel is built for one`);
  }
  const limit = yield* kernel.findAddress("nr_cpu_ids");
  if (limit !== undefined) {
    const { bytes, holes } = yield* memory.readPartial(limit, 4);
    const count = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, memory.littleEndian);
    if (holes.length === 0 && cpu >= count) {
      throw new CpuError(cpu, `there is no CPU ${cpu}: the kernel's CPUs are 0 to ${count - 1}`);
    }
  }
  const at = offsets + BigInt(cpu * memory.pointerSize);
  const offset = yield* pointersAt(memory, at, 1);
  if (typeof offset === "number") {
    const path = `__per_cpu_offset[${cpu}]`;
    throw new ObjectReadError([
      { path, address: at, fault: offset, message: `${path} at ${hex(at)} can't be read` },
    ]);
  }
  const where = BigInt.asUintN(8 * memory.pointerSize, address + (offset[0] as bigint));
  return makeObject(referenceAt(context, where, found, label));
}
