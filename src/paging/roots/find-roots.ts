/**
 * Finds page-table roots in physical memory without being told: by shape, by what they have in common, and by what they map.
 *
 * One pass over RAM (`scan-roots.ts`) collects what looks like a root, in each format asked for. Then candidates are judged:
 * those of one machine share the kernel's part of the address space (operating systems copy those entries into every root),
 * and a kernel's part maps the page in which a text of its image was found, at an address that all roots share. The format
 * whose candidates do so best is the machine's. What is left are processes' roots: they map pages for user mode.
 *
 * Bounds, whatever the dump holds: one pass; 65,536 candidates a format; 64 families' kernel parts and 2^23 runs in all
 * are looked at, 65,536 of one root.
 */
import { Io, type PacketIo, type Routine } from "../../io/index.js";
import { schedulerOf } from "../../io/requests.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { MACHINE_FORMATS } from "../formats/formats.js";
import type { MmuDef } from "../formats/mmu-def.js";
import { RootJudge } from "./judge-roots.js";
import { bestOf, ENOUGH, type Evidence, evidenceOf, type KnownRoot } from "./root-evidence.js";
import { type FoundRoot, judgeAll } from "./root-verdict.js";
import { type Landmark, scanRoots } from "./scan-roots.js";

/** Options of {@link findRoots}. */
export interface FindRootsOptions {
  /** What of the addresses is RAM; its present ranges are read. */
  readonly map: PhysicalMap;
  /** Formats to look for; by default all that machines have. Of several, the one that fits best is chosen. */
  readonly formats?: readonly MmuDef[] | undefined;
  /** Texts of a kernel's image. */
  readonly landmarks?: readonly Landmark[] | undefined;
  /** Roots that are known otherwise; those of the chosen format are in the list in any case. */
  readonly known?: readonly KnownRoot[] | undefined;
  /** Whether memory changes by itself. */
  readonly live?: boolean | undefined;
  /** Called after each piece of the scan with the bytes scanned so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What {@link findRoots} found. */
export interface FoundRoots {
  /** The machine's format; `undefined` if nothing looks like a root in any. */
  readonly mmu: MmuDef | undefined;
  /** Whether a kernel's text was found where roots map it: else the format is the likeliest, no more. */
  readonly certain: boolean;
  /** By score, then by address. */
  readonly roots: readonly FoundRoot[];
  /** Candidates that were judged, and those beyond what is looked at. */
  readonly candidates: number;
  readonly dropped: number;
}

/** A score that a root does not get by its shape alone. */
const CONVINCING = 50;
/** What roots that don't convince count for: less than any that do, whatever they map. */
const UNCONVINCING = 2 ** -64;
/** So many roots convince as much as any number. */
const SEVERAL = 4;

/** Finds roots; see the module's comment. Nothing but the source's own errors is thrown. */
export function findRoots(physical: PacketIo<number>, options: FindRootsOptions): Io<FoundRoots> {
  return Io.of(schedulerOf(physical), findRoutine, physical, options);
}

function* findRoutine(physical: PacketIo<number>, options: FindRootsOptions): Routine<FoundRoots> {
  const { map, formats = MACHINE_FORMATS, known = [], live = false } = options;
  const scan = yield* scanRoots(physical, map, formats, options.landmarks ?? [], options.onProgress);
  const all: Evidence[] = [];
  for (const candidates of scan.candidates) {
    const judge = new RootJudge(physical, map, candidates.shape.def, live);
    const evidence = yield* evidenceOf(judge, candidates, scan.marks, known);
    all.push(evidence);
    if (evidence.weight >= ENOUGH) break;
  }
  const best = yield* bestOf(physical, all);
  let found: FoundRoots = { mmu: undefined, certain: false, roots: [], candidates: 0, dropped: 0 };
  let value = 0;
  for (const evidence of best === undefined ? all : [best]) {
    const { judge, candidates, place } = evidence;
    const roots = yield* judgeAll(evidence, known);
    const own = worthOf(roots, judge.pageSize);
    if (own <= value) continue;
    value = own;
    const { length, dropped } = candidates;
    found = { mmu: judge.def, certain: place !== undefined, roots, candidates: length, dropped };
  }
  return found;
}

/**
 * What speaks for a format without a landmark: how much memory its roots give user mode, each on average, and that there are
 * several. (A format with fewer levels than the machine's takes tables below its roots for roots: there are more of them, and
 * each maps a part of what a root does; or they come to next to nothing.)
 */
function worthOf(roots: readonly FoundRoot[], pageSize: number): number {
  const users = roots.filter(({ userPages }) => (userPages ?? 0) > 0);
  const convincing = users.filter(({ score }) => score >= CONVINCING);
  // Roots that nothing but their shape speaks for are compared alike, but any others come before them.
  const [counted, weight] = convincing.length > 0 ? [convincing, 1] : [users, UNCONVINCING];
  if (counted.length === 0) return roots.length === 0 ? 0 : Number.MIN_VALUE;
  const pages = counted.reduce((sum, { userPages = 0 }) => sum + userPages, 0);
  return ((pages * pageSize) / counted.length) * Math.min(counted.length, SEVERAL) * weight;
}
