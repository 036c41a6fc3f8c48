import type { ProcessSource } from "../../connectors/connectors.js";
import { MemtoolError, type SourceIo } from "../../src/io/index.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { END_OF_SPACE, parseAddress, parseSize } from "../parse.js";
import { toJson } from "../render/escape.js";
import { MAPPING_HEADING, type Mapping, mappingJson, mappingText } from "../render/mapping.js";
import { hex } from "../render/numbers.js";
import { RUN_HEADING, runJson, runText } from "../render/translation.js";
import type { Session } from "../session.js";
import { describeEntry, noteSwapped } from "../swapped.js";
import { pageTablesOf } from "./translate.js";

/** Options as the command line has them. */
export interface MapsCommandOptions {
  readonly length?: string;
}

/** `memtool maps`. @returns the exit status. */
export async function maps(
  session: Session,
  address: string | undefined,
  options: MapsCommandOptions,
): Promise<number> {
  if (address === undefined && options.length !== undefined)
    throw new UsageError("--length needs an ADDRESS to begin at");
  const start = address === undefined ? 0n : await session.resolve(parseAddress(address));
  const end = options.length === undefined ? END_OF_SPACE : start + parseSize(options.length);
  if (end > END_OF_SPACE) {
    throw new UsageError(`${address}: the range crosses the end of the address space (2^64)`);
  }
  if (session.machine.physical === undefined) return processMaps(session, start, end);
  const memory = pageTablesOf(session, "maps");
  if (start === end) return EXIT.ok;
  const json = session.options.json === true;
  const { out } = session;
  let good = false;
  let bad = false;
  for await (const run of memory.maps({ start, end })) {
    if (!json && !good && !bad) out.text(`${session.environment.style.heading(RUN_HEADING)}\n`);
    // A page in a swap area is a mapping like others; only its bytes are not in RAM.
    if (run.state === undefined || run.state === "swapped") good = true;
    else bad = true;
    const absent = run.state === "swapped" ? describeEntry(memory, run.level, run.entry) : undefined;
    out.text(json ? `${toJson(runJson(run, absent))}\n` : `${runText(run, absent)}\n`);
    if (absent !== undefined) noteSwapped(session, run.start, absent);
    await out.settle();
  }
  if (!good && !bad && !json) session.warn(`nothing is mapped from ${hex(start)} to ${hex(end)}`);
  return statusOf(good, bad);
}

/** A process has no page tables to see; what the system says of its mappings. */
async function processMaps(session: Session, start: bigint, end: bigint): Promise<number> {
  const { out } = session;
  const json = session.options.json === true;
  const maps = mappingsOf(session.machine.source);
  if (maps.length === 0) {
    throw new MemtoolError("GONE", `${session.machine.name}: nothing is mapped any more: it has exited`);
  }
  let found = false;
  for (const map of maps) {
    const from = map.start > start ? map.start : start;
    const to = map.end < end ? map.end : end;
    if (from >= to) continue;
    if (!json && !found) out.text(`${session.environment.style.heading(MAPPING_HEADING)}\n`);
    found = true;
    const skipped = map.inode === undefined || map.inode === 0 ? 0n : from - map.start;
    const part = { ...map, start: from, end: to, offset: map.offset + skipped };
    out.text(json ? `${toJson(mappingJson(part))}\n` : `${mappingText(part)}\n`);
    await out.settle();
  }
  if (!found && !json) session.warn(`nothing is mapped from ${hex(start)} to ${hex(end)}`);
  return EXIT.ok;
}

/** The mappings as the connector knows them; ranges alone where it knows no more. */
function mappingsOf({ source, ranges }: SourceIo): readonly Mapping[] {
  if ("maps" in source) return (source as ProcessSource).maps();
  return [...ranges].map(({ start, end }) => ({ start: BigInt(start), end: BigInt(end), offset: 0n }));
}
