/**
 * The walk, the list of all runs, and the reverse question, by plain recursion and brute force over any reference
 * format. Conventions that are ours, not a manual's:
 * - a walk follows every table it is led to; the list of runs calls an entry `malformed` that leads back to a table
 *   on its own path, and one that leads to a table it has listed before once it saw more than 4,096 such repeats;
 * - `table-missing` names the level of the table that could not be read. Its `entry` is the one that led there if no
 *   entry of the table can be read, else zero: of a table that is there in part, the entry itself is unknown;
 * - a root that is shorter than the tables below it (PAE's, AArch64's with few bits) is no table for loops: the memory
 *   at its address, read as one, is another;
 * - of two halves, the smaller one has nothing between its own addresses and the other's size: an absent entry of the first
 *   level of the larger one;
 * - of two roots, an absent one is an absent entry of the first level, or of one above it that chooses between whole
 *   roots.
 */
import {
  type Decoded,
  GRANTS_ALL,
  type Grants,
  type ReadEntry,
  type ReferenceFault,
  type ReferenceFormat,
  type ReferenceLevel,
  type ReferenceMapping,
  type ReferenceSpace,
} from "./format.js";

export const MAX_REPEATS = 4096;

export interface ReferenceStep {
  readonly level: number;
  readonly name: string;
  readonly entryAddress: bigint;
  readonly entry: bigint;
}

/** The ranges of addresses that a format translates, half-open, ascending. */
export function rangesOf(format: ReferenceFormat): { start: bigint; end: bigint }[] {
  const root = format.levels[0] as ReferenceLevel;
  const size = 1n << BigInt(root.high + 1);
  if (format.canonical === "zeros") return [{ start: 0n, end: size }];
  if (format.canonical === "ones") return [{ start: (1n << 64n) - size, end: 1n << 64n }];
  return [
    { start: 0n, end: size / 2n },
    { start: (1n << 64n) - size / 2n, end: 1n << 64n },
  ];
}

/** The address of which only the bits below a format's highest are known. */
export function extend(format: ReferenceFormat, low: bigint): bigint {
  const root = format.levels[0] as ReferenceLevel;
  const size = 1n << BigInt(root.high + 1);
  const ones = (1n << 64n) - size;
  if (format.canonical === "zeros") return low;
  if (format.canonical === "ones") return low | ones;
  return low >= size / 2n ? low | ones : low;
}

function and(a: Grants, b: Grants): Grants {
  return {
    readable: a.readable && b.readable,
    writable: a.writable && b.writable,
    user: a.user && b.user,
    userExecutable: a.userExecutable && b.userExecutable,
    kernelExecutable: a.kernelExecutable && b.kernelExecutable,
  };
}

const settled = (format: ReferenceFormat, combined: Grants): Grants => format.settle?.(combined) ?? combined;

const entriesOf = ({ high, low }: ReferenceLevel): bigint => 1n << BigInt(high - low + 1);

/** Whether a format's root is as long as the tables below it. */
const isWhole = ({ levels: [root, next] }: ReferenceFormat): boolean =>
  root !== undefined && next !== undefined && entriesOf(root) === entriesOf(next);

/** What a table says: its entries that are not absent, and its stretches that could not be read. */
interface Listed {
  readonly found: readonly (
    | { readonly index: bigint; readonly entry: bigint; readonly decoded: Exclude<Decoded, { is: "absent" }> }
    | { readonly index: bigint; readonly count: bigint; readonly cause: string }
  )[];
  /** The state of a table of which no entry can be read. */
  readonly missing: string | undefined;
}

function listTable(read: ReadEntry, format: ReferenceFormat, tables: ReferenceLevel, table: bigint): Listed {
  const found: Listed["found"][number][] = [];
  let lost: { index: bigint; count: bigint; cause: string } | undefined;
  for (let index = 0n; index < entriesOf(tables); index++) {
    const entry = read(table + index * BigInt(format.entryBytes), format.entryBytes);
    if (typeof entry !== "string") {
      const decoded = format.decode(tables.level, entry);
      if (decoded.is !== "absent") found.push({ index, entry, decoded });
      lost = undefined;
    } else if (lost?.cause === entry) {
      lost.count++;
    } else {
      lost = { index, count: 1n, cause: entry };
      found.push(lost);
    }
  }
  const [first] = found;
  const missing = first !== undefined && "cause" in first && first.count === entriesOf(tables);
  return { found, missing: missing ? first.cause : undefined };
}

/** Translates one address. */
export function walk(
  read: ReadEntry,
  space: ReferenceSpace,
  va: bigint,
): { steps: ReferenceStep[]; result: ReferenceMapping | ReferenceFault } {
  const steps: ReferenceStep[] = [];
  for (const { format, root } of space.parts) {
    if (!rangesOf(format).some(({ start, end }) => start <= va && va < end)) continue;
    if (root === undefined) {
      const top = format.levels[0] as ReferenceLevel;
      const level = isWhole(format) ? top.level + 1 : top.level;
      return { steps, result: { state: "not-present", level, entry: 0n } };
    }
    let grants = GRANTS_ALL;
    let global = false;
    let table = root;
    let pointer = 0n;
    for (const tables of format.levels) {
      const { level, low, name } = tables;
      const index = (va >> BigInt(low)) % entriesOf(tables);
      const entryAddress = table + index * BigInt(format.entryBytes);
      const entry = read(entryAddress, format.entryBytes);
      if (typeof entry === "string") {
        const { missing } = listTable(read, format, tables, table);
        const known = missing === undefined ? 0n : pointer;
        return { steps, result: { state: "table-missing", level, entry: known, cause: entry } };
      }
      steps.push({ level, name, entryAddress, entry });
      const decoded = format.decode(level, entry);
      if (decoded.is === "absent") return { steps, result: { state: "not-present", level, entry } };
      if (decoded.is === "malformed") return { steps, result: { state: "malformed", level, entry } };
      grants = and(grants, decoded.grants);
      global ||= decoded.global;
      if (decoded.is === "page") {
        const physical = decoded.base + (va % decoded.size);
        const pageSize = decoded.pageSize ?? decoded.size;
        return { steps, result: { physical, pageSize, ...settled(format, grants), global } };
      }
      table = decoded.next;
      pointer = entry;
    }
    throw new Error(`${format.name}: an entry of the last level was decoded as a table`);
  }
  const [largest] = space.parts
    .map(({ format }) => format.levels[0] as ReferenceLevel)
    .sort((a, b) => b.high - a.high);
  if (space.parts.length === 2 && largest !== undefined) {
    const size = 1n << BigInt(largest.high + 1);
    if (va < size || va >= (1n << 64n) - size)
      return { steps, result: { state: "not-present", level: largest.level, entry: 0n } };
  }
  return { steps, result: { state: "non-canonical", level: 0, entry: 0n } };
}

export type ReferenceRun = (ReferenceMapping | ReferenceFault) & {
  readonly start: bigint;
  readonly end: bigint;
};

/** Every run of a space, ascending; what is absent is left out. */
export function maps(read: ReadEntry, space: ReferenceSpace): ReferenceRun[] {
  const pieces: ReferenceRun[] = [];
  const seen = new Set<string>();
  const lists = new Map<string, Listed>();
  let repeats = 0;
  for (const { format, root } of space.parts) {
    if (root === undefined) continue;
    /** Tables are listed once: a memory of a few frames is walked through thousands of paths. */
    const listed = (level: ReferenceLevel, table: bigint) => {
      const key = `${format.name}:${level.level}:${table}`;
      const list = lists.get(key) ?? listTable(read, format, level, table);
      lists.set(key, list);
      return list;
    };
    const visit = (
      depth: number,
      table: bigint,
      base: bigint,
      path: bigint[],
      above: Grants,
      all: boolean,
    ) => {
      const tablesHere = format.levels[depth] as ReferenceLevel;
      const { level, low } = tablesHere;
      const size = 1n << BigInt(low);
      for (const found of listed(tablesHere, table).found) {
        const start = extend(format, base + found.index * size);
        if ("cause" in found) {
          // Only a root has entries on both sides of the gap between canonical addresses.
          const stretch = depth === 0 ? 1n : found.count;
          for (let i = 0n; i < found.count; i += stretch) {
            const from = extend(format, base + (found.index + i) * size);
            const fault = { state: "table-missing", level, entry: 0n, cause: found.cause };
            pieces.push({ start: from, end: from + stretch * size, ...fault });
          }
          continue;
        }
        const { entry, decoded } = found;
        const end = start + size;
        const malformed = { start, end, state: "malformed", level, entry };
        if (decoded.is === "malformed") {
          pieces.push(malformed);
          continue;
        }
        const grants = and(above, decoded.grants);
        const global = all || decoded.global;
        if (decoded.is === "page") {
          const physical = decoded.base + (start % decoded.size);
          const pageSize = decoded.pageSize ?? decoded.size;
          pieces.push({ start, end, physical, pageSize, ...settled(format, grants), global });
          continue;
        }
        const { next } = decoded;
        const below = format.levels[depth + 1] as ReferenceLevel;
        const cause = listed(below, next).missing;
        const tablesAbove = depth === 0 && !isWhole(format) ? [] : [...path, table];
        if (tablesAbove.includes(next)) {
          pieces.push(malformed);
        } else if (cause !== undefined) {
          pieces.push({ start, end, state: "table-missing", level: level - 1, entry, cause });
        } else {
          const key = `${level - 1}:${next}`;
          if (seen.has(key)) repeats++;
          if (seen.has(key) && repeats > MAX_REPEATS) {
            pieces.push(malformed);
            continue;
          }
          seen.add(key);
          visit(depth + 1, next, base + found.index * size, tablesAbove, grants, global);
        }
      }
    };
    const top = format.levels[0] as ReferenceLevel;
    const cause = listed(top, root).missing;
    if (cause === undefined) visit(0, root, 0n, [], GRANTS_ALL, false);
    else {
      for (const range of rangesOf(format)) {
        pieces.push({ ...range, state: "table-missing", level: top.level, entry: 0n, cause });
      }
    }
  }
  return merge(pieces);
}

/** The same runs, as far as they lie in a range; physical addresses move with their starts. */
export function clip(runs: readonly ReferenceRun[], start: bigint, end: bigint): ReferenceRun[] {
  return runs
    .filter((run) => start < end && run.end > start && run.start < end)
    .map((run) => {
      const first = run.start > start ? run.start : start;
      const last = run.end < end ? run.end : end;
      if ("state" in run) return { ...run, start: first, end: last };
      return { ...run, start: first, end: last, physical: run.physical + first - run.start };
    });
}

/** Every virtual address that maps a byte of physical memory, ascending. */
export function reverse(runs: readonly ReferenceRun[], physical: bigint): bigint[] {
  const found: bigint[] = [];
  for (const run of runs) {
    if ("state" in run) continue;
    if (run.physical <= physical && physical < run.physical + (run.end - run.start)) {
      found.push(run.start + (physical - run.physical));
    }
  }
  return found;
}

/** A range of physical addresses, half-open. */
export interface Span {
  readonly start: bigint;
  readonly end: bigint;
}

/** The same for many disjoint ranges, ascending, with all that is known; and the runs that can't be told. */
export function reverseAll(runs: readonly ReferenceRun[], spans: readonly Span[]): object[] {
  return runs.flatMap((run): object[] => {
    if ("state" in run) return [run];
    const { start, end, physical: first, ...rights } = run;
    const found: object[] = [];
    for (const span of spans) {
      let from = first;
      let to = first + (end - start);
      if (span.start > from) from = span.start;
      if (span.end < to) to = span.end;
      if (from >= to) continue;
      found.push({ virtual: start + (from - first), physical: from, length: to - from, ...rights });
    }
    return found;
  });
}

/** Joins pieces that continue each other: what an entry maps differs only in its address. */
function merge(pieces: readonly ReferenceRun[]): ReferenceRun[] {
  const runs: (ReferenceRun & { end: bigint })[] = [];
  for (const piece of pieces) {
    const last = runs[runs.length - 1];
    if (last !== undefined && last.end === piece.start && continues(last, piece)) {
      (last as { end: bigint }).end = piece.end;
    } else runs.push({ ...piece });
  }
  return runs;
}

function continues(a: ReferenceRun, b: ReferenceRun): boolean {
  if ("state" in a || "state" in b) {
    if (!("state" in a && "state" in b)) return false;
    return a.state === b.state && a.level === b.level && a.entry === b.entry && a.cause === b.cause;
  }
  return (
    a.physical + (a.end - a.start) === b.physical &&
    a.pageSize === b.pageSize &&
    a.readable === b.readable &&
    a.writable === b.writable &&
    a.user === b.user &&
    a.userExecutable === b.userExecutable &&
    a.kernelExecutable === b.kernelExecutable &&
    a.global === b.global
  );
}
