/**
 * A slow, obvious page walk for x86-64 with four levels, in bigint, straight from the manual.
 * Intel SDM vol. 3A, 4.5.4 "Linear-Address Translation with 4-Level Paging and 5-Level Paging", tables 4-15 to 4-20.
 */

/** Reads the eight bytes at a physical address; a string is the state of a failed read. */
export type ReadEntry = (physical: bigint) => bigint | string;

interface ReferenceMapping {
  physical: bigint;
  pageSize: bigint;
  /** "Data may be read from any linear address with a translation" (4.6.1), but for what keys and SMAP forbid. */
  readable: boolean;
  /** As bits: writable 1, user 2, executable by users 4 and by the kernel 16, global 8, readable 32. */
  rights: number;
  writable: boolean;
  user: boolean;
  executable: boolean;
  global: boolean;
}

export type ReferenceResult =
  | ReferenceMapping
  | { state: string; level: number; entry: bigint; cause?: string };

export interface ReferenceStep {
  level: number;
  entryAddress: bigint;
  entry: bigint;
}

interface Granted {
  writable: boolean;
  user: boolean;
  executable: boolean;
  global: boolean;
}

function granted(rights: Granted): Granted & Pick<ReferenceMapping, "readable" | "rights"> {
  const { writable, user, executable, global } = rights;
  const bits = 32 + (writable ? 1 : 0) + (user ? 2 : 0) + (executable ? 20 : 0) + (global ? 8 : 0);
  return { ...rights, readable: true, rights: bits };
}

const bit = (value: bigint, n: number) => ((value >> BigInt(n)) & 1n) === 1n;
/** Bits `high` to `low` (inclusive) of a value, at their place. */
const field = (value: bigint, high: number, low: number) =>
  value & (((1n << BigInt(high - low + 1)) - 1n) << BigInt(low));

/** "In 64-bit mode, an address is canonical if bits 63 to 47 are all equal." */
export function isCanonical(va: bigint): boolean {
  const top = va >> 47n;
  return top === 0n || top === 0x1ffffn;
}

export function walk(
  readEntry: ReadEntry,
  root: bigint,
  va: bigint,
): { steps: ReferenceStep[]; result: ReferenceResult } {
  const steps: ReferenceStep[] = [];
  if (!isCanonical(va)) return { steps, result: { state: "non-canonical", level: 0, entry: 0n } };
  let writable = true;
  let user = true;
  let executable = true;
  let table = root;
  let pointer = 0n;
  for (const { level, shift } of [
    { level: 4, shift: 39n },
    { level: 3, shift: 30n },
    { level: 2, shift: 21n },
    { level: 1, shift: 12n },
  ]) {
    const entryAddress = table + ((va >> shift) & 511n) * 8n;
    const entry = readEntry(entryAddress);
    if (typeof entry === "string") {
      // Of a table that can be read in part, the entry itself is unknown.
      const known = wholeTable(readEntry, table) === undefined ? 0n : pointer;
      return { steps, result: { state: "table-missing", level, entry: known, cause: entry } };
    }
    steps.push({ level, entryAddress, entry });
    if (!bit(entry, 0)) return { steps, result: { state: "not-present", level, entry } };
    writable &&= bit(entry, 1);
    user &&= bit(entry, 2);
    executable &&= !bit(entry, 63);
    const malformed: ReferenceResult = { state: "malformed", level, entry };
    const pageSize = bit(entry, 7);
    if (level === 4 && pageSize) return { steps, result: malformed };
    if (level === 3 && pageSize && field(entry, 29, 13) !== 0n) return { steps, result: malformed };
    if (level === 2 && pageSize && field(entry, 20, 13) !== 0n) return { steps, result: malformed };
    if (level === 1 || ((level === 2 || level === 3) && pageSize)) {
      const size = 1n << shift;
      const physical = field(entry, 51, Number(shift)) + (va & (size - 1n));
      const global = bit(entry, 8);
      return {
        steps,
        result: { physical, pageSize: size, ...granted({ writable, user, executable, global }) },
      };
    }
    pointer = entry;
    table = field(entry, 51, 12);
  }
  throw new Error("unreachable");
}

export type ReferenceRun =
  | (ReferenceMapping & { start: bigint; end: bigint })
  | { start: bigint; end: bigint; state: string; level: number; entry: bigint; cause?: string };

/** Every run of a root by plain recursion, entry by entry; loops and over 4,096 repeated tables are malformed. */
export function maps(readEntry: ReadEntry, root: bigint): ReferenceRun[] {
  const pieces: ReferenceRun[] = [];
  const seen = new Set<string>();
  let repeats = 0;
  const visit = (
    table: bigint,
    level: number,
    base: bigint,
    path: bigint[],
    rights: { writable: boolean; user: boolean; executable: boolean },
  ): void => {
    const size = 1n << BigInt(12 + 9 * (level - 1));
    for (let index = 0n; index < 512n; index++) {
      let start = base + index * size;
      if (level === 4 && index >= 256n) start += 0xffff_0000_0000_0000n;
      const end = start + size;
      const entry = readEntry(table + index * 8n);
      if (typeof entry === "string") {
        pieces.push({ start, end, state: "table-missing", level, entry: 0n, cause: entry });
        continue;
      }
      if (!bit(entry, 0)) continue;
      const combined = {
        writable: rights.writable && bit(entry, 1),
        user: rights.user && bit(entry, 2),
        executable: rights.executable && !bit(entry, 63),
      };
      const large = bit(entry, 7);
      if (
        (large && level === 4) ||
        (large && level === 3 && field(entry, 29, 13) !== 0n) ||
        (large && level === 2 && field(entry, 20, 13) !== 0n)
      ) {
        pieces.push({ start, end, state: "malformed", level, entry });
        continue;
      }
      if (level === 1 || large) {
        const physical = field(entry, 51, 12 + 9 * (level - 1));
        pieces.push({
          start,
          end,
          physical,
          pageSize: size,
          ...granted({ ...combined, global: bit(entry, 8) }),
        });
        continue;
      }
      const next = field(entry, 51, 12);
      const inPath = [...path, table].includes(next);
      const cause = wholeTable(readEntry, next);
      if (inPath) pieces.push({ start, end, state: "malformed", level, entry });
      else if (cause !== undefined) {
        pieces.push({ start, end, state: "table-missing", level: level - 1, entry, cause });
      } else {
        const key = `${level - 1}:${next}`;
        if (seen.has(key)) repeats++;
        if (seen.has(key) && repeats > 4096) {
          pieces.push({ start, end, state: "malformed", level, entry });
          continue;
        }
        seen.add(key);
        visit(next, level - 1, start, [...path, table], combined);
      }
    }
  };
  const cause = wholeTable(readEntry, root);
  if (cause !== undefined) {
    return [
      { start: 0n, end: 1n << 47n, state: "table-missing", level: 4, entry: 0n, cause },
      { start: 0xffff_8000_0000_0000n, end: 1n << 64n, state: "table-missing", level: 4, entry: 0n, cause },
    ];
  }
  visit(root, 4, 0n, [], { writable: true, user: true, executable: true });
  return merge(pieces);
}

/** The state of a table of which no entry can be read. */
function wholeTable(readEntry: ReadEntry, table: bigint): string | undefined {
  let cause: string | undefined;
  for (let index = 0n; index < 512n; index++) {
    const entry = readEntry(table + index * 8n);
    if (typeof entry !== "string") return undefined;
    cause ??= entry;
  }
  return cause;
}

function merge(pieces: ReferenceRun[]): ReferenceRun[] {
  const runs: ReferenceRun[] = [];
  for (const piece of pieces) {
    const last = runs[runs.length - 1];
    if (last !== undefined && last.end === piece.start && continues(last, piece)) last.end = piece.end;
    else runs.push({ ...piece });
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
    a.writable === b.writable &&
    a.user === b.user &&
    a.executable === b.executable &&
    a.global === b.global
  );
}
