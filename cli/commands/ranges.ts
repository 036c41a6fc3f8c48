/** `maps` and `translate` of an address space that is a list of ranges: a process. */
import type { MappedRange } from "../../connectors/connectors.js";
import { MemtoolError } from "../../src/io/index.js";
import { RangeSpace } from "../../src/memory/index.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { readLines } from "../lines.js";
import { parseAddress } from "../parse.js";
import { countPages, pageAt, processOf } from "../process-pages.js";
import { toJson } from "../render/escape.js";
import {
  MAPPING_HEADING,
  MAPPING_PAGES_HEADING,
  type Mapping,
  mappedJson,
  mappedText,
  mappingJson,
  mappingText,
  partOf,
} from "../render/mapping.js";
import { hex } from "../render/numbers.js";
import { MAPPING_COLUMNS, MAPPING_PAGES_COLUMNS } from "../rows/map-columns.js";
import { writeRows } from "../rows/write-rows.js";
import type { Session } from "../session.js";

/** The mappings of a process as its system lists them, clipped. @returns the exit status. */
export async function rangeMaps(
  session: Session,
  space: RangeSpace<MappedRange>,
  start: bigint,
  end: bigint,
  counted: boolean,
): Promise<number> {
  const { out } = session;
  const process = counted ? processOf(session.machine) : undefined;
  if (counted && process === undefined) throw new UsageError("--pages is for processes (-c proc:1234)");
  const parts: Mapping[] = [...now(session, space).ranges()].flatMap((range) => {
    const from = range.start > start ? range.start : start;
    const to = range.end < end ? range.end : end;
    if (from >= to) return [];
    const part = partOf(range, from, to);
    return [process === undefined ? part : { ...part, pages: countPages(process, part) }];
  });
  if (session.rows !== undefined) {
    await writeRows(session, parts, counted ? MAPPING_PAGES_COLUMNS : MAPPING_COLUMNS);
    return EXIT.ok;
  }
  const json = session.options.json === true;
  if (!json && parts.length > 0)
    out.text(`${session.environment.style.heading(counted ? MAPPING_PAGES_HEADING : MAPPING_HEADING)}\n`);
  for (const part of parts) {
    out.text(json ? `${toJson(mappingJson(part))}\n` : `${mappingText(part)}\n`);
    await out.settle();
  }
  if (parts.length === 0 && !json) session.warn(`nothing is mapped from ${hex(start)} to ${hex(end)}`);
  return EXIT.ok;
}

/**
 * Where addresses of a process lead: the file and the offset in it, and the physical address, as far as its system
 * tells. @returns the exit status.
 */
export async function rangeTranslate(
  session: Session,
  space: RangeSpace<MappedRange>,
  addresses: readonly string[],
  stdin: boolean,
): Promise<number> {
  const process = processOf(session.machine);
  let good = false;
  let bad = false;
  let hidden = false;
  if (stdin) {
    if (addresses.length > 0)
      throw new UsageError("--stdin reads the addresses from standard input: give none as arguments");
    for await (const lines of readLines(session.environment.stdin)) {
      const list: bigint[] = [];
      for (const { text, number } of lines) {
        try {
          if (text === undefined) throw new UsageError("longer than 64 KiB");
          const line = text.trim();
          if (line !== "" && !line.startsWith("#")) list.push(await session.resolve(parseAddress(line)));
        } catch (error) {
          bad = true;
          session.report(error, `line ${number}: `);
        }
      }
      await answer(list);
    }
  } else {
    if (addresses.length === 0) throw new UsageError("no address: give one or more, or --stdin");
    const list: bigint[] = [];
    for (const text of addresses) list.push(await session.resolve(parseAddress(text)));
    await answer(list);
  }
  if (hidden) session.warn(`no physical addresses: ${process?.noFrames ?? "the system does not tell them"}`);
  return statusOf(good, bad);

  async function answer(list: readonly bigint[]): Promise<void> {
    const { out } = session;
    const current = now(session, space);
    for (const address of list) {
      const result = await current.translate(address);
      if (result.state === undefined) good = true;
      else bad = true;
      const page = process === undefined || result.state !== undefined ? undefined : pageAt(process, address);
      if (page?.page.state === "present" && page.physical === undefined) hidden = true;
      out.text(
        session.options.json === true
          ? `${toJson(mappedJson(result, page))}\n`
          : `${mappedText(result, page)}\n`,
      );
      await out.settle();
    }
    await out.flush();
  }
}

/** The space as it is now: asking the system once for all that is to be told. */
function now(session: Session, space: RangeSpace<MappedRange>): RangeSpace<MappedRange> {
  const ranges = space.ranges();
  if (ranges.length > 0) return new RangeSpace(space, ranges);
  throw new MemtoolError("GONE", `${session.machine.name}: nothing is mapped any more: it has exited`);
}
