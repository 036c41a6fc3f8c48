/**
 * Steps from one place to another: to a member, to an element, to what a pointer points to. Nothing is read for them: what a pointer
 * holds is seen when the place at the end is.
 */
import { editDistance } from "../names.js";
import { ArrayType, type CType, IntType, sizeOf, stripped, typeName } from "../types/c-type.js";
import { findMember, type Place, stepsOf } from "../types/member-path.js";
import { TypesError } from "../types/type-table.js";
import type { Reference } from "./reference.js";
import { isText, membersOf } from "./value.js";

/** What a pointer at a place points to. */
export function follow(ref: Reference, label = `*${ref.label}`): Reference | undefined {
  const type = stripped(ref.type);
  if (type.kind !== "pointer" || ref.bitSize !== 0) return undefined;
  return { ...ref, label, type: type.target, hops: [...ref.hops, ref.offset], offset: 0 };
}

/** As `follow`. @throws {TypesError} `BAD_TYPE_NAME` for what is no pointer. */
export function needPointer(ref: Reference): Reference {
  const target = follow(ref);
  if (target === undefined) {
    throw new TypesError("BAD_TYPE_NAME", ref.label, `${ref.label} is no pointer, but ${typeName(ref.type)}`);
  }
  return target;
}

/** @throws {RangeError} for an offset beyond 2^53, where numbers are no longer exact. */
export function exactOffset(offset: number, label: string): number {
  if (Number.isSafeInteger(offset)) return offset;
  throw new RangeError(`${label} is too far from where it is counted from`);
}

/** A part of a place. */
function within(ref: Reference, { type, bitOffset, bitSize }: Place, label: string): Reference {
  const offset = exactOffset(ref.offset + Math.floor(bitOffset / 8), label);
  return { ...ref, label, type, offset, bit: bitSize === 0 ? 0 : bitOffset % 8, bitSize };
}

/**
 * A member by name, or an element by number; a pointer is followed to what has it. `undefined` if there is none.
 *
 * @throws {RangeError} for an element beyond its array's end.
 */
export function stepTo(ref: Reference, step: string | number): Reference | undefined {
  if (typeof step === "number") return elementOf(ref, step);
  const outer = follow(ref, ref.label) ?? ref;
  const type = stripped(outer.type);
  if ((type.kind !== "struct" && type.kind !== "union") || outer.bitSize !== 0) return undefined;
  const place = findMember(type, step);
  return place === undefined ? undefined : within(outer, place, `${ref.label}.${step}`);
}

function elementOf(ref: Reference, index: number): Reference | undefined {
  const type = stripped(ref.type);
  if (type.kind !== "array" && type.kind !== "pointer") return undefined;
  if (!Number.isSafeInteger(index)) throw new RangeError(`${index} is no number of an element`);
  const label = `${ref.label}[${index}]`;
  if (type.kind === "array") {
    if (index < 0 || (type.count !== 0 && index >= type.count)) {
      throw new RangeError(`${label} is beyond the end: ${typeName(type)}`);
    }
    const bitOffset = exactOffset(8 * index * sizeOf(type.element), label);
    return within(ref, { type: type.element, bitOffset, bitSize: 0 }, label);
  }
  const first = follow(ref, label);
  return first && { ...first, offset: exactOffset(index * sizeOf(first.type), label) };
}

/** The place at the end of a path: `mm.pgd`, `numbers[0].nr`. @throws {TypesError} `NO_MEMBER`; {RangeError} as `stepTo`. */
export function pathFrom(ref: Reference, path: string): Reference {
  let found = ref;
  for (const step of stepsOf(path)) {
    const next = stepTo(found, step);
    if (next === undefined) {
      throw new TypesError("NO_MEMBER", path, `${typeName(found.type)} has no member ${step} (of ${path})`);
    }
    found = next;
  }
  return found;
}

/** As `stepTo`. @throws {TypesError} `NO_MEMBER`, with names that are like it. */
export function needStep(ref: Reference, step: string | number): Reference {
  const found = stepTo(ref, step);
  if (found !== undefined) return found;
  const name = String(step);
  const near = memberNames(ref)
    .map((other) => ({ other, cost: editDistance(name, other, 2) }))
    .filter(({ cost }) => cost <= 2)
    .sort((a, b) => a.cost - b.cost)
    .map(({ other }) => other);
  const hint = near.length === 0 ? "" : `; there is ${near.slice(0, 3).join(", ")}`;
  const what = typeof step === "number" ? `no elements (asked for [${step}])` : `no member ${step}`;
  throw new TypesError("NO_MEMBER", name, `${typeName(ref.type)} has ${what}${hint}`);
}

/** Names of the members of a structure, or of what a pointer to one points to; those of members without a name are its own. */
export function memberNames(ref: Reference): string[] {
  const pointer = stripped(ref.type);
  const type = pointer.kind === "pointer" ? stripped(pointer.target) : pointer;
  if (type.kind !== "struct" && type.kind !== "union") return [];
  return [...membersOf(type)].map(({ name }) => name);
}

/** An array of so many elements, where an array is, or where a pointer points to. */
export function elementReference(ref: Reference, count: number): Reference {
  const type = stripped(ref.type);
  if (type.kind === "array") {
    if (type.count !== 0 && count > type.count) {
      throw new RangeError(`${ref.label} has ${type.count} elements, not ${count}`);
    }
    return { ...ref, type: new ArrayType(count, () => numeric(type.element)) };
  }
  const target = needPointer(ref);
  return { ...target, type: new ArrayType(count, () => numeric(target.type)) };
}

/** An array of `char` would be text: asked for by element, they are numbers. */
function numeric(element: CType): CType {
  const type = stripped(element);
  return isText(type) && type.kind === "int" ? new IntType("signed char", 1, type.signed) : element;
}
