import {
  findMappings,
  type PhysicalSpan,
  type ReverseResult,
  type Root,
  rootName,
} from "../../src/paging/index.js";
import { statusOf, UsageError } from "../errors.js";
import { readLines } from "../lines.js";
import { parsePhysical, parseSize } from "../parse.js";
import { toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import { reverseHeading, reverseJson, reverseText } from "../render/reverse.js";
import { runText } from "../render/translation.js";
import { rootsOf } from "../roots.js";
import type { Session } from "../session.js";
import { pageTablesOf, TOO_LONG, type TranslateCommandOptions } from "./translate.js";

/** What `translate --reverse` looks for: addresses, each for itself, or ranges. */
interface Wanted {
  readonly spans: readonly PhysicalSpan[];
  readonly areRanges: boolean;
}

/** Lines on standard error for what was not found, and for what could not be looked at; the rest is counted. */
const LISTED = 16;

/** Physical addresses as typed, and the length of each range. @throws {UsageError} */
export function reverseTargets(addresses: readonly string[], options: TranslateCommandOptions): Wanted {
  if (options.walk === true)
    throw new UsageError("--walk shows the way to a virtual address: not with --reverse");
  if (options.stdin === true) {
    if (addresses.length > 0)
      throw new UsageError("--stdin reads the addresses from standard input: give none as arguments");
  } else if (addresses.length === 0) throw new UsageError("no address: give one or more, or --stdin");
  const areRanges = options.length !== undefined;
  const length = options.length === undefined ? 1n : parseSize(options.length);
  if (length === 0n) throw new UsageError("--length: a range of no bytes is mapped nowhere");
  return { spans: addresses.map((text) => spanAt(parsePhysical(text), length, text)), areRanges };
}

function spanAt(start: number, length: bigint, text: string): PhysicalSpan {
  const end = BigInt(start) + length;
  if (end > 1n << 53n) throw new UsageError(`${text}: the range goes beyond 2^53`);
  return { start, end: Number(end) };
}

/** `memtool translate --reverse`. @returns the exit status. */
export async function reverse(
  session: Session,
  addresses: readonly string[],
  options: TranslateCommandOptions,
): Promise<number> {
  const memory = pageTablesOf(session, "translate");
  const wanted = reverseTargets(addresses, options);
  const { areRanges } = wanted;
  let bad = false;
  let { spans } = wanted;
  if (options.stdin === true) {
    const read = await readSpans(session, options);
    bad = read.bad;
    spans = read.spans;
  }
  const own = { root: memory.roots, from: session.space.name };
  const roots =
    options.allRoots === true ? (await rootsOf(session.machine, own)).map(({ root }) => root) : undefined;
  session.clearProgress();
  const targets = areRanges ? spans : spans.map(({ start }) => start);
  const results =
    roots === undefined
      ? memory.reverse(targets as PhysicalSpan[])
      : findMappings(
          // All made alike, so that what they share is seen.
          roots.map((root) => session.machine.addressSpace(root)),
          targets as PhysicalSpan[],
        );
  const found = new Found(spans);
  const untold = new Untold();
  const { out, environment } = session;
  const json = session.options.json === true;
  for await (const result of results) {
    if (result.state !== undefined) {
      untold.add(result, roots);
      if (json) out.text(`${toJson(reverseJson(result, areRanges, roots))}\n`);
    } else {
      if (!json && !found.any) {
        out.text(`${environment.style.heading(reverseHeading(areRanges, roots))}\n`);
      }
      found.mark(result.physical, result.physical + result.length);
      out.text(
        json
          ? `${toJson(reverseJson(result, areRanges, roots))}\n`
          : `${reverseText(result, areRanges, roots)}\n`,
      );
    }
    await out.settle();
  }
  const missing = found.missing();
  if (json) {
    for (const { start, end } of missing) {
      const what = areRanges ? { start: hex(start), end: hex(end) } : { physical: hex(start) };
      out.text(`${toJson({ ...what, mappings: 0 })}\n`);
      await out.settle();
    }
  } else {
    await out.flush();
    reportMissing(session, missing, areRanges, roots);
  }
  untold.report(session);
  return statusOf(found.any, bad || untold.count > 0 || missing.length > 0);
}

/** Addresses from standard input, a line each; lines that are none are reported. */
export async function readSpans(
  session: Session,
  options: TranslateCommandOptions,
): Promise<{ spans: PhysicalSpan[]; bad: boolean }> {
  const length = options.length === undefined ? 1n : parseSize(options.length);
  const spans: PhysicalSpan[] = [];
  let bad = false;
  for await (const lines of readLines(session.environment.stdin)) {
    for (const line of lines) {
      try {
        if (line.text === undefined) throw new UsageError(TOO_LONG);
        const text = line.text.trim();
        if (text !== "" && !text.startsWith("#")) spans.push(spanAt(parsePhysical(text), length, text));
      } catch (error) {
        bad = true;
        session.report(error, `line ${line.number}: `);
      }
    }
  }
  return { spans, bad };
}

/** Which of what was asked for is mapped, in part at least. */
class Found {
  /** Ascending by start. */
  readonly #spans: readonly PhysicalSpan[];
  readonly #found: Uint8Array;
  /** The most bytes of a span. */
  readonly #longest: number;
  any = false;

  constructor(spans: readonly PhysicalSpan[]) {
    this.#spans = [...spans].sort((a, b) => a.start - b.start);
    this.#found = new Uint8Array(spans.length);
    this.#longest = spans.reduce((longest, { start, end }) => Math.max(longest, end - start), 0);
  }

  /** Notes that a range is mapped. */
  mark(start: number, end: number): void {
    this.any = true;
    for (let i = this.#firstFrom(start - this.#longest); i < this.#spans.length; i++) {
      const span = this.#spans[i] as PhysicalSpan;
      if (span.start >= end) break;
      if (span.end > start) this.#found[i] = 1;
    }
  }

  /** Index of the first span that begins at `address` or above. */
  #firstFrom(address: number): number {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#spans[middle] as PhysicalSpan).start >= address) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** What is mapped nowhere, ascending, each once. */
  missing(): PhysicalSpan[] {
    return this.#spans.filter(
      ({ start }, i) => this.#found[i] === 0 && (i === 0 || this.#spans[i - 1]?.start !== start),
    );
  }
}

function reportMissing(
  session: Session,
  missing: readonly PhysicalSpan[],
  areRanges: boolean,
  roots: readonly Root[] | undefined,
): void {
  if (missing.length === 0) return;
  const { name } = session.space;
  const own = name === "kernel" ? "of the kernel" : `of ${name}`;
  const where = roots === undefined ? own : `in any of ${roots.length} roots`;
  const lines = missing
    .slice(0, LISTED)
    .map(({ start, end }) => (areRanges ? `${hex(start)} to ${hex(end)}` : hex(start)));
  if (missing.length > LISTED) lines.push(`and ${missing.length - LISTED} more`);
  if (missing.length === 1) session.warn(`no virtual address ${where} maps ${lines[0]}`);
  else session.warn(`no virtual address ${where} maps:`, lines);
}

/** Parts of address spaces that could not be looked at. */
class Untold {
  count = 0;
  readonly #lines: string[] = [];

  add(result: ReverseResult, roots: readonly Root[] | undefined): void {
    this.count++;
    if (this.#lines.length >= LISTED || result.state === undefined) return;
    this.#lines.push(runText(result) + (roots === undefined ? "" : `, root ${rootName(result.root)}`));
  }

  report(session: Session): void {
    if (this.count === 0) return;
    const lines = [...this.#lines];
    if (this.count > LISTED) lines.push(`and ${this.count - LISTED} more`);
    const ranges = this.count === 1 ? "a range" : `${this.count} ranges`;
    session.warn(`${ranges} of virtual addresses could not be looked at (ends are exclusive):`, lines);
  }
}
