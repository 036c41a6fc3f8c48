/** What a difference between two machines is, and how two lists are compared. */
import { MemtoolError, type Routine } from "../../io/index.js";
import { type Damage, DamageLog, type DamageOptions, type OnDamage } from "../objects/damage.js";

/** What is compared. */
export type DifferenceKind =
  | "process"
  | "module"
  | "file"
  | "socket"
  | "mount"
  | "text"
  | "cached-file"
  | "pages";

/**
 * `appeared`: only the second has it. `gone`: only the first. `changed`: both, and they are not the same. `not-compared`: of pages, only
 * one dump has them, which says nothing of what is there in the other machine.
 */
export type ChangeKind = "appeared" | "gone" | "changed" | "not-compared";

/** A value of a field; null for what is not there. */
export type ComparedValue = string | number | bigint | boolean | null | readonly ComparedValue[];

/** A field that is not what it was. */
export interface FieldChange {
  readonly field: string;
  readonly before: ComparedValue;
  readonly after: ComparedValue;
}

/** One difference. `T` is what the lists have. */
export interface Difference<T = unknown> {
  readonly kind: DifferenceKind;
  readonly change: ChangeKind;
  /** What differs, for people. */
  readonly what: string;
  /** The process that it is, or is of; null where there is none. */
  readonly pid: number | null;
  /** As the first has it; `undefined` if it does not. */
  readonly before: T | undefined;
  /** As the second has it; `undefined` if it does not. */
  readonly after: T | undefined;
  /** Of what `changed`: what did. A field that can't be read in one of them is not compared. */
  readonly fields: readonly FieldChange[];
  /** What explains it, or makes it doubtful; null for neither. */
  readonly note: string | null;
}

/** How much was compared. */
export interface ComparedPart {
  readonly kind: DifferenceKind;
  /** Things that both have, or of which it is known that one has them not. Pages: that both have. */
  readonly compared: number;
  /** Things that were not compared. */
  readonly notCompared: number;
  /** Why not; "" if all were. */
  readonly why: string;
}

/** Options of what compares two kernels. */
export interface CompareOptions extends DamageOptions {
  /**
   * Whether both are of one boot of one machine, so that addresses and numbers mean the same in both; default what
   * {@link compareBoots} finds. Where they are not, names are compared instead.
   */
  readonly sameBoot?: boolean | undefined;
  /** Is told at the end of each list how much of it was compared. */
  readonly onPart?: ((part: ComparedPart) => void) | undefined;
}

/** How the items of a list are compared. @internal */
export interface Comparison<T> {
  readonly kind: DifferenceKind;
  /** Two items of one key are the same thing; `undefined` for one that can't be told. */
  key(item: T, side: "before" | "after"): string | undefined;
  what(item: T): string;
  pid?(item: T): number | undefined;
  /** Its fields; `undefined` for what could not be read. */
  fields(item: T, side: "before" | "after"): Readonly<Record<string, ComparedValue | undefined>>;
  note?(change: ChangeKind, before: T | undefined, after: T | undefined): string | null;
}

/** A list, and whether all of it could be read. @internal */
export interface ReadList<T> {
  readonly items: readonly T[];
  readonly isWhole: boolean;
}

/**
 * The differences of two lists: what is gone or changed in the first's order, then what appeared in the second's. Of several
 * items with one key, the first is compared with the first, and so on. @internal
 */
export function* compareLists<T>(
  before: ReadList<T>,
  after: ReadList<T>,
  comparison: Comparison<T>,
  onPart?: CompareOptions["onPart"],
): Generator<Difference<T>, void, void> {
  const { kind } = comparison;
  const others = new Map<string, T[]>();
  let unknown = 0;
  let compared = 0;
  for (const item of after.items) {
    const key = comparison.key(item, "after");
    if (key === undefined) {
      unknown++;
      continue;
    }
    const same = others.get(key);
    if (same === undefined) others.set(key, [item]);
    else same.push(item);
  }
  const matched = new Set<T>();
  const taken = new Map<string, number>();
  const only = (change: "appeared" | "gone", item: T): Difference<T> => {
    const isWhole = (change === "gone" ? after : before).isWhole;
    const doubt = isWhole
      ? null
      : `not all of that list could be read in the ${change === "gone" ? "second" : "first"}: it may have it all the same`;
    const [first, second] = change === "gone" ? [item, undefined] : [undefined, item];
    const said = comparison.note?.(change, first, second) ?? null;
    return {
      kind,
      change,
      what: comparison.what(item),
      pid: comparison.pid?.(item) ?? null,
      before: first,
      after: second,
      fields: [],
      note: joined(said, doubt),
    };
  };
  for (const item of before.items) {
    const key = comparison.key(item, "before");
    if (key === undefined) {
      unknown++;
      continue;
    }
    compared++;
    const next = taken.get(key) ?? 0;
    taken.set(key, next + 1);
    const other = others.get(key)?.[next];
    if (other === undefined) {
      yield only("gone", item);
      continue;
    }
    matched.add(other);
    const fields = changedFields(comparison.fields(item, "before"), comparison.fields(other, "after"));
    if (fields.length === 0) continue;
    yield {
      kind,
      change: "changed",
      what: comparison.what(other),
      pid: comparison.pid?.(other) ?? null,
      before: item,
      after: other,
      fields,
      note: comparison.note?.("changed", item, other) ?? null,
    };
  }
  for (const item of after.items) {
    if (matched.has(item) || comparison.key(item, "after") === undefined) continue;
    compared++;
    yield only("appeared", item);
  }
  onPart?.({
    kind,
    compared,
    notCompared: unknown,
    why: unknown === 0 ? "" : "what tells them apart can't be read",
  });
}

/** Fields that both know, and that are not equal. @internal */
export function changedFields(
  before: Readonly<Record<string, ComparedValue | undefined>>,
  after: Readonly<Record<string, ComparedValue | undefined>>,
): FieldChange[] {
  const found: FieldChange[] = [];
  for (const [field, first] of Object.entries(before)) {
    const second = after[field];
    if (first === undefined || second === undefined || isEqual(first, second)) continue;
    found.push({ field, before: first, after: second });
  }
  return found;
}

function isEqual(a: ComparedValue, b: ComparedValue): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((each, i) => isEqual(each, b[i] as ComparedValue));
}

function joined(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other;
  return `${one}; ${other}`;
}

/** Runs what is about one side: what goes wrong with it says which. @throws {MemtoolError} `message` with the side in front. @internal */
export function* onSide<T>(
  side: "first" | "second",
  work: Iterable<unknown> & { [Symbol.iterator](): Routine<T> },
): Routine<T> {
  try {
    return yield* work;
  } catch (error) {
    if (!(error instanceof MemtoolError)) throw error;
    throw new MemtoolError(error.code, `${side}: ${error.message}`, { cause: error });
  }
}

/** Takes the damage of both sides: says which it is of, and remembers that there was some. @internal */
export class SideDamage {
  readonly #log: DamageLog;
  #counts = { first: 0, second: 0 };

  constructor(options: DamageOptions) {
    this.#log = new DamageLog(options);
  }

  /** As an `onDamage` of one side. */
  of(side: "first" | "second"): OnDamage {
    return (found: Damage) => {
      this.#counts[side]++;
      this.#log.report({ ...found, message: `${side}: ${found.message}` });
    };
  }

  /** Things that could not be read on a side until now. */
  count(side: "first" | "second"): number {
    return this.#counts[side];
  }

  /** @throws {DamageError} if there was any, and nobody was told. */
  end(): void {
    this.#log.end();
  }
}
