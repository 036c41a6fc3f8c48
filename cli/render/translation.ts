import type {
  MappedAddress,
  MapRun,
  Rights,
  Translation,
  UnmappedAddress,
  Walk,
  WalkStep,
} from "../../src/paging/index.js";
import { reasonText } from "./hole.js";
import { bytesText, hex, hex16 } from "./numbers.js";

/** One line of `translate --json`. */
export function translationJson(result: Translation, walk?: Walk): Record<string, unknown> {
  const steps = walk === undefined ? {} : { walk: walk.steps.map(stepJson) };
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
export function runJson(run: MapRun): Record<string, unknown> {
  const range = { start: hex(run.start), end: hex(run.end) };
  if (run.state !== undefined) return { ...range, ...failureJson(run) };
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
  const { level, name, index, entryAddress, entry, present, flags } = step;
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
  };
}

/** `rwx user`, `r-- kernel`. */
export function rightsText({ readable, writable, user, executable }: Allowed): string {
  return `${readable ? "r" : "-"}${writable ? "w" : "-"}${executable ? "x" : "-"} ${user ? "user" : "kernel"}`;
}

/** Runs that differ in this alone are runs of their own: kernels without page-table isolation have it everywhere. */
function globalText({ global }: Pick<Rights, "global">): string {
  return global ? " global" : "";
}

/** One line of `translate`. */
export function translationText(result: Translation): string {
  if (result.state !== undefined) return `${hex16(result.virtual)}  ${failureText(result)}`;
  return `${hex16(result.virtual)}  ${hex16(result.physical)}  ${pageText(result.pageSize)}  ${rightsText(result)}`;
}

/** One line of `maps`. */
export function runText(run: MapRun): string {
  const range = `${hex16(run.start)}  ${hex16(run.end)}`;
  if (run.state !== undefined) return `${range}  ${failureText(run)}`;
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
  return state === "non-canonical" ? reason : `${reason}, entry ${hex(entry)}`;
}

/** One line for each entry of `translate --walk`, indented. */
export function walkText(walk: Walk): string {
  return walk.steps.map((step) => `  ${stepText(step)}\n`).join("");
}

function stepText({ level, name, index, entryAddress, entry, present, flags }: WalkStep): string {
  const at = entryAddress === undefined ? "in a register".padEnd(21) : `at ${hex16(entryAddress)}`;
  const where = `level ${level}  ${name.padEnd(5)}  [${String(index).padStart(3)}] ${at}`;
  return `${where}  ${hex16(entry)}  ${present ? flagsText(flags) : "not present"}`;
}

function flagsText(flags: Rights & { readonly leaf: boolean; readonly malformed: boolean }): string {
  if (flags.malformed) return "malformed";
  return `${flags.leaf ? "maps a page" : "next table"}  ${rightsText(flags)}${flags.leaf ? globalText(flags) : ""}`;
}
