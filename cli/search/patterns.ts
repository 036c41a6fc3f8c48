/** The patterns of `memtool search`, as typed. */
import type { SearchPattern } from "../../src/search/index.js";
import { PatternError } from "../../src/search/index.js";
import { UsageError } from "../errors.js";
import { parseAddress, parseSize } from "../parse.js";

/** Options as the command line has them. */
export interface SearchCommandOptions {
  readonly text?: readonly string[];
  readonly utf16?: readonly string[];
  readonly hex?: readonly string[];
  readonly regex?: readonly string[];
  readonly u32?: readonly string[];
  readonly u64?: readonly string[];
  readonly pointerTo?: readonly string[];
  readonly ignoreCase?: boolean;
  readonly align?: string;
  readonly limit?: string;
  readonly from?: string;
  readonly length?: string;
}

/** A pattern, and how people see it. */
export interface NamedPattern {
  readonly name: string;
  readonly pattern: SearchPattern;
}

/** @throws {UsageError} for one that can't be, or if there is none. */
export function patternsOf(options: SearchCommandOptions): NamedPattern[] {
  const { ignoreCase, align: alignText } = options;
  const align = alignText === undefined ? undefined : Number(parseSize(alignText));
  const named = (texts: readonly string[] = [], make: (text: string) => SearchPattern) =>
    texts.map((name) => ({ name, pattern: make(name) }));
  const list = [
    ...named(options.text, (text) => ({ text, ignoreCase })),
    ...named(options.utf16, (utf16) => ({ utf16, ignoreCase })),
    ...named(options.hex, (hex) => ({ hex })),
    ...named(options.regex, (text) => ({ regex: regexOf(text, ignoreCase) })),
    ...named(options.u32, (text) => ({ number: numberOf(text), size: 4, align })),
    ...named(options.u64, (text) => ({ number: numberOf(text), size: 8, align })),
    ...named(options.pointerTo, (text) => ({ pointerTo: rangeOf(text), align })),
  ];
  if (list.length === 0)
    throw new UsageError(
      "nothing to search for: --text, --utf16, --hex, --regex, --u32, --u64 or --pointer-to",
    );
  return list;
}

/** What a pattern that can't be is, on a command line. */
export function asUsage(error: unknown): unknown {
  return error instanceof PatternError ? new UsageError(error.message) : error;
}

function regexOf(text: string, ignoreCase: boolean | undefined): RegExp {
  try {
    return new RegExp(text, ignoreCase === true ? "is" : "s");
  } catch (error) {
    throw new UsageError(`--regex: ${(error as Error).message}`);
  }
}

function numberOf(text: string): bigint {
  const { base, offset } = parseAddress(text);
  if (typeof base === "string") throw new UsageError(`not a number: "${text.slice(0, 80)}" (0x… or decimal)`);
  return base + offset;
}

/** `START-END` (exclusive) or `ADDRESS+LENGTH`, as numbers. */
function rangeOf(text: string): { start: bigint; end: bigint } {
  const match = /^(\w+)([-+])(\w+)$/.exec(text);
  if (match === null)
    throw new UsageError(`--pointer-to ${text.slice(0, 80)}: START-END or ADDRESS+LENGTH, such as 0x1000+4K`);
  const start = numberOf(match[1] as string);
  const end = match[2] === "-" ? numberOf(match[3] as string) : start + parseSize(match[3] as string);
  return { start, end };
}
