/** What is read of objects: `readAll`, and the routines behind `object.$.read` and its like. */
import { Io, type Routine } from "../../io/index.js";
import type { Address } from "../../io/packet-io.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { follow, pathFrom } from "./object-steps.js";
import { locate, type Missing, ObjectReadError, type Reference, readReferences } from "./reference.js";
import type { FieldValues, KernelObject, PathOf, Unlisted } from "./schema.js";
import type { KernelValue } from "./value.js";

/** Members that were read, and why the others were not. */
export interface PartialFields<T> {
  readonly values: Partial<T>;
  readonly missing: readonly Missing[];
}

/** Members of one of several objects. */
export interface ObjectRow<T> extends PartialFields<T> {
  /** All of them; `undefined` if one is missing. */
  readonly value: T | undefined;
}

/**
 * Members of several objects (of one kernel, of any types), read as one batch, and one for each round of pointers on the way.
 * Never throws for what can't be read: each row says what is missing.
 *
 * @throws {TypesError} `NO_MEMBER`.
 */
export function readAll<T, const P extends PathOf<T>>(
  objects: readonly KernelObject<T>[],
  ...paths: P[]
): Io<ObjectRow<FieldValues<T, P>>[]> {
  const refs = objects.map((object) => object.$.reference);
  const first = refs[0];
  if (first === undefined) return Io.value([]);
  if (refs.some(({ context }) => context.memory !== first.context.memory)) {
    throw new RangeError("objects of several kernels can't be read at once");
  }
  return Io.of(first.context.memory.scheduler, readAllRoutine, refs, paths as string[]) as Io<Unlisted>;
}

function* readAllRoutine(
  refs: readonly Reference[],
  paths: readonly string[],
): Routine<ObjectRow<KernelValue>[]> {
  const outcomes = yield* readReferences(refs.flatMap((ref) => paths.map((path) => pathFrom(ref, path))));
  return refs.map((_, i) => {
    const values = Object.create(null) as Record<string, KernelValue>;
    const missing: Missing[] = [];
    for (const [k, path] of paths.entries()) {
      const outcome = outcomes[i * paths.length + k];
      if (outcome?.missing === undefined) values[path] = outcome?.value;
      else missing.push(outcome.missing);
    }
    return { value: missing.length === 0 ? values : undefined, values, missing };
  });
}

/** The routine of `object.$.address`. */
export function* addressRoutine(ref: Reference): Routine<bigint> {
  const located = (yield* locate([ref]))[0];
  if (located === undefined || located.missing !== undefined) {
    throw new ObjectReadError(located === undefined ? [] : [located.missing]);
  }
  return located.address;
}

/** The routine of `object.$.read`, and of `elements`. */
export function* readRoutine(ref: Reference): Routine<KernelValue> {
  const [outcome] = yield* readReferences([ref]);
  if (outcome?.missing !== undefined) throw new ObjectReadError([outcome.missing]);
  return outcome?.value;
}

/** The routine of `object.$.fieldsPartial`. */
export function* fieldsPartialRoutine(
  ref: Reference,
  paths: readonly string[],
): Routine<PartialFields<KernelValue>> {
  return (yield* readAllRoutine([ref], paths))[0] as ObjectRow<KernelValue>;
}

/** The routine of `object.$.fields`. */
export function* fieldsRoutine(ref: Reference, paths: readonly string[]): Routine<KernelValue> {
  const { values, missing } = yield* fieldsPartialRoutine(ref, paths);
  if (missing.length > 0) throw new ObjectReadError(missing, values);
  return values;
}

/** The routine of `object.$.string`. */
export function* stringRoutine(ref: Reference, max: number): Routine<string> {
  const type = stripped(ref.type);
  const limit = type.kind === "array" && type.count !== 0 ? Math.min(max, sizeOf(type)) : max;
  const at = yield* addressRoutine(follow(ref) ?? ref);
  return yield* ref.context.memory.readString(at as Address, limit);
}
