/**
 * `npm run bench`: see docs/performance.md. Each group runs in a process of its own, so that what V8 learns from the
 * rows of one does not speed up or slow down another.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { compilerVersion } from "./c-programs.js";
import { setGuestSize } from "./dumps/kinds.js";
import { GROUPS } from "./groups/index.js";
import { measureGroup } from "./measure.js";
import { MARKDOWN, TEXT } from "./report.js";
import type { Group, Measured, Row } from "./row.js";
import { readRows } from "./saved-rows.js";

const { values } = parseArgs({
  options: {
    group: { type: "string" },
    only: { type: "string" },
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    from: { type: "string" },
    gib: { type: "string", default: "1" },
    markdown: { type: "boolean", default: false },
  },
});

const { only, json } = values;
if (!/^[1-9]\d{0,2}$/.test(values.gib)) {
  console.error(`--gib ${values.gib}: the size of the guest whose dumps are measured, in whole GiB`);
  process.exit(2);
}
setGuestSize(Number(values.gib));
const isWanted = (row: Row) => only === undefined || row.name.toLowerCase().includes(only.toLowerCase());
const chosen = GROUPS.filter(({ name }) => values.group === undefined || values.group === name);
if (chosen.length === 0) {
  console.error(`no group "${values.group}"; there are ${GROUPS.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}
const wanted = chosen.filter(({ rows }) => rows.some(isWanted));
if (wanted.length === 0) {
  console.error(`no row has "${only}" in its name; --list shows all`);
  process.exit(2);
}
const { heading, line, summary } = values.markdown ? MARKDOWN : TEXT;
const compiler = compilerVersion();
if (values.list) {
  for (const { name, rows } of wanted)
    for (const row of rows.filter(isWanted)) console.log(`${name}\t${row.name}`);
} else if (values.from !== undefined) {
  let rows: Measured[];
  try {
    rows = readRows(values.from);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  }
  for (const group of wanted) {
    const measured = rows.filter((row) => row.group === group.name);
    say(heading(group));
    for (const row of measured) say(line(row));
    sumUp(group, measured);
  }
} else if (values.group === undefined) {
  say(
    `Node ${process.version}, ${compiler ?? "no gcc: the limits in C, and the ratios to them, are left out"}`,
  );
  const [script = ""] = process.argv.slice(1);
  for (const { name } of wanted) {
    const args = [...process.execArgv, script, ...process.argv.slice(2), "--group", name];
    const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
    if (status !== 0) process.exitCode = 1;
  }
} else {
  for (const group of wanted) {
    const measured: Measured[] = [];
    say(heading(group));
    const patience = values.quick ? { time: 100, samples: 3 } : { time: 800, samples: 5 };
    await measureGroup(group, isWanted, compiler !== undefined, patience, {
      measured: (row) => {
        measured.push(row);
        console.log(json ? JSON.stringify(row) : line(row));
      },
      skipped: (row) => say(`${row.name}: left out here`),
      failed: (row, error) => {
        console.error(`${row.name}: failed:`, error);
        process.exitCode = 1;
      },
    });
    sumUp(group, measured);
  }
}

function sumUp(group: Group, measured: readonly Measured[]): void {
  const lines = group.summary?.(measured) ?? [];
  if (lines.length !== 0) say(summary(lines));
}

/** For people only: `--json` is rows and nothing else. */
function say(text: string): void {
  if (!json) console.log(text);
}
