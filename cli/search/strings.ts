/** `memtool strings`: texts in memory, as they come. */
import { hex } from "../../src/io/index.js";
import { type FoundString, STRING_ENCODINGS, type StringEncoding, strings } from "../../src/search/index.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { DamageSummary } from "../linux/listing.js";
import { parseSize } from "../parse.js";
import { escapeText } from "../render/escape.js";
import { type RowColumn, writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";
import { grepTexts } from "./grep.js";
import { Holes } from "./holes.js";
import { withOwners } from "./owned.js";
import { type HitOwner, HitOwners } from "./owners.js";
import { checkPlaces, limitOf, type PlaceOptions } from "./place-options.js";
import { type Place, placesOf } from "./places.js";
import { Stopping } from "./stopping.js";

/** Texts whose owners are asked for together. */
const BATCH = 16_384;

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
  { field: "physical", type: "address", value: ({ physical }) => physical },
  { field: "virtual", type: "address", value: ({ virtual }) => virtual },
  { field: "pid", type: "integer", value: ({ pid }) => pid },
  { field: "owner", value: ({ owner }) => owner },
  { field: "kind", value: ({ kind }) => kind },
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
  const damage = new DamageSummary();
  const owners = options.owners === true ? new HitOwners(session, true, damage.add) : undefined;
  const holes = new Holes();
  const wanted = stringsWanted(options);
  const stopping = new Stopping(session);
  const rows = rowsOf(session, options, wanted, owners, holes, damage, stopping);
  const { count, misfits } = session.isForPrograms
    ? await writeRows(session, rows, COLUMNS)
    : { count: await printLines(session, rows, options, wanted), misfits: 0 };
  session.clearProgress();
  await session.out.flush();
  stopping.report();
  holes.report(session);
  damage.report(session);
  if (count === 0) {
    if (!stopping.isStopped) session.warn("nothing was found");
    return EXIT.failed;
  }
  const isPart = stopping.isStopped || owners?.failed === true || damage.count > 0 || misfits > 0;
  return statusOf(true, holes.isFailure || isPart);
}

async function* rowsOf(
  session: Session,
  options: StringsCommandOptions,
  { min, encodings, grep, limit }: StringsWanted,
  owners: HitOwners | undefined,
  holes: Holes,
  damage: DamageSummary,
  stopping: Stopping,
): AsyncGenerator<Row> {
  let left = limit;
  for await (const place of placesOf(session, options, damage.add)) {
    const onProgress = (at: bigint) => {
      if (place.end > 0) session.progress("looking for texts", at, place.end);
    };
    const found = strings(place.space, {
      min,
      encodings,
      ranges: place.ranges,
      onHole: holes.add,
      onProgress,
    });
    let batch: FoundString[] = [];
    for await (const each of stopping.over(grepTexts(found, grep))) {
      left--;
      if (owners === undefined) yield { ...each, ...whereIn(place, each) };
      else batch.push(each);
      if (left === 0) break;
      if (owners !== undefined && batch.length === BATCH) {
        yield* withOwners(owners, place, batch);
        batch = [];
      }
    }
    if (owners !== undefined) yield* withOwners(owners, place, batch);
    if (left === 0 || stopping.isStopped) return;
  }
}

/** What is known of a text's place without looking anything up. */
function whereIn({ virtual, space, task, ownEnd = 0n }: Place, { address }: FoundString): HitOwner {
  const isPhysical = virtual === undefined && "map" in space;
  return {
    physical: isPhysical ? BigInt(address) : null,
    virtual: isPhysical ? null : address,
    pid: address < ownEnd ? (task?.pid ?? null) : null,
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
    const who = [row?.kind, row?.owner].filter((each) => each !== null && each !== "").join("  ");
    cells.push(cell("OWNER", who === "" ? "?" : escapeText(who), 0).padEnd(32));
  }
  // (A tab is text here; all else that a terminal would obey is escaped.)
  const text = row?.text.split("\t").map(escapeText).join("\t");
  return `${[...cells, text ?? "TEXT"].join("  ")}${row?.continues === true ? "…" : ""}\n`;
}
