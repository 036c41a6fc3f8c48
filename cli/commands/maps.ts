import type { MapArea, MapRun, VirtualMemory, VirtualRange } from "../../src/paging/index.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { noteIsolation } from "../page-table-isolation.js";
import { END_OF_SPACE, parseAddress, parseRoot, parseSize } from "../parse.js";
import { checkPicturePath } from "../picture-file.js";
import { AREA_HEADING, areaJson, areaText } from "../render/area.js";
import { toJson } from "../render/escape.js";
import { within } from "../render/numbers.js";
import { RUN_HEADING, runJson, runText } from "../render/translation.js";
import { AREA_COLUMNS, RUN_COLUMNS } from "../rows/map-columns.js";
import { writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";
import { describeEntry, noteSwapped } from "../swapped.js";
import { mapsDiff } from "./maps-diff.js";
import { mapsPicture } from "./maps-picture.js";
import { mapsSummary } from "./maps-summary.js";
import { rangeMaps } from "./ranges.js";
import { pageTablesOf } from "./translate.js";

/** Options as the command line has them. */
export interface MapsCommandOptions {
  readonly length?: string;
  readonly rights?: boolean;
  readonly wx?: boolean;
  readonly pages?: boolean;
  readonly summary?: boolean;
  readonly diff?: string;
  readonly svg?: string;
  readonly output?: string;
}

/** Views of a space that exclude each other. */
const VIEWS = ["rights", "summary", "diff", "svg"] as const;

/** What can be told of options before the target is opened. @throws {UsageError} */
export function checkMapsOptions(address: string | undefined, options: MapsCommandOptions): void {
  if (address === undefined && options.length !== undefined)
    throw new UsageError("--length needs an ADDRESS to begin at");
  const [view, other] = VIEWS.filter((name) => options[name] !== undefined);
  if (other !== undefined) throw new UsageError(`--${view} and --${other} exclude each other`);
  if (options.pages === true && (view !== undefined || options.wx === true))
    throw new UsageError(`--pages and --${view ?? "wx"} exclude each other`);
  if (options.wx === true && view !== undefined && view !== "rights")
    throw new UsageError(`--wx and --${view} exclude each other`);
  if (options.output !== undefined && view !== undefined && view !== "rights") {
    throw new UsageError(`--output is for lists of runs and areas: leave out --${view}, or take --json`);
  }
  if (options.diff !== undefined) parseRoot(options.diff);
  if (options.svg === "") throw new UsageError("--svg: the name of the file is empty");
}

/** `memtool maps`. @returns the exit status. */
export async function maps(
  session: Session,
  address: string | undefined,
  options: MapsCommandOptions,
): Promise<number> {
  checkMapsOptions(address, options);
  if (options.svg !== undefined) checkPicturePath(session, options.svg);
  const start = address === undefined ? 0n : await session.resolve(parseAddress(address));
  const end = options.length === undefined ? END_OF_SPACE : start + parseSize(options.length);
  if (end > END_OF_SPACE) {
    throw new UsageError(`${address}: the range crosses the end of the address space (2^64)`);
  }
  const { ranges } = session.space;
  const view = VIEWS.find((name) => options[name] !== undefined) ?? (options.wx === true ? "wx" : undefined);
  if (ranges !== undefined && view === undefined)
    return rangeMaps(session, ranges, start, end, options.pages === true);
  if (options.pages === true) throw new UsageError("--pages is for processes (-c proc:1234)");
  const memory = pageTablesOf(session, view === undefined ? "maps" : `maps --${view}`);
  await noteIsolation(session, memory);
  const range = { start, end };
  if (options.summary === true) return mapsSummary(session, memory, range);
  if (options.diff !== undefined) return mapsDiff(session, memory, parseRoot(options.diff), range);
  if (options.svg !== undefined) return mapsPicture(session, memory, range, options.svg);
  if (start === end) return EXIT.ok;
  return listMaps(session, memory, range, options);
}

/** Whether it may be both written to and executed. */
function isWx(run: MapRun | MapArea): boolean {
  return run.state === undefined && run.writable && run.executable;
}

/** A run or an area as JSON and as text. (Areas have no entry that could be described.) */
function linesOf(
  session: Session,
  memory: VirtualMemory,
  run: MapRun | MapArea,
): readonly [Record<string, unknown>, string] {
  if (!("physical" in run) && !("entry" in run)) return [areaJson(run), areaText(run)];
  if (run.state !== "swapped") return [runJson(run), runText(run)];
  const absent = describeEntry(memory, run.level, run.entry);
  if (absent !== undefined) noteSwapped(session, run.start, absent);
  return [runJson(run, absent), runText(run, absent)];
}

/** Runs, or areas; with `--wx` in two passes, so that nothing need be kept. */
async function listMaps(
  session: Session,
  memory: VirtualMemory,
  range: VirtualRange,
  { rights, wx }: MapsCommandOptions,
): Promise<number> {
  const { out } = session;
  const { style } = session.environment;
  const seen = { good: false, bad: false, wx: false };
  const runs = wantedRuns(memory, range, { rights: rights === true, wx: wx === true }, seen);
  if (session.rows !== undefined) {
    await writeRows(session, runs, rights === true ? AREA_COLUMNS : RUN_COLUMNS);
    return statusOf(seen.good, seen.bad);
  }
  const json = session.options.json === true;
  let isFirst = true;
  for await (const run of runs) {
    if (!json && isFirst) out.text(`${style.heading(rights === true ? AREA_HEADING : RUN_HEADING)}\n`);
    isFirst = false;
    const line = linesOf(session, memory, run);
    if (json) out.text(`${toJson(line[0])}\n`);
    else out.text(wx === true && isWx(run) ? `${style.missing(line[1] as string)}\n` : `${line[1]}\n`);
    await out.settle();
  }
  if (!json && wx === true && !seen.wx)
    session.warn(`nothing is both writable and executable${within(range)}`);
  if (!json && isFirst) session.warn(`nothing is mapped${within(range)}`);
  return statusOf(seen.good, seen.bad);
}

/** What is listed, in its order; `seen` is told what was among it. */
async function* wantedRuns(
  memory: VirtualMemory,
  range: VirtualRange,
  { rights, wx }: { readonly rights: boolean; readonly wx: boolean },
  seen: { good: boolean; bad: boolean; wx: boolean },
): AsyncGenerator<MapRun | MapArea, void, void> {
  const passes = wx ? [isWx, (run: MapRun | MapArea) => !isWx(run)] : [() => true];
  for (const isWanted of passes) {
    for await (const run of rights ? memory.areas(range) : memory.maps(range)) {
      if (!isWanted(run)) continue;
      // (Of what is swapped out, that is known.)
      if (run.state === undefined || run.state === "swapped") seen.good = true;
      else seen.bad = true;
      if (isWx(run)) seen.wx = true;
      yield run;
    }
  }
}
