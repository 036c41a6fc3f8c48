/**
 * Reads chosen members of many structures of one type at once. Which members there are is asked of the types: a field names
 * several, the newest kernels' first, and the first that is there counts.
 */
import type { Fault, Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { decodeLatin1, decodeUtf8 } from "../../memory/text.js";
import { type CType, type StructType, sizeOf, stripped, typeName } from "../types/c-type.js";
import { findPlace, type Place } from "../types/member-path.js";
import { TypesError, type TypeTable } from "../types/type-table.js";
import { integerAt } from "./integer.js";

type Kind = "int" | "word" | "text" | "bytes" | "place";

/** A field of a record: which members it may be, and what its value becomes. */
export interface Field<T> {
  readonly kind: Kind;
  /** Paths of members, the first that exists counts. */
  readonly paths: readonly string[];
  readonly optional: boolean;
  /** Only for the compiler: the type of its values. */
  readonly of?: T;
}

/** A number: for what has up to 53 bits. */
export function int(...paths: string[]): Field<number> {
  return { kind: "int", paths, optional: false };
}

/** A 64-bit number, or a pointer. */
export function word(...paths: string[]): Field<bigint> {
  return { kind: "word", paths, optional: false };
}

/** Characters up to a NUL, or to the end of their array. */
export function text(...paths: string[]): Field<string> {
  return { kind: "text", paths, optional: false };
}

/** The bytes of a member as they are. */
export function raw(...paths: string[]): Field<Uint8Array> {
  return { kind: "bytes", paths, optional: false };
}

/** The address of a member; nothing of it is read. */
export function place(...paths: string[]): Field<bigint> {
  return { kind: "place", paths, optional: false };
}

/** A field that may be missing from the structure: `undefined` then. */
export function maybe<T>(field: Field<T>): Field<T | undefined> {
  return { ...field, optional: true };
}

/** Fields by the names that they get. */
export type Fields = Readonly<Record<string, Field<unknown>>>;
/** The values of fields. */
export type Values<F extends Fields> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** One structure. */
export interface Row<T> {
  readonly address: bigint;
  /** All its fields; `undefined` if one could not be read. */
  readonly value: T | undefined;
  /** Those fields that could be read. */
  readonly partial: Partial<T>;
  /** Why not all of them; 0 if they were. */
  readonly fault: Fault;
}

/** Members that are read have at most some hundred bytes: of larger ones, many rows would ask for more than there is. */
const MAX_FIELD_BITS = 8 * 65_536;

/** Bytes that are read at once. */
const BATCH = 1 << 24;

/** Members this near to each other are read together. */
const NEAR = 192;

interface Slot {
  readonly name: string;
  readonly kind: Kind;
  readonly place: Place;
  /** Bytes from the beginning of the structure: `start` to `end` (exclusive). */
  readonly start: number;
  readonly end: number;
}

interface Cluster {
  readonly start: number;
  end: number;
  readonly slots: Slot[];
}

/** Fields laid out in a structure of a kernel. */
export class RecordLayout<T> {
  /** Bytes of the structure. */
  readonly size: number;
  readonly #clusters: readonly Cluster[];
  readonly #places: readonly Slot[];
  readonly #missing: readonly string[];
  readonly #littleEndian: boolean;

  /** Use {@link RecordPlan.on}. @internal */
  constructor(type: CType, fields: Fields, littleEndian: boolean) {
    this.size = sizeOf(type);
    this.#littleEndian = littleEndian;
    const slots: Slot[] = [];
    const missing: string[] = [];
    for (const [name, field] of Object.entries(fields)) {
      const slot = slotOf(type, name, field);
      if (slot === undefined) missing.push(name);
      else slots.push(slot);
    }
    this.#missing = missing;
    this.#places = slots.filter(({ kind }) => kind === "place");
    this.#clusters = clustersOf(slots.filter(({ kind }) => kind !== "place"));
  }

  /** Bytes from the beginning of the structure to a field; `undefined` if the structure lacks it. */
  offsetOf(name: keyof T & string): number | undefined {
    const slots = [...this.#places, ...this.#clusters.flatMap((cluster) => cluster.slots)];
    return slots.find((slot) => slot.name === name)?.start;
  }

  /** Reads the structures at these addresses, as one batch of bounded size. Never throws for what can't be read. */
  *read(memory: AddressSpace, addresses: readonly bigint[]): Routine<Row<T>[]> {
    const largest = Math.max(1, ...this.#clusters.map(({ start, end }) => end - start));
    const step = Math.max(1, Math.floor(BATCH / largest));
    if (addresses.length <= step) return yield* this.#batch(memory, addresses);
    const rows: Row<T>[] = [];
    for (let from = 0; from < addresses.length; from += step) {
      for (const row of yield* this.#batch(memory, addresses.slice(from, from + step))) rows.push(row);
    }
    return rows;
  }

  *#batch(memory: AddressSpace, addresses: readonly bigint[]): Routine<Row<T>[]> {
    const values: Record<string, unknown>[] = addresses.map((address) => this.#begin(address));
    const faults = new Int32Array(addresses.length);
    for (const cluster of this.#clusters) {
      const column = BigUint64Array.from(addresses, (address) => address + BigInt(cluster.start));
      const size = cluster.end - cluster.start;
      const gathered = yield* memory.gather(column, size);
      let next = 0;
      for (let i = 0; i < addresses.length; i++) {
        if (gathered.failed[next] !== i) {
          for (const slot of cluster.slots) {
            (values[i] as Record<string, unknown>)[slot.name] = this.#decode(
              gathered.bytes,
              i * size + slot.start - cluster.start,
              slot,
            );
          }
          continue;
        }
        next++;
        faults[i] ||= gathered.faultOf(i);
        yield* this.#readDamaged(memory, column[i] as bigint, cluster, values[i] as Record<string, unknown>);
      }
    }
    return addresses.map((address, i) => ({
      address,
      value: faults[i] === 0 ? (values[i] as T) : undefined,
      partial: values[i] as Partial<T>,
      fault: faults[i] as Fault,
    }));
  }

  /** Decodes a structure that lies in memory already, at an offset of it. */
  decode(bytes: Uint8Array, at: number, address: bigint): T {
    const value = this.#begin(address);
    for (const cluster of this.#clusters) {
      for (const slot of cluster.slots) value[slot.name] = this.#decode(bytes, at + slot.start, slot);
    }
    return value as T;
  }

  #begin(address: bigint): Record<string, unknown> {
    const value: Record<string, unknown> = {};
    for (const name of this.#missing) value[name] = undefined;
    for (const slot of this.#places) value[slot.name] = BigInt.asUintN(64, address + BigInt(slot.start));
    return value;
  }

  /** What there is of members around a hole. */
  *#readDamaged(
    memory: AddressSpace,
    address: bigint,
    cluster: Cluster,
    value: Record<string, unknown>,
  ): Routine<void> {
    const { bytes, holes } = yield* memory.readPartial(address, cluster.end - cluster.start);
    for (const slot of cluster.slots) {
      const start = slot.start - cluster.start;
      const end = slot.end - cluster.start;
      if (holes.some((hole) => hole.start < end && hole.end > start)) continue;
      value[slot.name] = this.#decode(bytes, start, slot);
    }
  }

  #decode(bytes: Uint8Array, at: number, { kind, place, start, end }: Slot): unknown {
    if (kind === "bytes") return bytes.slice(at, at + end - start);
    if (kind === "text") return textAt(bytes, at, at + end - start);
    const value = integerAt(bytes, at, place, this.#littleEndian);
    return kind === "int" ? Number(value) : BigInt(value);
  }
}

function slotOf(type: CType, name: string, field: Field<unknown>): Slot | undefined {
  for (const path of field.paths) {
    const found = findPlace(type, path);
    if (found === undefined) continue;
    const start = Math.floor(found.bitOffset / 8);
    const bits = found.bitSize === 0 ? 8 * sizeOf(found.type) : (found.bitOffset % 8) + found.bitSize;
    if (field.kind !== "place" && bits > MAX_FIELD_BITS) {
      throw new TypesError(
        "NO_MEMBER",
        path,
        `${typeName(type)}.${path} has ${bits / 8} bytes: its types are damaged`,
      );
    }
    return { name, kind: field.kind, place: found, start, end: start + Math.ceil(bits / 8) };
  }
  if (field.optional) return undefined;
  const none = field.paths.join(", ");
  throw new TypesError("NO_MEMBER", none, `${typeName(type)} has no member ${none}`);
}

function clustersOf(slots: readonly Slot[]): Cluster[] {
  const clusters: Cluster[] = [];
  for (const slot of [...slots].sort((a, b) => a.start - b.start)) {
    const last = clusters.at(-1);
    if (last !== undefined && slot.start - last.end <= NEAR) {
      last.end = Math.max(last.end, slot.end);
      last.slots.push(slot);
    } else {
      clusters.push({ start: slot.start, end: slot.end, slots: [slot] });
    }
  }
  return clusters;
}

/** Text of the kernel is UTF-8 where it is sound, and else a character a byte: nothing of it is lost. */
export function textAt(bytes: Uint8Array, start: number, limit: number): string {
  // (Not beyond: many texts without an end may lie one after the other.)
  const nul = bytes.subarray(start, limit).indexOf(0);
  const end = nul < 0 ? limit : start + nul;
  const decoded = decodeUtf8(bytes, start, end);
  return decoded.includes("\ufffd") ? decodeLatin1(bytes, start, end) : decoded;
}

/** Which fields of which structure are wanted; laid out for each kernel's types when first needed. */
export class RecordPlan<F extends Fields> {
  /** Name of the structure. */
  readonly struct: string;
  readonly fields: F;
  readonly #layouts = new WeakMap<object, RecordLayout<Values<F>>>();

  constructor(struct: string, fields: F) {
    this.struct = struct;
    this.fields = fields;
  }

  /** @throws {TypesError} `NO_TYPE` or `NO_MEMBER`, if the kernel has no such structure, or it lacks a field. */
  on(types: TypeTable): RecordLayout<Values<F>> {
    let layout = this.#layouts.get(types);
    if (layout === undefined) {
      layout = new RecordLayout<Values<F>>(needStruct(types, this.struct), this.fields, types.littleEndian);
      this.#layouts.set(types, layout);
    }
    return layout;
  }

  /** As `on`; `undefined` for a kernel without the structure. */
  onIf(types: TypeTable): RecordLayout<Values<F>> | undefined {
    return hasStruct(types, this.struct) ? this.on(types) : undefined;
  }
}

/** Chooses fields of a structure. */
export function record<const F extends Fields>(struct: string, fields: F): RecordPlan<F> {
  return new RecordPlan(struct, fields);
}

/** Whether a structure (or union) is described. */
export function hasStruct(types: TypeTable, name: string): boolean {
  const type = types.find("struct", name) ?? types.find("union", name);
  return type !== undefined && type.kind !== "forward";
}

/** @throws {TypesError} `NO_TYPE`. */
export function needStruct(types: TypeTable, name: string): StructType {
  const type = stripped(types.find("struct", name) ?? types.find("union", name) ?? { kind: "void" });
  if (type.kind === "struct" || type.kind === "union") return type;
  throw new TypesError("NO_TYPE", name, `${types.name} has no structure ${name}`);
}

/** Bytes from the beginning of a structure to a member. @throws {TypesError} `NO_TYPE` or `NO_MEMBER`. */
export function offsetOf(types: TypeTable, struct: string, path: string): number {
  const found = findPlace(needStruct(types, struct), path);
  if (found === undefined) throw new TypesError("NO_MEMBER", path, `struct ${struct} has no member ${path}`);
  return Math.floor(found.bitOffset / 8);
}
