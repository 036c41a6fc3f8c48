import {
  CHECK_NAMES,
  type Checked,
  type CheckName,
  type CheckNote,
  checkNamed,
  describeCheck,
  listChecked,
} from "../../src/linux/index.js";
import { statusOf, UsageError } from "../errors.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Checked>[] = [
  { field: "check", title: "CHECK", value: ({ check }) => check },
  {
    field: "severity",
    title: "SEVERITY",
    value: ({ severity }) => severity,
    cell: ({ severity }) => severity ?? "ok",
  },
  { field: "what", title: "WHAT", value: ({ what }) => what },
  { field: "address", type: "address", title: "ADDRESS", value: ({ address }) => address },
  { field: "expected", value: ({ expected }) => expected },
  { field: "found", type: "address", title: "FOUND", value: ({ found }) => found },
  {
    field: "owner",
    title: "OWNER",
    value: ({ owner }) => owner ?? null,
    cell: ({ owner, found }) => (found === null ? "" : owner === null ? "kernel" : owner),
  },
  // (An owner of null is the kernel itself only where this is true.)
  { field: "owned", type: "boolean", value: ({ owner }) => owner !== undefined },
  { field: "symbol", title: "SYMBOL", value: ({ symbol }) => symbol },
  { field: "evidence", title: "EVIDENCE", value: ({ evidence }) => evidence },
];

/** `memtool check`. */
export const CHECK: KernelCommand = {
  name: "check",
  description: `what hides in the kernel, each finding with its evidence: ${CHECK_NAMES.map((name) => `${name} (${describeCheck(name)})`).join("; ")}`,
  arguments: [["[what...]", `${CHECK_NAMES.join(", ")}; all by default`]],
  options: [["--all", "everything that was examined, not only findings"]],
  examples: ["check", "check syscalls modules"],
  check: (args) => {
    for (const name of args) {
      if (checkNamed(name) === undefined) {
        throw new UsageError(`no check is named "${name}"; there are ${CHECK_NAMES.join(", ")}`);
      }
    }
  },
  run: async ({ session, kernel, args, options }) => {
    const damage = new DamageSummary();
    const notes: CheckNote[] = [];
    const given = args.flatMap((name) => checkNamed(name) ?? []);
    const names: readonly CheckName[] = given.length === 0 ? CHECK_NAMES : [...new Set(given)];
    const checked = listChecked(kernel, names, {
      all: options.all === true,
      onDamage: damage.add,
      onNote: (note) => notes.push(note),
    });
    await showList(session, checked, COLUMNS, damage);
    for (const { check, told, text } of notes) session.warn(`${check}: ${told ? text : `not told: ${text}`}`);
    // A check of which nothing could be told is a part that is missing. (No findings are no failure.)
    const silent = names.filter((name) => !notes.some(({ check, told }) => told && check === name));
    return statusOf(silent.length < names.length, silent.length > 0 || damage.count > 0);
  },
};
