/**
 * What speaks for a format, before any root is judged: which kernel part its candidates have in common, and whether one maps a
 * landmark. See `find-roots.ts`.
 */
import { type PacketIo, type Routine, readPartial } from "../../io/index.js";
import type { MappedMark, RootJudge } from "./judge-roots.js";
import type { RootHalf } from "./root-shape.hot.js";
import type { Mark, RootCandidates } from "./scan-roots.js";

/** A root that something else tells of: a processor's register, a kernel's symbol. */
export interface KnownRoot {
  readonly root: number;
  /** Of the format's two roots, which. */
  readonly half?: RootHalf | undefined;
  /** Who says so: "CR3 of CPU 0". */
  readonly reason: string;
  /** Whether that is the kernel's own by its name. */
  readonly isKernels?: boolean | undefined;
}

/** What speaks for a format: what its candidates have in common. */
export interface Evidence {
  readonly judge: RootJudge;
  readonly candidates: RootCandidates;
  /** A text of the kernel's image, where the kernel's part maps it. */
  readonly place: MappedMark | undefined;
  /** 0 without one; else at how many addresses, times how many roots do. */
  readonly weight: number;
  /** The root that maps it; of a format with two, the kernel's. */
  readonly top: number | undefined;
  /** The kernel part that most roots share (or that maps the text), and how many do. */
  readonly kernelHash: number | undefined;
  readonly family: number;
}

/** Families of candidates whose kernel part is searched for a landmark. */
const MAX_FAMILIES = 64;
/** A landmark mapped at the same addresses by several roots: no other format does so by chance. */
export const ENOUGH = 5;
/** Addresses of a landmark that count: the image's and the direct map's. */
const MAX_COUNT = 2;
/** Candidates asked whether they share a landmark's address. */
const MAX_SHARERS = 4096;
/** Roots that must share a kernel part for it to say something. */
export const MIN_FAMILY = 2;

/**
 * The format that a landmark speaks for; `undefined` if none does. What one with a level less takes for the kernel's root is a table of the next level in
 * truth: a root to which another root points is none.
 */
export function* bestOf(physical: PacketIo<number>, all: readonly Evidence[]): Routine<Evidence | undefined> {
  let best: Evidence | undefined;
  for (const one of all) if (one.weight > (best?.weight ?? 0)) best = one;
  for (let left = all.length; left > 0 && best?.top !== undefined; left--) {
    let above: Evidence | undefined;
    for (const one of all) {
      if (one === best || one.top === undefined || one.top === best.top) continue;
      if (yield* pointsTo(physical, one, best.top)) above = one;
    }
    if (above === undefined) break;
    best = above;
  }
  return best;
}

/** Whether an entry of a kernel's root points to a table. */
function* pointsTo(
  physical: PacketIo<number>,
  { top, candidates }: Evidence,
  table: number,
): Routine<boolean> {
  const { shape } = candidates;
  const { bytes } = yield* readPartial(physical, top as number, new Uint8Array(shape.bytes));
  return shape.pointsTo(new Uint32Array(bytes.buffer), table);
}

/** Candidates of one kernel part: its hash, and their rows. */
interface Family {
  readonly hash: number;
  readonly rows: number[];
}

/** The largest ones first. */
function familiesOf(candidates: RootCandidates): Family[] {
  const families = new Map<number, number[]>();
  for (let row = 0; row < candidates.length; row++) {
    if (candidates.kernelCounts[row] === 0) continue;
    const hash = candidates.kernelHashes[row] as number;
    const rows = families.get(hash);
    if (rows === undefined) families.set(hash, [row]);
    else rows.push(row);
  }
  return [...families].map(([hash, rows]) => ({ hash, rows })).sort((a, b) => b.rows.length - a.rows.length);
}

export function* evidenceOf(
  judge: RootJudge,
  candidates: RootCandidates,
  marks: readonly Mark[],
  known: readonly KnownRoot[],
): Routine<Evidence> {
  if (judge.def.halves !== undefined) return yield* upperEvidence(judge, candidates, marks, known);
  const families = familiesOf(candidates);
  const largest = families[0];
  const base = { judge, candidates, top: undefined };
  let best: Evidence = {
    ...base,
    place: undefined,
    weight: 0,
    kernelHash: largest !== undefined && largest.rows.length >= MIN_FAMILY ? largest.hash : undefined,
    family: largest?.rows.length ?? 0,
  };
  if (marks.length === 0) return best;
  const isKnown = ({ rows }: Family) =>
    rows.some((row) => known.some(({ root }) => root === candidates.addresses[row]));
  const order = [...families.filter(isKnown), ...families.filter((family) => !isKnown(family))];
  for (const { hash, rows } of order.slice(0, MAX_FAMILIES)) {
    if (judge.isSpent) break;
    const root = candidates.addresses[rows[0] as number] as number;
    const { place, count, content } = yield* judge.kernelPart(root, undefined, marks);
    if (place === undefined || content.odd > content.sound / 2) continue;
    const weight = Math.min(count, MAX_COUNT) * (yield* sharersOf(judge, candidates, place));
    if (weight > best.weight) {
      best = { ...base, place, weight, top: root, kernelHash: hash, family: rows.length };
    }
    if (weight >= ENOUGH) break;
  }
  return best;
}

/** How many candidates map a landmark at the same address; of so many as are looked at. */
function* sharersOf(judge: RootJudge, candidates: RootCandidates, place: MappedMark): Routine<number> {
  let count = 0;
  const rows = Math.min(candidates.length, MAX_SHARERS);
  for (let row = 0; row < rows; row++) {
    if (yield* judge.maps(candidates.addresses[row] as number, undefined, place)) count++;
  }
  return count;
}

/** Of a format with two roots: the kernel's is the one that maps a landmark as the upper one. */
function* upperEvidence(
  judge: RootJudge,
  candidates: RootCandidates,
  marks: readonly Mark[],
  known: readonly KnownRoot[],
): Routine<Evidence> {
  const base = { judge, candidates, kernelHash: undefined };
  let best: Evidence = { ...base, place: undefined, weight: 0, top: undefined, family: 0 };
  if (marks.length === 0) return best;
  const asUpper = known.filter(({ half }) => half === "upper").map(({ root }) => root);
  for (const root of [...asUpper, ...candidates.addresses.subarray(0, candidates.length)]) {
    if (judge.isSpent || best.weight > 1) break;
    if (!candidates.shape.isAligned(root, "upper")) continue;
    const { place, count, content } = yield* judge.kernelPart(root, "upper", marks);
    if (place === undefined || content.odd > content.sound / 2 || count <= best.weight) continue;
    best = { ...base, place, weight: count, top: root, family: 1 };
  }
  return best;
}
