import { type FoundRoot, type FoundRoots, formatsOf } from "../../src/paging/index.js";
import { EXIT, UsageError } from "../errors.js";
import { escapeText, toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import { type Column, table } from "../render/table.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import { findFormat, type Session } from "../session.js";

/** Options as the command line has them. */
export interface RootsCommandOptions {
  readonly all?: boolean;
}

/** `memtool roots`. @returns the exit status. */
export async function roots(session: Session, options: RootsCommandOptions): Promise<number> {
  const { machine, out } = session;
  const json = session.options.json === true;
  if (session.options.root !== undefined) {
    throw new UsageError("roots looks for roots by itself: leave out --root");
  }
  if (options.all === true && session.options.mmu !== undefined) {
    throw new UsageError("--all tries every format, and --mmu names one: give one of both");
  }
  if (options.all !== true) await findFormat(machine);
  const found = await machine.findRoots({ all: options.all });
  session.clearProgress();
  if (session.rows !== undefined) await writeRows(session, found.roots, rowColumns(found));
  else if (json) for (const root of found.roots) out.text(`${toJson(rootJson(root, found))}\n`);
  else if (found.roots.length > 0) out.text(rootsText(found, session.environment.style.heading));
  for (const warning of warningsOf(found, session)) session.warn(warning);
  return found.roots.length === 0 ? EXIT.failed : EXIT.ok;
}

function warningsOf(found: FoundRoots, { machine }: Session): string[] {
  const { mmu, certain, dropped } = found;
  const warnings: string[] = [];
  if (mmu === undefined) {
    const { architecture, otherMachine } = machine.notes ?? {};
    const tried = formatsOf(architecture ?? otherMachine).length;
    warnings.push(
      `nothing in RAM looks like a page-table root of ${tried === 0 ? "a known format" : "any format"}`,
    );
  } else if (!certain && machine.paging === undefined) {
    warnings.push(
      `no root maps a text that a Linux kernel's image has: ${mmu.name} is the likeliest format, no more (--mmu)`,
    );
  }
  const { kernel } = machine;
  // (A dump's own note is about its machine; a text in RAM may be one of before.)
  if (!certain && kernel?.origin.vmcoreinfo === "scan" && !kernel.origin.verified) {
    warnings.push(
      `${mmu?.name ?? "the format"} is what a VMCOREINFO in RAM says, and the kernel's page tables don't show whether it holds ` +
        "(--all tries every format)",
    );
  }
  if (dropped > 0) warnings.push(`${dropped} more places that look like roots were not looked at`);
  return warnings;
}

function rootJson(root: FoundRoot, { mmu }: FoundRoots): Record<string, unknown> {
  const { half, kind, score, reasons, userPages, counted } = root;
  return {
    root: hex(root.root),
    ...(half === undefined ? {} : { half }),
    format: mmu?.name,
    kind,
    score,
    ...(userPages === undefined ? {} : { userPages, counted }),
    reasons,
  };
}

function rowColumns({ mmu }: FoundRoots): readonly RowColumn<FoundRoot>[] {
  return [
    { field: "root", type: "address", value: ({ root }) => root },
    { field: "half", value: ({ half }) => half },
    { field: "format", value: () => mmu?.name },
    { field: "kind", value: ({ kind }) => kind },
    { field: "score", type: "number", value: ({ score }) => score },
    { field: "userPages", type: "integer", value: ({ userPages }) => userPages },
    { field: "counted", type: "boolean", value: ({ counted }) => counted },
    { field: "reasons", type: "json", value: ({ reasons }) => reasons },
  ];
}

const COLUMNS: readonly Column[] = [
  { title: "ROOT", right: true },
  { title: "KIND" },
  { title: "SCORE", right: true },
  { title: "USER PAGES", right: true },
  { title: "WHY" },
];

/** The table for people, with the format in front. */
function rootsText({ mmu, roots: list }: FoundRoots, heading: (text: string) => string): string {
  const rows = list.map(({ root, half, kind, score, userPages, counted, reasons }) => [
    hex(root),
    half === undefined ? kind : `${kind} (${half} half)`,
    String(score),
    userPages === undefined || userPages === 0 ? "" : `${counted ? "" : ">= "}${userPages}`,
    escapeText(reasons.join("; ")),
  ]);
  return `${heading(`page tables: ${mmu?.name}`)}\n${table(COLUMNS, rows)}`;
}
