/**
 * Roots of nested page tables as people have them (an EPTP of Intel's, an nCR3 of AMD's, or the address of the top table),
 * and which of the formats lies there.
 */
import { hex, MemtoolError, type PacketIo, type Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import type { MmuDef } from "../formats/mmu-def.js";
import { EPT4, EPT5, NPT4, NPT5 } from "../formats/nested-formats.js";
import { USER } from "../formats/rights.js";
import { VirtualMemory } from "../virtual-memory.js";
import { PHYSICAL_END } from "./guest-map.js";

/** Formats of nested tables by name: with their levels, or whatever of the two lies there. */
export const NESTED_FORMATS = ["ept", "ept4", "ept5", "npt", "npt4", "npt5"] as const;
/** One of {@link NESTED_FORMATS}. */
export type NestedFormat = (typeof NESTED_FORMATS)[number];

/** Nested tables, as far as what was given says. */
export interface NestedRoot {
  /** Physical address of the top table. */
  readonly root: number;
  /** Formats that it may be of, the first that fits. */
  readonly candidates: readonly MmuDef[];
  /** What said so. */
  readonly source: "EPTP" | "given" | "tables";
}

const CANDIDATES: Readonly<Record<NestedFormat, readonly MmuDef[]>> = {
  ept: [EPT5, EPT4],
  ept4: [EPT4],
  ept5: [EPT5],
  npt: [NPT5, NPT4],
  npt4: [NPT4],
  npt5: [NPT5],
};

/**
 * What a number says of nested tables.
 *
 * With bits below bit 12, it is an EPTP (Intel SDM vol. 3C, table 25-9): the memory type (0 or 6) in bits 0 to 2, the levels
 * less one in bits 3 to 5, accessed and dirty flags in bit 6, supervisor shadow stacks in bit 7. Without, it is the address
 * of the top table; an nCR3 may then be of either number of levels.
 *
 * @throws {RangeError} for what is neither, and an EPTP that the format contradicts.
 */
export function nestedRoot(value: number, format?: NestedFormat): NestedRoot {
  const shown = Number.isSafeInteger(value) && value >= 0 ? hex(value) : String(value);
  if (format !== undefined && CANDIDATES[format] === undefined) {
    throw new RangeError(
      `nested page tables of format ${String(format)}: one of ${NESTED_FORMATS.join(", ")}`,
    );
  }
  if (!(Number.isSafeInteger(value) && value >= 0 && value < PHYSICAL_END)) {
    throw new RangeError(`root of nested page tables ${shown}: not a physical address`);
  }
  const low = value % 4096;
  const root = value - low;
  const asked = format === undefined ? undefined : CANDIDATES[format];
  if (low === 0) {
    if (asked === undefined) return { root, candidates: [EPT5, EPT4, NPT5, NPT4], source: "tables" };
    return { root, candidates: asked, source: asked.length === 1 ? "given" : "tables" };
  }
  const type = low & 7;
  const levels = ((low >>> 3) & 7) + 1;
  if ((type !== 0 && type !== 6) || (levels !== 4 && levels !== 5) || low >= 0x100) {
    throw new RangeError(
      `root of nested page tables ${shown}: neither a multiple of 4096 nor an EPTP (its low bits say memory type ` +
        `${type}, ${levels} levels; 6 or 0, and 4 or 5 are expected)`,
    );
  }
  const found = levels === 4 ? EPT4 : EPT5;
  if (asked !== undefined && !asked.includes(found)) {
    throw new RangeError(`root of nested page tables ${shown}: an EPTP of ${found.name}, not ${format}`);
  }
  return { root, candidates: [found], source: "EPTP" };
}

/** How sound the tables look in a format. */
export interface NestedScore {
  readonly mmu: MmuDef;
  /**
   * Runs that lead to memory of the host, and that a guest can use: AMD's processors walk nested tables as user mode (APM
   * vol. 2, 15.25.5), which tells them from a kernel's own tables.
   */
  readonly good: number;
  /** Entries that can't be, tables that can't be read, and runs that lead nowhere. */
  readonly bad: number;
}

/**
 * Which format the tables at a root are of: the first of the candidates in which nearly all leads to the host's memory. With
 * one level too many, what the guest has in its memory would be tables; with one too few, tables would be its memory, which
 * nothing tells from other memory: so five levels are tried first. Tables of AMD's have bits that are reserved in
 * Intel's (accessed), and Intel's are sound in AMD's format: so Intel's are.
 *
 * Looks at 65,536 runs of each at most.
 *
 * @throws {MemtoolError} `NO_NESTED_TABLES` if none is any good.
 */
export function* chooseNestedFormat(
  physical: PacketIo<number>,
  map: PhysicalMap,
  { root, candidates }: NestedRoot,
): Routine<MmuDef> {
  const scores: NestedScore[] = [];
  for (const mmu of candidates) {
    const score = yield* scoreOf(physical, map, root, mmu);
    if (score.good > 0 && score.good >= 9 * score.bad) return mmu;
    scores.push(score);
  }
  // Damage, or much that the dump left out.
  const best = scores.reduce((a, b) => (b.good * (a.good + a.bad) > a.good * (b.good + b.bad) ? b : a));
  if (best.good > 0 && best.good >= best.bad) return best.mmu;
  const tried = scores
    .filter(({ good, bad }) => good + bad > 0)
    .map(({ mmu, good, bad }) => `${good} of ${good + bad} runs as ${mmu.name}`);
  throw new MemtoolError(
    "NO_NESTED_TABLES",
    `no nested page tables at ${hex(root)}: ` +
      (tried.length === 0
        ? "nothing is mapped there"
        : `too few lead to memory that a guest can use (${tried.join(", ")}; with the format given, they are used all the same)`),
  );
}

function* scoreOf(
  physical: PacketIo<number>,
  map: PhysicalMap,
  root: number,
  mmu: MmuDef,
): Routine<NestedScore> {
  const space = new VirtualMemory(physical, { root, mmu });
  const runs = yield* space.runs({ start: 0, end: PHYSICAL_END });
  let good = 0;
  let bad = 0;
  for (let row = 0; row < runs.length; row++) {
    const leads = runs.faults[row] === 0 && map.stateOf(runs.physical[row] as number) !== "outside";
    if (leads && ((runs.rights[row] as number) & USER) !== 0) good++;
    else bad++;
  }
  return { mmu, good, bad };
}
