/** `memtool diff`: what changed from one target to another. */

import { MemtoolError } from "../../src/io/index.js";
import {
  COMPARED,
  type ComparedName,
  type ComparedPart,
  describeBoots,
  diffMachines,
  KernelNotFoundError,
  type MachineDifference,
} from "../../src/linux/index.js";
import { statusOf, UsageError } from "../errors.js";
import { DamageSummary, type ListColumn, PID_COLUMN, showList } from "../linux/listing.js";
import { changeText, factsOf, fieldsOf } from "../render/changes.js";
import { fields as fieldLines } from "../render/table.js";
import type { RowChoice } from "../rows/choice.js";
import { type Environment, type GlobalOptions, Session, targetNamed } from "../session.js";

/** Options as the command line has them. */
export interface DiffCommandOptions {
  readonly only?: string;
  readonly pages?: boolean;
}

/** What to compare. */
export interface WantedDiff {
  /** Options of each target. */
  readonly targets: readonly [before: GlobalOptions, after: GlobalOptions];
  readonly only: readonly ComparedName[];
  readonly pages: boolean;
}

/** Both targets: two arguments, or one for the second where -f or -c (or the environment) names the first. @throws {UsageError} */
export function diffWanted(
  args: readonly string[],
  options: DiffCommandOptions,
  globals: GlobalOptions,
): WantedDiff {
  for (const [name, value] of [
    ["--pid", globals.pid],
    ["--root", globals.root],
    ["--physical", globals.physical],
    ["--write", globals.write],
  ]) {
    if (value !== undefined) throw new UsageError(`diff compares whole machines: leave out ${name}`);
  }
  if (args.includes("")) throw new UsageError("diff: the name of a target is empty");
  const isGiven = globals.file !== undefined || globals.connector !== undefined;
  if (isGiven && args.length === 2) {
    throw new UsageError("three targets: diff BEFORE AFTER, or diff AFTER with -f or -c for the first");
  }
  const [first, second] = args;
  if (first === undefined) {
    throw new UsageError(
      "no target to compare with: diff BEFORE AFTER, each a dump or a connector (NAME:TARGET)",
    );
  }
  const { file: _file, connector: _connector, ...rest } = globals;
  const named = (text: string): GlobalOptions => {
    const target = targetNamed(text);
    return typeof target === "string" ? { ...rest, file: [target] } : { ...rest, ...target };
  };
  const before = second === undefined ? globals : named(first);
  return {
    targets: [before, named(second ?? first)],
    only: onlyOf(options.only),
    pages: options.pages === true,
  };
}

/** @throws {UsageError} */
function onlyOf(text: string | undefined): readonly ComparedName[] {
  if (text === undefined) return COMPARED;
  const names = text.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!(COMPARED as readonly string[]).includes(name)) {
      throw new UsageError(`--only ${text}: "${name}" is none of ${COMPARED.join(", ")}`);
    }
  }
  return names as ComparedName[];
}

const COLUMNS: readonly ListColumn<MachineDifference>[] = [
  { field: "kind", title: "KIND", value: ({ kind }) => kind },
  { field: "change", title: "CHANGE", value: ({ change }) => change },
  PID_COLUMN,
  { field: "what", title: "WHAT", value: ({ what }) => what },
  {
    field: "fields",
    type: "json",
    title: "FROM, TO",
    value: fieldsOf,
    cell: (difference) => fieldsOf(difference).map(changeText).join(", "),
  },
  {
    field: "before",
    type: "json",
    value: ({ kind, before }) => factsOf(kind, before),
  },
  { field: "after", type: "json", value: ({ kind, after }) => factsOf(kind, after) },
  { field: "note", title: "NOTE", value: ({ note }) => note, cell: ({ note }) => note ?? "" },
];

const NAMES: Readonly<Record<string, string>> = {
  process: "processes",
  module: "modules",
  file: "open files",
  socket: "sockets",
  mount: "mounts",
  text: "bytes of text",
  "cached-file": "pages of cached files",
  pages: "pages of physical memory",
};

/** Runs it over both targets. @returns the exit status. */
export async function diff(
  { targets, only, pages }: WantedDiff,
  environment: Environment,
  rows: RowChoice | undefined,
): Promise<number> {
  const needsKernel = only.some((name) => name !== "pages");
  const purpose = needsKernel ? "kernel" : "info";
  const openOne = (side: "first" | "second", target: GlobalOptions) =>
    ofSide(side, () => Session.open({ ...target, rows }, environment, purpose));
  const before = await openOne("first", targets[0]);
  try {
    const after = await openOne("second", targets[1]);
    try {
      if (needsKernel) {
        await ofSide("first", () => before.machine.linux());
        await ofSide("second", () => after.machine.linux());
      }
      before.clearProgress();
      return after.endStatus(before.endStatus(await compare(before, after, only, pages)));
    } catch (error) {
      throw after.whyOf(before.whyOf(error));
    } finally {
      await after.close();
    }
  } finally {
    await before.close();
  }
}

/** What goes wrong with one of the targets says which, as damage does. */
async function ofSide<T>(side: "first" | "second", work: () => PromiseLike<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${side}: ${error.message}`);
    if (!(error instanceof MemtoolError)) throw error;
    // (What else one would do without a kernel, `diff` refuses.)
    const message =
      error instanceof KernelNotFoundError
        ? `${error.message.replace(/[;:] use --physical, .*$/, "")} (--only pages compares memory without one)`
        : error.message;
    throw new MemtoolError(error.code, `${side}: ${message}`, { cause: error.cause });
  }
}

async function compare(
  before: Session,
  after: Session,
  only: readonly ComparedName[],
  pages: boolean,
): Promise<number> {
  const damage = new DamageSummary();
  const parts: ComparedPart[] = [];
  const counts = new Map<string, number>();
  let related = "";
  const differences = diffMachines(before.machine, after.machine, {
    only,
    pages,
    onBoots: (boots) => {
      related = describeBoots(boots);
      if (boots.sameBoot !== true || before.isForPrograms) before.warn(related);
    },
    onPart: (part) => parts.push(part),
    onDamage: damage.add,
    onProgress: (done, total) => before.progress("comparing pages", done, total),
  });
  const counted = (async function* () {
    for await (const each of differences) {
      const key = `${each.kind} ${each.change}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
      yield each;
    }
  })();
  const status = await showList(before, counted, COLUMNS, damage);
  const missing = parts.filter(
    ({ why, notCompared, compared }) => why !== "" && (notCompared > 0 || compared === 0),
  );
  if (before.isForPrograms) {
    const told = missing.map((part) => `${NAMES[part.kind]}: ${notComparedText(part)}`);
    if (told.length > 0) before.warn("not everything was compared:", told);
  } else {
    if (counts.size > 0) before.out.text("\n");
    before.out.text(summaryText(related, parts, counts));
  }
  const isNothing = parts.length > 0 && parts.every(({ compared }) => compared === 0);
  return statusOf(!isNothing && status !== 1, status !== 0 || missing.some(({ compared }) => compared === 0));
}

function summaryText(
  related: string,
  parts: readonly ComparedPart[],
  counts: ReadonlyMap<string, number>,
): string {
  const lines: [string, string | undefined][] = [["compared", related === "" ? undefined : related]];
  for (const part of parts) {
    const { kind, compared } = part;
    const changes = (["appeared", "gone", "changed"] as const).flatMap((change) => {
      const count = counts.get(`${kind} ${change}`);
      return count === undefined ? [] : [`${count} ${change}`];
    });
    const unit = kind === "text" ? " (functions)" : kind === "cached-file" ? " (files)" : "";
    const found = changes.length === 0 ? "no difference" : `${changes.join(", ")}${unit}`;
    const more = part.why === "" ? "" : `; ${notComparedText(part)}`;
    lines.push([
      NAMES[kind] ?? kind,
      `${compared} compared: ${kind === "pages" && changes.length > 0 ? "see above" : found}${more}`,
    ]);
  }
  return fieldLines(lines);
}

function notComparedText({ notCompared, why }: ComparedPart): string {
  return notCompared === 0 ? why : `${notCompared} not compared: ${why}`;
}
