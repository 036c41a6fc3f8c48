/** Structures that many pointers lead to. */
import type { Routine } from "../../io/index.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { TypeTable } from "../types/type-table.js";
import { damage, type OnDamage } from "./damage.js";
import type { RecordLayout, record, Values } from "./record.js";

/** What `record()` gives, of fields F. */
interface Plan<F extends Parameters<typeof record>[1]> {
  on(types: TypeTable): RecordLayout<Values<F>>;
}

/** Where structures are, and how they are laid out. */
interface Source {
  readonly types: TypeTable;
  readonly memory: VirtualMemory;
}

/**
 * Reads one structure for each pointer, once for equal ones: those of its fields that are known. `undefined` for null, and where
 * none of them is. What can't be read is told once for a structure.
 */
export function* readEach<F extends Parameters<typeof record>[1]>(
  { types, memory }: Source,
  plan: Plan<F>,
  pointers: readonly (bigint | undefined)[],
  what: string,
  report: OnDamage,
): Routine<(Partial<Values<F>> | undefined)[]> {
  const rows = yield* plan.on(types).read(memory, distinct(pointers));
  const found = new Map<bigint, Partial<Values<F>>>();
  for (const { address, partial, fault } of rows) {
    if (fault !== 0) report(damage(what, address, "unreadable", fault));
    if (fault === 0 || Object.values(partial).some((each) => each !== undefined)) found.set(address, partial);
  }
  return pointers.map((pointer) => (pointer === undefined ? undefined : found.get(pointer)));
}

/** As `readEach`, of structures that say nothing in part: `undefined` where any field can't be read. */
export function* readWhole<F extends Parameters<typeof record>[1]>(
  { types, memory }: Source,
  plan: Plan<F>,
  pointers: readonly (bigint | undefined)[],
  what: string,
  report: OnDamage,
): Routine<(Values<F> | undefined)[]> {
  const rows = yield* plan.on(types).read(memory, distinct(pointers));
  const found = new Map<bigint, Values<F>>();
  for (const { address, value, fault } of rows) {
    if (value === undefined) report(damage(what, address, "unreadable", fault));
    else found.set(address, value);
  }
  return pointers.map((pointer) => (pointer === undefined ? undefined : found.get(pointer)));
}

function distinct(pointers: readonly (bigint | undefined)[]): bigint[] {
  return [...new Set(pointers)].filter((each) => each !== undefined && each !== 0n) as bigint[];
}
