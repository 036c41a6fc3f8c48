/**
 * Roots of address spaces, and how they are read: most are tables like all others. Some are shorter (x86's PAE), and AArch64
 * has two of them, which the walker sees as one table (see `MmuDef.halves`).
 */
import { HIGH } from "../../io/address.js";
import type { CompiledMmu } from "../formats/mmu.js";

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
  /** What is read, ascending and without gaps. */
  readonly pieces: readonly RootPiece[];
  /** What is known without a read: words of the entries that point to the roots of both halves. */
  readonly pointers: readonly number[];
  /** One half has no root: its entries are absent, whatever becomes of the other's. */
  readonly lacksHalf: boolean;
}

/** For messages: `0x1000`; of a pair `0x1000+0x2000`, and `0x2000 (upper half)` where there is no lower one. */
export function rootName(root: Root): string {
  if (typeof root === "number") return `0x${root.toString(16)}`;
  const { lower, upper } = root;
  const names = [lower, upper].filter((half) => half !== undefined).map((half) => `0x${half.toString(16)}`);
  return lower === undefined ? `${names[0]} (upper half)` : names.join("+");
}

/** @throws {RangeError} if a root is no aligned physical address, or not what the format has. */
export function checkRoot(mmu: CompiledMmu, root: Root): void {
  const isPair = typeof root !== "number";
  if (isPair !== (mmu.def.halves !== undefined)) {
    const wanted = isPair ? "one root: give its address" : "two roots: give { lower, upper }, or one of them";
    throw new RangeError(`page-table root ${rootName(root)}: ${mmu.name} has ${wanted}`);
  }
  const given = isPair ? [root.lower, root.upper].filter((half) => half !== undefined) : [root];
  if (given.length === 0) throw new RangeError(`page-table root: ${mmu.name} needs lower or upper`);
  for (const half of given) {
    if (Number.isSafeInteger(half) && half >= 0 && half % mmu.rootAlign === 0) continue;
    const hint =
      mmu.def.halves === undefined && mmu.rootAlign === 4096 ? " (a CR3 without its low 12 bits)" : "";
    throw new RangeError(
      `page-table root ${Number.isInteger(half) ? `0x${half.toString(16)}` : half}: ` +
        `must be a multiple of ${mmu.rootAlign}${hint}`,
    );
  }
}

/** How a root is read; `undefined` if it is a table like any other, at its address. */
export function layoutOf(mmu: CompiledMmu, root: Root): RootLayout | undefined {
  if (mmu.plainRoot) return undefined;
  const name = `${mmu.name}:${rootName(root)}`;
  const entries = mmu.rootEntries;
  if (typeof root === "number") {
    return { name, pieces: [{ first: 0, entries, address: root }], pointers: [], lacksHalf: false };
  }
  const halves = [root.lower, root.upper];
  const lacksHalf = halves.includes(undefined);
  if (mmu.def.halves === "pointed") {
    const pointers = halves.flatMap((half) =>
      half === undefined ? [0, 0] : [((half % HIGH) | 3) >>> 0, Math.floor(half / HIGH)],
    );
    return { name, pieces: [], pointers, lacksHalf };
  }
  const half = entries / 2;
  const pieces = halves.flatMap((address, i) =>
    address === undefined ? [] : [{ first: i * half, entries: half, address }],
  );
  return { name, pieces, pointers: [], lacksHalf };
}
