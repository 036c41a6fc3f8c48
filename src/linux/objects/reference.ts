/**
 * Where an object of the kernel lies: an address and a type, or a way there through pointers that are followed when it is read.
 * Many of them are located and read together, a round of pointers at a time.
 */
import { all, describeFault, type Fault, hex, MemtoolError, type Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { type CType, typeName } from "../types/c-type.js";
import type { TypeTable } from "../types/type-table.js";
import { bytesOf, type KernelValue, ValueDecoder } from "./value.js";

/** What objects of one kernel share. */
export interface ObjectContext {
  readonly memory: AddressSpace;
  readonly types: TypeTable;
  /** What names addresses, as "init_task+0x8"; it gives `undefined` for what has no name. */
  namer(): Routine<(address: bigint) => string | undefined>;
}

/** A place in the kernel's memory. */
export interface Reference {
  readonly context: ObjectContext;
  /** For messages: "init_task.mm.pgd". */
  readonly label: string;
  readonly type: CType;
  /** An address, from which the way goes: for each hop, the pointer that many bytes further is followed. */
  readonly base: bigint;
  readonly hops: readonly number[];
  /** Bytes from where the last pointer leads. */
  readonly offset: number;
  /** Bits from there, 0 to 7, and how many of them: for bit-fields only. */
  readonly bit: number;
  readonly bitSize: number;
}

/** A place whose address is known. */
export function referenceAt(
  context: ObjectContext,
  address: bigint,
  type: CType,
  label = hex(address),
): Reference {
  return { context, label, type, base: address, hops: [], offset: 0, bit: 0, bitSize: 0 };
}

/** What and where, without reading: `(struct task_struct) at 0xffff…`. */
export function describeReference({ context, type, base, hops, offset, label }: Reference): string {
  const at = hops.length === 0 ? hex(plus(context, base, offset)) : `the end of ${label}`;
  return `(${typeName(type)}) at ${at}`;
}

/** Why something could not be read. */
export interface Missing {
  /** What was asked for: "mm.pgd". */
  readonly path: string;
  /** Where the reading failed: of the value itself, or of a pointer on the way to it. */
  readonly address: bigint;
  /** 0 for a null pointer on the way. */
  readonly fault: Fault;
  readonly message: string;
}

/** A member of an object, or more, could not be read. */
export class ObjectReadError extends MemtoolError {
  readonly missing: readonly Missing[];
  /** What could be read, by path. */
  readonly partial: Readonly<Record<string, KernelValue>>;

  constructor(missing: readonly Missing[], partial: Readonly<Record<string, KernelValue>> = {}) {
    const more = missing.length > 3 ? `; ${missing.length - 3} more` : "";
    const list = missing.slice(0, 3).map(({ message }) => message);
    super("UNREADABLE_MEMBER", list.join("; ") + more);
    this.missing = missing;
    this.partial = partial;
  }
}

/** Where a place is, or why that is not known. */
export type Located =
  | { readonly address: bigint; readonly missing?: undefined }
  | { readonly missing: Missing };

function missingAt(ref: Reference, address: bigint, fault: Fault): Missing {
  const why = fault === 0 ? "null pointer" : describeFault(fault);
  return { path: ref.label, address, fault, message: `${ref.label}: ${why} at ${hex(address)}` };
}

/** The addresses of places, their pointers followed side by side: a batch for each round. A pointer is read once. */
export function* locate(refs: readonly Reference[]): Routine<Located[]> {
  const found: Located[] = refs.map(({ context, base, hops, offset }) => ({
    address: plus(context, base, hops[0] ?? offset),
  }));
  for (let round = 0; ; round++) {
    const open = [...refs.keys()].filter(
      (i) => (refs[i] as Reference).hops.length > round && (found[i] as Located).missing === undefined,
    );
    const first = refs[open[0] as number];
    if (first === undefined) return found;
    const { memory } = first.context;
    const numbers = new Map<bigint, number>();
    for (const i of open) {
      const { address } = found[i] as { address: bigint };
      if (!numbers.has(address)) numbers.set(address, numbers.size);
    }
    const gathered = yield* memory.gather(BigUint64Array.from(numbers.keys()), memory.pointerSize);
    const view = new DataView(gathered.bytes.buffer, gathered.bytes.byteOffset, gathered.bytes.length);
    for (const i of open) {
      const ref = refs[i] as Reference;
      const { address } = found[i] as { address: bigint };
      const number = numbers.get(address) as number;
      const fault = gathered.faultOf(number);
      const pointer =
        memory.pointerSize === 8
          ? view.getBigUint64(8 * number, memory.littleEndian)
          : BigInt(view.getUint32(4 * number, memory.littleEndian));
      found[i] =
        fault !== 0 || pointer === 0n
          ? { missing: missingAt(ref, address, fault) }
          : { address: plus(ref.context, pointer, ref.hops[round + 1] ?? ref.offset) };
    }
  }
}

function plus({ memory }: ObjectContext, address: bigint, offset: number): bigint {
  return BigInt.asUintN(8 * memory.pointerSize, address + BigInt(offset));
}

/** A value, or why there is none. */
export type Outcome =
  | { readonly value: KernelValue; readonly missing?: undefined }
  | { readonly missing: Missing };

/** Largest value that is read at once. */
export const MAX_VALUE = 1 << 20;
/** Bytes that are read side by side. */
const WAVE = 1 << 24;

/** @throws {RangeError} if a value is larger than what is read at once. */
export function checkSize(ref: Reference): number {
  const size = bytesOf({ type: ref.type, bitOffset: ref.bit, bitSize: ref.bitSize });
  if (size > MAX_VALUE) {
    throw new RangeError(
      `${ref.label} has ${size} bytes, of which ${MAX_VALUE} are read at once: read members or elements of it`,
    );
  }
  return size;
}

/** Values of one size that are read together. */
interface Group {
  readonly size: number;
  readonly members: number[];
}

/**
 * The values at places, read together: all pointers of a round, and then all values, are a batch each.
 *
 * @throws {RangeError} if one is larger than 1 MiB; {TypesError} if its type has no values (`void`).
 */
export function* readReferences(refs: readonly Reference[]): Routine<Outcome[]> {
  const sizes = refs.map(checkSize);
  const located = yield* locate(refs);
  const outcomes: Outcome[] = located.map((each) =>
    each.missing === undefined ? { value: undefined } : { missing: each.missing },
  );
  for (const wave of wavesOf(sizes, (i) => (located[i] as Located).missing === undefined)) {
    const { memory } = (refs[0] as Reference).context;
    const results = yield* all(
      wave.map(({ size, members }) =>
        memory.gather(
          BigUint64Array.from(members, (i) => (located[i] as { address: bigint }).address),
          size,
        ),
      ),
    );
    for (const [g, { size, members }] of wave.entries()) {
      const gathered = results[g] as (typeof results)[number];
      for (const [k, i] of members.entries()) {
        const ref = refs[i] as Reference;
        const fault = gathered.faultOf(k);
        if (fault !== 0) {
          outcomes[i] = { missing: missingAt(ref, (located[i] as { address: bigint }).address, fault) };
          continue;
        }
        const bytes = gathered.bytes.subarray(k * size, (k + 1) * size);
        outcomes[i] = { value: decode(ref, bytes, memory.littleEndian) };
      }
    }
  }
  return outcomes;
}

/** The value of a place in its own bytes. */
export function decode(ref: Reference, bytes: Uint8Array, littleEndian: boolean): KernelValue {
  return new ValueDecoder(bytes, littleEndian).value({
    type: ref.type,
    bitOffset: ref.bit,
    bitSize: ref.bitSize,
  });
}

/** Groups of one size; as many at a time as may be in memory. */
function* wavesOf(sizes: readonly number[], isThere: (i: number) => boolean): Generator<Group[]> {
  let groups = new Map<number, Group>();
  let bytes = 0;
  for (const [i, size] of sizes.entries()) {
    if (!isThere(i)) continue;
    if (bytes + size > WAVE) {
      yield [...groups.values()];
      groups = new Map();
      bytes = 0;
    }
    bytes += size;
    const group = groups.get(size) ?? { size, members: [] };
    groups.set(size, group);
    group.members.push(i);
  }
  if (groups.size > 0) yield [...groups.values()];
}
