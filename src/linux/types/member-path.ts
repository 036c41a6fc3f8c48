/** Members by path: `tasks.next`, `numbers[0].nr`, through structures and unions without a name. */
import { type CType, type Member, type StructType, sizeOf, stripped, typeName } from "./c-type.js";
import { TypesError } from "./type-table.js";

/** A place in a type. */
export interface Place {
  readonly type: CType;
  /** From the beginning of the outer type. */
  readonly bitOffset: number;
  /** Bits of a bit-field; 0 for what is none. */
  readonly bitSize: number;
}

/** How deep structures without a name are looked into. */
const MAX_DEPTH = 16;

/** A member by name, also one inside members without a name. Its offset is from the beginning of `type`. */
export function findMember(type: StructType, name: string): Place | undefined {
  return memberIn(type, name, 0, 0, new Set());
}

/** @param without Structures that are known not to have it: damaged ones may hold one another many times over. */
function memberIn(
  type: StructType,
  name: string,
  base: number,
  depth: number,
  without: Set<StructType>,
): Place | undefined {
  const own = type.own(name);
  if (own !== undefined) return placeOf(own, base);
  without.add(type);
  if (depth === MAX_DEPTH) return undefined;
  for (const member of type.members) {
    if (member.name !== "") continue;
    const inner = stripped(member.type);
    if ((inner.kind !== "struct" && inner.kind !== "union") || without.has(inner)) continue;
    const found = memberIn(inner, name, base + member.bitOffset, depth + 1, without);
    if (found !== undefined) return found;
  }
  return undefined;
}

function placeOf(member: Member, base: number): Place {
  return { type: member.type, bitOffset: base + member.bitOffset, bitSize: member.bitSize };
}

/**
 * The place of a path of members and array elements. Pointers are not followed: what lies behind one is no part of the type.
 *
 * @returns `undefined` if a name is not there, or an index is beyond its array's end (any is within a flexible one).
 * @throws {TypesError} `NO_MEMBER` for what is no path.
 */
export function findPlace(type: CType, path: string): Place | undefined {
  let place: Place = { type, bitOffset: 0, bitSize: 0 };
  for (const step of stepsOf(path)) {
    const inner = stripped(place.type);
    let next: Place | undefined;
    if (typeof step === "number") {
      if (inner.kind !== "array" || (inner.count !== 0 && step >= inner.count)) return undefined;
      next = { type: inner.element, bitOffset: 8 * step * sizeOf(inner.element), bitSize: 0 };
    } else {
      if (inner.kind !== "struct" && inner.kind !== "union") return undefined;
      next = findMember(inner, step);
    }
    if (next === undefined) return undefined;
    place = { type: next.type, bitOffset: place.bitOffset + next.bitOffset, bitSize: next.bitSize };
  }
  return place;
}

/** As {@link findPlace}. @throws {TypesError} `NO_MEMBER` if there is none. */
export function needPlace(type: CType, path: string): Place {
  const place = findPlace(type, path);
  if (place === undefined) {
    throw new TypesError("NO_MEMBER", path, `${typeName(type)} has no member ${path}`);
  }
  return place;
}

/** Names and indices of a path. @throws {TypesError} `NO_MEMBER` for what is none. */
export function stepsOf(path: string): (string | number)[] {
  const steps: (string | number)[] = [];
  const pattern = /(?:^|\.)([A-Za-z_]\w*)|\[(\d{1,12})\]/gy;
  while (pattern.lastIndex < path.length) {
    const match = pattern.exec(path);
    if (match === null) throw new TypesError("NO_MEMBER", path, `"${path}" is no path of members`);
    steps.push(match[1] ?? Number(match[2]));
  }
  return steps;
}
