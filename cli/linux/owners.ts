import { listOwners, ownerText, type PageOwner } from "../../src/linux/index.js";
import { readSpans, reverseTargets } from "../commands/reverse.js";
import { EXIT, UsageError } from "../errors.js";
import { hex } from "../render/numbers.js";
import type { CommandOptions, KernelCommand } from "./command.js";
import { exact } from "./files.js";
import { DamageSummary, type ListColumn, type ListValue, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<PageOwner>[] = [
  { field: "physical", title: "PHYSICAL", right: true, value: ({ physical }) => hex(physical) },
  { field: "kind", title: "KIND", value: ({ kind }) => kind },
  { field: "pid", title: "PID", right: true, value: pidOf },
  { field: "virtual", title: "VIRTUAL", right: true, value: virtualOf },
  { field: "what", title: "WHAT", value: ownerText },
  { field: "owner", value: detailsOf },
];

/** `memtool owners`. */
export const OWNERS: KernelCommand = {
  name: "owners",
  description: "who owns physical memory: processes and files, slabs, parts of the kernel, or nobody",
  arguments: [["[address...]", "physical addresses: 0x… or decimal"]],
  options: [
    ["--length <size>", "of ranges that begin at the addresses, page by page"],
    ["--stdin", "read addresses from standard input, one a line"],
  ],
  examples: ["owners 0x1f1f000", "owners 0x4000000 --length 64K"],
  check: (args, options) => {
    const { spans } = reverseTargets(args, wanted(options));
    checkRows(spans);
  },
  run: async ({ session, kernel, args, options }) => {
    const damage = new DamageSummary();
    let { spans, areRanges } = reverseTargets(args, wanted(options));
    let bad = false;
    if (options.stdin === true) ({ spans, bad } = await readSpans(session, wanted(options)));
    checkRows(spans, session.options.json === true ? MAX_PAGES : MAX_ROWS);
    const targets = areRanges ? spans : spans.map(({ start }) => start);
    const list = listOwners(kernel, targets, { onDamage: damage.add });
    const status = await showList(session, list, COLUMNS, damage, "no address: standard input has none");
    return bad && status === EXIT.ok ? EXIT.partial : status;
  },
};

function wanted(options: CommandOptions): { readonly length?: string; readonly stdin?: boolean } {
  return {
    ...(typeof options.length === "string" ? { length: options.length } : {}),
    ...(options.stdin === true ? { stdin: true } : {}),
  };
}

/** Pages of 4 KiB of all ranges that are answered in one run: 256 GiB; and in a table, which is made when all of it is known: 4 GiB. */
const MAX_PAGES = 2 ** 26;
const MAX_ROWS = 2 ** 20;

/** @throws {UsageError} for more pages than that. */
function checkRows(
  spans: readonly { readonly start: number; readonly end: number }[],
  most = MAX_PAGES,
): void {
  const pages = spans.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / 4096), 0);
  if (pages <= most) return;
  const hint = most < MAX_PAGES ? " in a table: --json has no need of one" : " at once";
  throw new UsageError(`${pages} pages are too many${hint} (${most} at most)`);
}

/** Null for what is no process's. */
function pidOf(owner: PageOwner): number | null | undefined {
  return "pid" in owner ? owner.pid : null;
}

function virtualOf(owner: PageOwner): bigint | null | undefined {
  return "virtual" in owner ? owner.virtual : null;
}

/** What is told of owners of its kind alone. */
function detailsOf({ physical: _, kind: __, ...owner }: PageOwner): ListValue {
  const { pid: ___, virtual: ____, ...details } = owner as Record<string, ListValue>;
  return "inode" in owner ? { ...details, inode: exact(owner.inode) } : details;
}
