/** The patterns of `memtool search`, as typed. */
import { PatternError, type SearchPattern } from "../../src/search/index.js";
import { compilePattern } from "../../src/search/patterns.js";
import { UsageError } from "../errors.js";
import { type AddressExpression, parseAddress, parseSize } from "../parse.js";
import { checkPlaces, limitOf, type PlaceOptions } from "./place-options.js";

/** Options as the command line has them. */
export interface SearchCommandOptions extends PlaceOptions {
  readonly text?: readonly string[];
  readonly utf16?: readonly string[];
  readonly hex?: readonly string[];
  readonly regex?: readonly string[];
  readonly u32?: readonly string[];
  readonly u64?: readonly string[];
  readonly pointerTo?: readonly string[];
  readonly ignoreCase?: boolean;
  readonly align?: string;
  readonly context?: string;
  /** False with `--no-owners`. */
  readonly owners?: boolean;
}

/** A pattern, and how people see it. */
export interface NamedPattern {
  readonly name: string;
  /** Pointers may be to a symbol, which is looked up once the target is open. */
  readonly make: (resolve: (expression: AddressExpression) => Promise<bigint>) => Promise<SearchPattern>;
}

/** What is asked for. */
export interface SearchWanted {
  readonly patterns: readonly NamedPattern[];
  /** Hits. */
  readonly limit: number;
  /** Bytes to show around each. */
  readonly context: number;
  /** Whether a symbol is among what is asked for. */
  readonly usesSymbols: boolean;
}

/** Bytes around a hit: some screens. */
const MAX_CONTEXT = 4096n;

/** @throws {UsageError} before the target is opened. */
export function searchWanted(options: SearchCommandOptions): SearchWanted {
  const { from, context } = options;
  checkPlaces(options);
  const most = limitOf(options);
  const around = context === undefined ? 0n : parseSize(context);
  if (around > MAX_CONTEXT) throw new UsageError(`--context ${context}: at most ${MAX_CONTEXT} bytes`);
  checkUse(options);
  const pointers = (options.pointerTo ?? []).map(pointedTo);
  const bases = [
    ...pointers.flatMap(({ start, end }) => [start, end]),
    from === undefined ? from : parseAddress(from),
  ];
  return {
    patterns: [...plainPatterns(options), ...pointers.map((each) => pointerPattern(each, options))],
    limit: most,
    context: Number(around),
    usesSymbols: bases.some((each) => typeof each === "object" && typeof each.base === "string"),
  };
}

/** @throws {UsageError} for what would change nothing. */
function checkUse({
  align,
  ignoreCase,
  text,
  utf16,
  regex,
  u32,
  u64,
  pointerTo,
}: SearchCommandOptions): void {
  if (align !== undefined && (u32 ?? u64 ?? pointerTo) === undefined)
    throw new UsageError("--align is for --u32, --u64 and --pointer-to");
  if (ignoreCase === true && (text ?? utf16 ?? regex) === undefined)
    throw new UsageError("--ignore-case is for --text, --utf16 and --regex");
}

function plainPatterns(options: SearchCommandOptions): NamedPattern[] {
  const { ignoreCase } = options;
  const align = alignOf(options);
  const named = (texts: readonly string[] = [], make: (text: string) => SearchPattern) =>
    texts.map((name) => {
      const pattern = make(name);
      checkPattern(pattern);
      return { name, make: async () => pattern };
    });
  const list = [
    ...named(options.text, (text) => ({ text, ignoreCase })),
    ...named(options.utf16, (utf16) => ({ utf16, ignoreCase })),
    ...named(options.hex, (hex) => ({ hex })),
    ...named(options.regex, (text) => ({ regex: regexOf(text, ignoreCase) })),
    ...named(options.u32, (text) => ({ number: numberOf(text), size: 4, align })),
    ...named(options.u64, (text) => ({ number: numberOf(text), size: 8, align })),
  ];
  if (list.length === 0 && (options.pointerTo ?? []).length === 0)
    throw new UsageError(
      "nothing to search for: --text, --utf16, --hex, --regex, --u32, --u64 or --pointer-to",
    );
  return list;
}

function alignOf({ align }: SearchCommandOptions): number | undefined {
  return align === undefined ? undefined : Number(parseSize(align));
}

/** @throws {UsageError} for a pattern that can't be, whatever the target. */
function checkPattern(pattern: SearchPattern): void {
  try {
    compilePattern(pattern, { littleEndian: true, pointerSize: 8 });
  } catch (error) {
    throw error instanceof PatternError ? new UsageError(error.message) : error;
  }
}

function regexOf(text: string, ignoreCase: boolean | undefined): RegExp {
  try {
    return new RegExp(text, ignoreCase === true ? "is" : "s");
  } catch (error) {
    throw new UsageError(`--regex: ${(error as Error).message}`);
  }
}

function numberOf(text: string): bigint {
  const negative = /^-(?=\d)/.test(text);
  const { base, offset } = parseAddress(negative ? text.slice(1) : text);
  if (typeof base === "string") throw new UsageError(`not a number: "${text.slice(0, 80)}" (0x… or decimal)`);
  return negative ? -(base + offset) : base + offset;
}

/** What pointers are to lead to, as typed. */
interface PointedTo {
  readonly name: string;
  readonly start: AddressExpression;
  /** Exclusive, or the bytes from `start` on. */
  readonly end: AddressExpression | bigint;
}

/** `ADDRESS`, `START-END` (exclusive) or `ADDRESS+LENGTH`; each address may be a symbol. */
function pointedTo(name: string): PointedTo {
  const [, start, sign, rest] = /^([^+-]+)([-+])(.+)$/.exec(name) ?? [];
  if (start === undefined) return { name, start: parseAddress(name), end: 1n };
  const end = sign === "-" ? parseAddress(rest as string) : parseSize(rest as string);
  if (end === 0n) throw new UsageError(`--pointer-to ${name.slice(0, 80)}: no byte is in that range`);
  return { name, start: parseAddress(start), end };
}

function pointerPattern({ name, start, end }: PointedTo, options: SearchCommandOptions): NamedPattern {
  const align = alignOf(options);
  // (Without symbols, both ends are known before the target is opened.)
  const first = withoutSymbol(start);
  const last = typeof end === "bigint" ? (first === undefined ? first : first + end) : withoutSymbol(end);
  const known =
    first === undefined || last === undefined ? { start: 0, end: 1 } : { start: first, end: last };
  checkPattern({ pointerTo: known, align });
  return {
    name: `pointer to ${name}`,
    async make(resolve) {
      const from = await resolve(start);
      const to = typeof end === "bigint" ? from + end : await resolve(end);
      const pattern = { pointerTo: { start: from, end: to }, align };
      checkPattern(pattern);
      return pattern;
    },
  };
}

/** The address; `undefined` where a symbol is part of it. */
function withoutSymbol({ base, offset }: AddressExpression): bigint | undefined {
  return typeof base === "string" ? undefined : base + offset;
}
