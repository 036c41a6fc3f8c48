/** `memtool strings`: texts in memory, as they come. */
import { hex } from "../../src/io/index.js";
import { type FoundString, STRING_ENCODINGS, type StringEncoding, strings } from "../../src/search/index.js";
import { UsageError } from "../errors.js";
import { parseSize } from "../parse.js";
import { escapeText } from "../render/escape.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";
import { grepTexts } from "./grep.js";
import { Limit } from "./limit.js";
import { OWNER_COLUMNS, ownerText, withOwners } from "./owned.js";
import { type HitOwner, HitOwners } from "./owners.js";
import { checkPlaces, limitOf, type PlaceOptions } from "./place-options.js";
import { barOf, type Place, placesOf } from "./places.js";
import { Unseen } from "./unseen.js";

/** Options as the command line has them. */
export interface StringsCommandOptions extends PlaceOptions {
  readonly min?: string;
  readonly encoding?: readonly string[];
  readonly grep?: string;
  readonly ignoreCase?: boolean;
  readonly owners?: boolean;
}

interface StringsWanted {
  readonly min: number;
  readonly encodings: readonly StringEncoding[];
  readonly grep: RegExp | undefined;
  readonly limit: number;
}

/** A text, and whose it is. */
interface Row extends FoundString, HitOwner {}

const COLUMNS: readonly RowColumn<Row>[] = [
  ...OWNER_COLUMNS,
  { field: "encoding", value: ({ encoding }) => encoding },
  { field: "length", type: "integer", value: ({ length }) => length },
  { field: "continues", type: "boolean", value: ({ continues }) => continues },
  { field: "text", value: ({ text }) => text },
];

/** @throws {UsageError} before the target is opened. */
export function stringsWanted(options: StringsCommandOptions): StringsWanted {
  checkPlaces(options);
  const min = options.min === undefined ? 4 : Number(parseSize(options.min));
  if (min < 1 || min > 4096) throw new UsageError(`--min ${options.min}: 1 to 4096 characters`);
  const names = (options.encoding ?? ["ascii", "utf16le"]).flatMap((list) => list.split(","));
  const encodings = names.map((name) => {
    const found = STRING_ENCODINGS.find((each) => each === name.toLowerCase().replace("-", ""));
    if (found !== undefined) return found;
    throw new UsageError(`--encoding ${name.slice(0, 80)}: one of ${STRING_ENCODINGS.join(", ")}`);
  });
  return { min, encodings, grep: grepOf(options), limit: limitOf(options) };
}

function grepOf({ grep, ignoreCase }: StringsCommandOptions): RegExp | undefined {
  if (grep === undefined) {
    if (ignoreCase === true) throw new UsageError("--ignore-case is for --grep");
    return undefined;
  }
  try {
    return new RegExp(grep, ignoreCase === true ? "iu" : "u");
  } catch (error) {
    throw new UsageError(`--grep: ${(error as Error).message}`);
  }
}

/** @returns the exit status. */
export async function stringsCommand(session: Session, options: StringsCommandOptions): Promise<number> {
  const wanted = stringsWanted(options);
  const unseen = new Unseen(session);
  const owners = options.owners === true ? new HitOwners(session, true, unseen.damage.add) : undefined;
  const rows = rowsOf(session, options, wanted, owners, unseen);
  const { count, misfits } = session.isForPrograms
    ? await writeRows(session, rows, COLUMNS)
    : { count: await printLines(session, rows, options, wanted), misfits: 0 };
  return await unseen.report(count, "nothing was found", owners?.failed === true || misfits > 0);
}

async function* rowsOf(
  session: Session,
  options: StringsCommandOptions,
  { min, encodings, grep, limit: most }: StringsWanted,
  owners: HitOwners | undefined,
  { damage, holes, stopping }: Unseen,
): AsyncGenerator<Row> {
  const limit = new Limit(most);
  for await (const place of placesOf(session, options, damage.add)) {
    const found = strings(place.space, {
      min,
      encodings,
      ranges: place.ranges,
      onHole: holes.add,
      onProgress: barOf(session, place, "looking for texts"),
    });
    const texts = limit.over(stopping.over(grepTexts(found, grep)));
    if (owners !== undefined) yield* withOwners(owners, place, texts);
    else for await (const each of texts) yield { ...each, ...whereIn(place, each) };
    if (limit.isReached || stopping.isStopped) return;
  }
}

/** What is known of a text's place without looking anything up. */
function whereIn({ virtual, space, task, ownEnd = 0n, mappings }: Place, { address }: FoundString): HitOwner {
  const isPhysical = virtual === undefined && "map" in space;
  return {
    physical: isPhysical ? BigInt(address) : null,
    virtual: isPhysical ? null : address,
    pid: (address < ownEnd ? task?.pid : mappings?.pid) ?? null,
    kind: null,
    owner: null,
  };
}

/** Lines for people. @returns how many. */
async function printLines(
  session: Session,
  rows: AsyncIterable<Row>,
  options: StringsCommandOptions,
  { encodings }: StringsWanted,
): Promise<number> {
  const { out } = session;
  let count = 0;
  for await (const row of rows) {
    session.clearProgress();
    if (count === 0) out.text(lineOf(undefined, options, encodings.length > 1));
    out.text(lineOf(row, options, encodings.length > 1));
    count++;
    await out.settle();
  }
  return count;
}

/** A line; without a row, the heading. */
function lineOf(
  row: Row | undefined,
  { owners, allProcesses }: StringsCommandOptions,
  withEncoding: boolean,
): string {
  const cell = (title: string, value: string | undefined, width: number) =>
    (row === undefined ? title : (value ?? "")).padStart(width);
  const address = (value: bigint | null | undefined) =>
    value === null || value === undefined ? "" : hex(value);
  const cells: string[] = [];
  if (owners === true) {
    cells.push(cell("PHYSICAL", address(row?.physical), 14), cell("VIRTUAL", address(row?.virtual), 18));
  } else cells.push(cell("ADDRESS", address(row?.virtual ?? row?.physical), 18));
  if (owners === true || allProcesses === true) cells.push(cell("PID", row?.pid?.toString(), 7));
  if (withEncoding) cells.push(cell("ENCODING", row?.encoding, 0).padEnd(8));
  if (owners === true) {
    cells.push((row === undefined ? "OWNER" : ownerText(row)).padEnd(32));
  }
  // (A tab is text here; all else that a terminal would obey is escaped.)
  const text = row?.text.split("\t").map(escapeText).join("\t");
  return `${[...cells, text ?? "TEXT"].join("  ")}${row?.continues === true ? "…" : ""}\n`;
}
