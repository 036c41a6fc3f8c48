/**
 * Every single bit of an entry, and every two that matter: tables whose entries differ from a sound one in just these.
 * (Random tables have each of them now and then; this has all of them, always.)
 */
import type { ReferenceLevel } from "./format.js";
import type { TestedFormat } from "./formats.js";
import { EMPTY_TABLES, RandomMachine } from "./random-tables.js";
import { extend } from "./walk.js";

/** A memory, and an address for each entry of it that was changed. */
export interface ChangedEntries {
  readonly machine: RandomMachine;
  readonly addresses: readonly bigint[];
}

/** What is turned over in an entry: nothing, each bit, each pair of the delicate ones. */
function masksOf({ writer, parts }: TestedFormat): bigint[] {
  const width = 8 * (parts[0]?.entryBytes ?? 8);
  const one = (bit: number) => 1n << BigInt(bit);
  const masks = new Set([0n, ...Array.from({ length: width }, (_, bit) => one(bit))]);
  for (const a of writer.delicate) for (const b of writer.delicate) masks.add(one(a) ^ one(b));
  return [...masks];
}

/**
 * For each level, and for an entry there that leads to a table or maps a page, with all rights or as few as the writer
 * gives: as many memories as it takes.
 */
export function* changedEntries(format: TestedFormat): Generator<ChangedEntries> {
  const { writer } = format;
  const levels = format.parts[0]?.levels ?? [];
  for (const changed of levels.keys()) {
    const { level } = levels[changed] as ReferenceLevel;
    for (const kind of ["table", "page"] as const) {
      if (kind === "table" ? level === 1 : !writer.pageLevels.includes(level)) continue;
      for (const generous of [true, false]) yield* changedAt(format, changed, kind, generous);
    }
  }
}

function* changedAt(
  format: TestedFormat,
  changed: number,
  kind: "table" | "page",
  generous: boolean,
): Generator<ChangedEntries> {
  const { writer } = format;
  const [part] = format.parts;
  if (part === undefined) return;
  const tables = part.levels[changed] as ReferenceLevel;
  const count = 2 ** (tables.high - tables.low + 1);
  const masks = masksOf(format);
  for (let from = 0; from < masks.length; from += count) {
    const machine = new RandomMachine(format, EMPTY_TABLES);
    // (The second frame is the upper half's root.)
    const tableAt = (depth: number) =>
      depth === 0 ? (machine.roots[0] as number) : machine.frameAt(depth + 1);
    const wish = (depth: number) => {
      const { level } = part.levels[depth] as ReferenceLevel;
      const target = depth + 1 < part.levels.length ? tableAt(depth + 1) : machine.frameAt(7);
      return { level, target: BigInt(target), free: 0n, generous: true };
    };
    // Whatever leads there, and whatever is below it, goes through entry 0 of each table.
    for (let depth = 0; depth < part.levels.length; depth++) {
      const entry = depth + 1 < part.levels.length ? writer.table(wish(depth)) : writer.page(wish(depth));
      machine.put(tableAt(depth), part.entryBytes, entry);
    }
    const size = 1n << BigInt(writer.sizeBits(tables.level));
    const free = { ...wish(changed), generous };
    const target = kind === "page" ? free.target - (free.target % size) : free.target;
    const sound = kind === "page" ? writer.page({ ...free, target }) : writer.table(free);
    const addresses = masks.slice(from, from + count).map((mask, index) => {
      machine.put(tableAt(changed) + index * part.entryBytes, part.entryBytes, sound ^ mask);
      return extend(part, BigInt(index) << BigInt(tables.low));
    });
    yield { machine, addresses };
  }
}
