/** Which candidates are roots, of what kind, and how sure that is. See `find-roots.ts`. */
import type { Routine } from "../../io/index.js";
import type { RootContent } from "./judge-roots.js";
import { type Evidence, type KnownRoot, MIN_FAMILY } from "./root-evidence.js";
import type { RootHalf } from "./root-shape.hot.js";
import type { RootCandidates } from "./scan-roots.js";

/** What a root is: a kernel's own, a process's, a process's user copy (page-table isolation), or not told by anything. */
export type RootKind = "kernel" | "process" | "user copy" | "unknown";

/** A root that was found. */
export interface FoundRoot {
  /** Physical address. */
  readonly root: number;
  readonly half?: RootHalf | undefined;
  readonly kind: RootKind;
  /** 0 to 100: how sure it is. */
  readonly score: number;
  /** Why, each in a few words. */
  readonly reasons: readonly string[];
  /** Smallest pages mapped for user mode; `undefined` where nobody counted. */
  readonly userPages?: number | undefined;
  /** Whether `userPages` is all of them, or at least so many. */
  readonly counted: boolean;
}

/** Points. They sum up to 100 at most. */
const POINTS = {
  register: 40,
  symbol: 40,
  mark: 50,
  family: 30,
  copy: 60,
  self: 40,
  user: 20,
  users: 40,
  sound: 10,
} as const;
/** Of a root that nothing but its shape speaks for, one in so many runs may be odd. */
const MAX_ODD = 64;
/** A root in the making. */
class Verdict {
  points = 0;
  readonly reasons: string[] = [];

  add(points: number, reason: string): void {
    this.points += points;
    this.reasons.push(reason);
  }
}

/** Judges the candidates of a format, and the roots that are known. By score, then by address. */
export function* judgeAll(evidence: Evidence, known: readonly KnownRoot[]): Routine<FoundRoot[]> {
  const { judge, candidates } = evidence;
  const { shape } = candidates;
  const found: FoundRoot[] = [];
  const taken = new Set<string>();
  const add = (root: FoundRoot | undefined) => {
    if (root === undefined) return;
    const key = `${root.root} ${root.half ?? ""}`;
    if (!taken.has(key)) found.push(root);
    taken.add(key);
  };
  for (const { root, half } of known) {
    const fits = root >= 0 && (half === undefined) === (judge.def.halves === undefined);
    if (fits && shape.isAligned(root, half)) add(yield* judgeRoot(evidence, known, root, half));
  }
  const half = judge.def.halves === undefined ? undefined : "lower";
  if (half !== undefined && evidence.top !== undefined) {
    add(yield* judgeRoot(evidence, known, evidence.top, "upper"));
  }
  for (let row = 0; row < candidates.length; row++) {
    const root = candidates.addresses[row] as number;
    if (half === "lower" && taken.has(`${root} upper`)) continue;
    if (!taken.has(`${root} ${half ?? ""}`)) add(yield* judgeRoot(evidence, known, root, half));
  }
  return found.sort((a, b) => b.score - a.score || a.root - b.root);
}

/** @returns `undefined` for what is no root, as far as can be told. */
function* judgeRoot(
  evidence: Evidence,
  known: readonly KnownRoot[],
  root: number,
  half: RootHalf | undefined,
): Routine<FoundRoot | undefined> {
  const { judge, candidates, place } = evidence;
  const verdict = new Verdict();
  const said = known.filter((one) => one.root === root && one.half === half);
  for (const { reason } of said) verdict.add(POINTS.register, reason);
  const row = candidates.find(root);
  let isKernels = false;
  if (place !== undefined && half !== "lower") {
    isKernels = yield* judge.maps(root, half, place);
    if (isKernels) verdict.add(POINTS.mark, `maps ${place.name}`);
  }
  if (row >= 0 && candidates.selves[row] === 1) verdict.add(POINTS.self, "refers to itself");
  const isRelated = row >= 0 && isOfFamily(evidence, row);
  if (isRelated) verdict.add(POINTS.family, relation(evidence, known, root));
  const copyOf = isKernels ? undefined : originalOf(candidates, row);
  if (copyOf !== undefined) verdict.add(POINTS.copy, `user copy of 0x${copyOf.toString(16)}`);
  let content: RootContent | undefined;
  if (half !== "upper" && !judge.isSpent) content = yield* judge.userPart(root, half);
  const users = content?.userPages ?? 0;
  if (content !== undefined && content.odd <= content.sound / MAX_ODD) verdict.points += POINTS.sound;
  if (users > 0) verdict.points += POINTS.user;
  if (half === "lower" && content?.whole === true && users > 0 && content.odd + content.otherPages === 0) {
    verdict.add(POINTS.users, "maps pages for user mode only");
  }
  // Nothing but the shape speaks for it: then all must be sound, and be of use.
  if (content !== undefined && content.odd > content.sound && !isKernels && said.length === 0)
    return undefined;
  if (!isKernels && !isRelated && copyOf === undefined && said.length === 0) {
    if (content === undefined || content.odd > content.sound / MAX_ODD) return undefined;
    const isSelf = row >= 0 && candidates.selves[row] === 1;
    if (!isSelf && (users === 0 || content.odd > 0)) return undefined;
    if (half === "lower" && content.otherPages > content.userPages) return undefined;
  }
  if (content !== undefined && content.odd > 0) {
    const senseless = content.odd - content.missing;
    const runs = `of ${content.odd + content.sound} user runs`;
    if (senseless > 0) verdict.reasons.push(`${senseless} ${runs} make no sense`);
    if (content.missing > 0)
      verdict.reasons.push(`${content.missing} ${runs} lie under tables that can't be read`);
  }
  const kind =
    copyOf !== undefined
      ? "user copy"
      : users > 0
        ? "process"
        : isKernels || isRelated || said.some((one) => one.isKernels === true)
          ? "kernel"
          : "unknown";
  return {
    root,
    ...(half === undefined ? {} : { half }),
    kind,
    score: Math.min(100, verdict.points),
    reasons: verdict.reasons,
    ...(content === undefined ? {} : { userPages: users }),
    counted: content?.whole ?? false,
  };
}

/** With which roots a candidate has its kernel part in common: one that is known by name, or how many. */
function relation(
  { candidates, kernelHash, family }: Evidence,
  known: readonly KnownRoot[],
  root: number,
): string {
  for (const one of known) {
    const row = one.root === root ? -1 : candidates.find(one.root);
    if (row >= 0 && candidates.kernelHashes[row] === kernelHash)
      return `kernel part equal to that of ${one.reason}`;
  }
  return `kernel part equal to that of ${family === 2 ? "another root" : `${family - 1} others`}`;
}

/** Whether a candidate's kernel part is the one that most have, or that maps a landmark; one root alone is no family. */
function isOfFamily({ candidates, kernelHash, family }: Evidence, row: number): boolean {
  return (
    family >= MIN_FAMILY && candidates.kernelCounts[row] !== 0 && candidates.kernelHashes[row] === kernelHash
  );
}

/**
 * The root of which this is the user copy: under page-table isolation it lies one page further down, on a multiple of two
 * pages, and has the same entries below the kernel's part (arch/x86/include/asm/pgtable.h, `kernel_to_user_pgdp`).
 */
function originalOf(candidates: RootCandidates, row: number): number | undefined {
  const { shape } = candidates;
  if (row < 0 || !shape.def.name.startsWith("x86") || candidates.userCounts[row] === 0) return undefined;
  const root = candidates.addresses[row] as number;
  const other = root % 8192 === 4096 ? candidates.find(root - 4096) : -1;
  const isCopy =
    other >= 0 &&
    candidates.userHashes[other] === candidates.userHashes[row] &&
    candidates.kernelHashes[other] !== candidates.kernelHashes[row];
  return isCopy ? root - 4096 : undefined;
}
