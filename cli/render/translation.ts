import type {
  AbsentEntry,
  MappedAddress,
  MapRun,
  Rights,
  Translation,
  UnmappedAddress,
  Walk,
  WalkStep,
} from "../../src/paging/index.js";
import { absentJson, absentText } from "./absent.js";
import { reasonText } from "./hole.js";
import { bytesText, hex, hex16 } from "./numbers.js";

/** What is known of a translation besides. */
export interface TranslationMore {
  /** What the operating system means by its entry, if the processor calls that not present. */
  readonly absent?: AbsentEntry | undefined;
  /** It is one of the kernel's pages of zeros. */
  readonly zero?: "page" | "huge" | undefined;
}

/** One line of `translate --json`. */
export function translationJson(
  result: Translation,
  walk?: Walk,
  { absent, zero }: TranslationMore = {},
): Record<string, unknown> {
  const steps = {
    ...(absent === undefined ? {} : { absent: absentJson(absent) }),
    ...(zero === undefined ? {} : { zeroPage: zero }),
    ...(walk === undefined ? {} : { walk: walk.steps.map(stepJson) }),
  };
  if (result.state !== undefined) return { virtual: hex(result.virtual), ...failureJson(result), ...steps };
  return {
    virtual: hex(result.virtual),
    physical: hex(result.physical),
    pageSize: result.pageSize,
    ...rightsJson(result),
    ...steps,
  };
}

/** One line of `maps --json`; `end` is exclusive, and may be 2^64. */
export function runJson(run: MapRun, absent?: AbsentEntry): Record<string, unknown> {
  const range = { start: hex(run.start), end: hex(run.end) };
  if (run.state !== undefined) {
    return { ...range, ...failureJson(run), ...(absent === undefined ? {} : { absent: absentJson(absent) }) };
  }
  return {
    ...range,
    physical: hex(run.physical),
    pageSize: run.pageSize,
    ...rightsJson(run),
    global: run.global,
  };
}

/** What a failed translation says of itself. */
export type Failure = Pick<UnmappedAddress, "state" | "level" | "entry" | "cause">;
/** What is shown of rights. */
export type Allowed = Pick<MappedAddress, "readable" | "writable" | "user" | "executable">;

/** The same for `--json`. */
export function failureJson({ state, level, entry, cause }: Failure): Record<string, unknown> {
  return { state, level, entry: hex(entry), ...(cause === undefined ? {} : { cause }) };
}

/** Rights as `--json` has them. */
export function rightsJson({ readable, writable, user, executable }: Allowed): Record<string, boolean> {
  return { readable, writable, user, executable };
}

function stepJson(step: WalkStep): Record<string, unknown> {
  const { level, name, index, entryAddress, entry, present, absent, flags } = step;
  const { leaf, malformed } = flags;
  return {
    level,
    name,
    index,
    ...(entryAddress === undefined ? {} : { entryAddress: hex(entryAddress) }),
    entry: hex(entry),
    present,
    leaf,
    malformed,
    ...rightsJson(flags),
    ...(absent === undefined ? {} : { absent: absentJson(absent) }),
  };
}

/** `rwx user`, `r-- kernel`; `--- hidden` for a page of which every right was taken away (PROT_NONE). */
export function rightsText({ readable, writable, user, executable }: Allowed): string {
  if (!(readable || writable || user || executable)) return "--- hidden";
  return `${readable ? "r" : "-"}${writable ? "w" : "-"}${executable ? "x" : "-"} ${user ? "user" : "kernel"}`;
}

/** Runs that differ in this alone are runs of their own: kernels without page-table isolation have it everywhere. */
function globalText({ global }: Pick<Rights, "global">): string {
  return global ? " global" : "";
}

/** One line of `translate`. */
export function translationText(result: Translation, { absent, zero }: TranslationMore = {}): string {
  const meaning = absent === undefined ? "" : absentText(absent);
  if (result.state !== undefined) {
    return `${hex16(result.virtual)}  ${failureText(result)}${meaning === "" ? "" : `: ${meaning}`}`;
  }
  const more = [...(meaning === "" ? [] : [meaning]), ...(zero === undefined ? [] : [ZERO_WORDS[zero]])];
  const line = `${hex16(result.virtual)}  ${hex16(result.physical)}  ${pageText(result.pageSize)}  ${rightsText(result)}`;
  return [line, ...more].join("  ");
}

const ZERO_WORDS = { page: "page of zeros", huge: "large page of zeros" } as const;

/** One line of `maps`. */
export function runText(run: MapRun, absent?: AbsentEntry): string {
  const range = `${hex16(run.start)}  ${hex16(run.end)}`;
  if (run.state !== undefined) {
    return `${range}  ${failureText(run)}${absent === undefined ? "" : `: ${absentText(absent)}`}`;
  }
  return `${range}  ${hex16(run.physical)}  ${pageText(run.pageSize)}  ${rightsText(run)}${globalText(run)}`;
}

/** The headings of {@link runText}. */
export const RUN_HEADING = "START               END (EXCLUSIVE)     PHYSICAL            PAGES  RIGHTS";

function pageText(pageSize: number): string {
  return bytesText(pageSize).padStart(5);
}

/** Why an address has no translation. */
export function failureText({ state, level, entry, cause }: Failure): string {
  const reason = reasonText({
    state,
    ...(level === 0 ? {} : { level }),
    ...(cause === undefined ? {} : { cause }),
  });
  // (Nothing points to a root.)
  const hasEntry = state !== "non-canonical" && !(state === "table-missing" && entry === 0n);
  return hasEntry ? `${reason}, entry ${hex(entry)}` : reason;
}

/** One line for each entry of `translate --walk`, indented. */
export function walkText(walk: Walk): string {
  return walk.steps.map((step) => `  ${stepText(step)}\n`).join("");
}

function stepText({ level, name, index, entryAddress, entry, present, absent, flags }: WalkStep): string {
  const at = entryAddress === undefined ? "in a register".padEnd(21) : `at ${hex16(entryAddress)}`;
  const where = `level ${level}  ${name.padEnd(5)}  [${String(index).padStart(3)}] ${at}`;
  const missing = `not present${absent === undefined ? "" : `: ${absentText(absent)}`}`;
  return `${where}  ${hex16(entry)}  ${present ? flagsText(flags) : missing}`;
}

function flagsText(flags: Rights & { readonly leaf: boolean; readonly malformed: boolean }): string {
  if (flags.malformed) return "malformed";
  return `${flags.leaf ? "maps a page" : "next table"}  ${rightsText(flags)}${flags.leaf ? globalText(flags) : ""}`;
}
