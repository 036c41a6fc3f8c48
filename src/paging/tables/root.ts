/**
 * Roots of address spaces, and how they are read: most are tables like all others. Some are shorter (x86's PAE), and AArch64
 * has two of them, which the walker sees as one table (see `MmuDef.halves`).
 */
import { HIGH } from "../../io/address.js";
import type { CompiledMmu } from "../formats/mmu.js";
import type { MmuDef } from "../formats/mmu-def.js";

/** Where the upper half begins, at the latest. */
const UPPER = 1n << 63n;

/** The two roots of AArch64: TTBR0's and TTBR1's, without what is no address in them. Either may be absent. */
export interface RootPair {
  /** Physical address of the root of the lower half: of a process. */
  readonly lower?: number | undefined;
  /** Of the upper half: the kernel's. */
  readonly upper?: number | undefined;
}

/** Physical address of the top table; both, where a format has two. */
export type Root = number | RootPair;

/** Consecutive entries of a root that lie together in memory. */
export interface RootPiece {
  /** Index of the first one in the root. */
  readonly first: number;
  readonly entries: number;
  /** Physical address of the first one. */
  readonly address: number;
}

/** A root that is not read like another table. */
export interface RootLayout {
  /** For messages, and the same for the same root alone. */
  readonly name: string;
  /** What is read, ascending. */
  readonly pieces: readonly RootPiece[];
  /** What is known without a read. */
  readonly pointers: readonly RootPointer[];
  /** Some of its entries are neither: they are absent, whatever becomes of the others. */
  readonly hasGaps: boolean;
}

/** An entry that leads to the root of a half, where that is a whole table. */
export interface RootPointer {
  readonly index: number;
  /** Physical address of the root. */
  readonly address: number;
}

/** For messages: `0x1000`; of a pair `0x1000+0x2000`, and `0x2000 (upper half)` where there is no lower one. */
export function rootName(root: Root): string {
  if (typeof root === "number") return `0x${root.toString(16)}`;
  const { lower, upper } = root;
  const names = [lower, upper].filter((half) => half !== undefined).map((half) => `0x${half.toString(16)}`);
  return lower === undefined ? `${names[0]} (upper half)` : names.join("+");
}

/** For messages about what is no root of the format: callers of JavaScript give what they like. */
function shown(root: unknown): string {
  if (typeof root !== "object" || root === null)
    return typeof root === "number" ? rootName(root) : String(root);
  const { lower, upper } = root as RootPair;
  return (lower ?? upper) === undefined ? "without an address" : rootName(root);
}

/** @throws {RangeError} if a root is no aligned physical address, or not what the format has. */
export function checkRoot(mmu: CompiledMmu, root: Root): void {
  const isPair = typeof root !== "number";
  if (isPair !== (mmu.def.halves !== undefined)) {
    const wanted = isPair
      ? "one root: give its address, a number"
      : "two roots: give { lower, upper }, or one of them";
    throw new RangeError(`page-table root ${shown(root)}: ${mmu.name} has ${wanted}`);
  }
  const { halves } = mmu.def;
  const end = rootEnd(mmu.def);
  if (!isPair)
    return checkAddress(root, mmu.rootAlign, end, mmu.rootAlign === 4096 && mmu.name.startsWith("x86"));
  const { lower, upper } = root;
  if (lower === undefined && upper === undefined)
    throw new RangeError(`page-table root: ${mmu.name} needs lower or upper`);
  if (lower !== undefined) checkAddress(lower, halves?.lower.align ?? 0, end, false);
  if (upper !== undefined) checkAddress(upper, halves?.upper.align ?? 0, end, false);
}

/** Physical addresses have so many bits at most. */
const PHYSICAL_BITS = 52;

/**
 * Where addresses of roots end. AArch64's have as many bits as those in its entries (D8.2: without 52-bit addresses, bits 51
 * to 48 of a root are 0), and an entry is what the walker makes of a root.
 */
export function rootEnd({ halves, address }: MmuDef): number {
  return 2 ** (halves === undefined ? PHYSICAL_BITS : Math.min(PHYSICAL_BITS, address[1] + 1));
}

function checkAddress(root: number, align: number, end: number, isCr3: boolean): void {
  if (!(root >= 0 && root < end)) {
    const text = Number.isInteger(root) && root > 0 ? `0x${root.toString(16)}` : root;
    throw new RangeError(
      `page-table root ${text}: no physical address, which have ${Math.log2(end)} bits at most`,
    );
  }
  if (root % align === 0) return;
  throw new RangeError(
    `page-table root ${Number.isInteger(root) ? `0x${root.toString(16)}` : root}: ` +
      `must be a multiple of ${align}${isCr3 ? " (a CR3 without its low 12 bits)" : ""}`,
  );
}

/** How a root is read; `undefined` if it is a table like any other, at its address. */
export function layoutOf(mmu: CompiledMmu, root: Root): RootLayout | undefined {
  if (mmu.plainRoot) return undefined;
  const name = `${mmu.name}:${rootName(root)}`;
  const entries = mmu.rootEntries;
  if (typeof root === "number") {
    return { name, pieces: [{ first: 0, entries, address: root }], pointers: [], hasGaps: false };
  }
  const pieces: RootPiece[] = [];
  const pointers: RootPointer[] = [];
  let known = 0;
  for (const half of ["lower", "upper"] as const) {
    const address = root[half];
    if (address === undefined) continue;
    const own = mmu.def.halves?.[half].entries ?? 0;
    known += Math.max(own, 1);
    const first = half === "lower" ? 0 : entries - Math.max(own, 1);
    if (own === 0) pointers.push({ index: first, address });
    else pieces.push({ first, entries: own, address });
  }
  return { name, pieces, pointers, hasGaps: known < entries };
}

/** Writes the entries that lead to whole roots into a root, in the walker's form. */
export function writePointers({ pointers }: RootLayout, words: Uint32Array): void {
  for (const { index, address } of pointers) {
    words[2 * index] = (address % HIGH) | 3;
    words[2 * index + 1] = Math.floor(address / HIGH);
  }
}

/** Whether an address' half has a root of the level below the first, to which no entry in memory leads. */
export function isPointed({ halves }: CompiledMmu["def"], virtual: bigint): boolean {
  if (halves === undefined) return false;
  return halves[virtual >= UPPER ? "upper" : "lower"].entries === 0;
}
