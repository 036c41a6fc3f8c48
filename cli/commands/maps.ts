import { EXIT, statusOf, UsageError } from "../errors.js";
import { END_OF_SPACE, parseAddress, parseSize } from "../parse.js";
import { toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import { RUN_HEADING, runJson, runText } from "../render/translation.js";
import type { Session } from "../session.js";
import { rangeMaps } from "./ranges.js";
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
  const { ranges } = session.space;
  if (ranges !== undefined) return rangeMaps(session, ranges, start, end);
  const memory = pageTablesOf(session, "maps");
  if (start === end) return EXIT.ok;
  const json = session.options.json === true;
  const { out } = session;
  let good = false;
  let bad = false;
  for await (const run of memory.maps({ start, end })) {
    if (!json && !good && !bad) out.text(`${session.environment.style.heading(RUN_HEADING)}\n`);
    if (run.state === undefined) good = true;
    else bad = true;
    out.text(json ? `${toJson(runJson(run))}\n` : `${runText(run)}\n`);
    await out.settle();
  }
  if (!good && !bad && !json) session.warn(`nothing is mapped from ${hex(start)} to ${hex(end)}`);
  return statusOf(good, bad);
}
