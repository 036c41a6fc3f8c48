/** What is searched for. */
import { MemtoolError } from "../io/errors.js";
import { encodeUtf8 } from "../memory/text.js";
import { regexContext } from "./regex-matcher.js";

/** Longest literal, in bytes. */
const MAX_LITERAL = 65_536;
/** Longest match of a regular expression unless it is told, and at most, in bytes. */
const REGEX_LENGTH = 256;
const MAX_REGEX_LENGTH = 65_536;

/**
 * Something to search for.
 *
 * - `hex`: bytes as two digits each, `?` for any nibble, `??` for any byte; spaces are fine. All hits, overlapping ones too.
 * - `text`, `utf16`: a string's bytes as UTF-8, or UTF-16 (little-endian unless told). `ignoreCase` is of ASCII letters.
 * - `regex`: over bytes as characters U+0000 to U+00FF; hits do not overlap. Flags: `i`, `s`, `m`. `^` and `$` are where readable memory
 *   begins and ends (with `m`, lines too), look-around sees `maxLength` bytes at least (default 256, at most 64 KiB), and never does it
 *   matter how memory is read. Of a match that is longer, what matches within `maxLength` bytes is the hit; none is, if the expression
 *   has `$`, `\b`, `\B` or looks ahead. JavaScript backtracks, so an expression such as `(a+)+b` may take forever: in Node, the error
 *   `REGEX_TIME`, with the `address` that it came to, comes after 10 seconds for 1 MiB; elsewhere, search in a worker that you can end.
 * - `number`: an integer of `size` bytes in the target's byte order, at multiples of `align` (default: its size).
 * - `pointerTo`: a pointer of the target's size and order whose value lies in the range, at multiples of `align` (default: its size).
 */
export type SearchPattern =
  | { readonly hex: string }
  | { readonly text: string; readonly ignoreCase?: boolean | undefined }
  | {
      readonly utf16: string;
      readonly ignoreCase?: boolean | undefined;
      readonly bigEndian?: boolean | undefined;
    }
  | { readonly regex: RegExp; readonly maxLength?: number | undefined }
  | { readonly number: number | bigint; readonly size: 2 | 4 | 8; readonly align?: number | undefined }
  | {
      readonly pointerTo: { readonly start: number | bigint; readonly end: number | bigint };
      readonly align?: number | undefined;
    };

/** A pattern that can't be searched for: code `BAD_PATTERN`. */
export class PatternError extends MemtoolError {
  constructor(message: string) {
    super("BAD_PATTERN", message);
  }
}

/** Bytes and which bits of them count. @internal */
export interface Literal {
  readonly kind: "literal";
  readonly values: Uint8Array;
  readonly masks: Uint8Array;
  readonly align: number;
}

/** An expression, and the longest match. @internal */
export interface RegexPattern {
  readonly kind: "regex";
  readonly regex: RegExp;
  readonly length: number;
}

/** Aligned pointers, `end` exclusive. @internal */
export interface PointerRange {
  readonly kind: "pointer";
  readonly size: 4 | 8;
  readonly littleEndian: boolean;
  readonly align: number;
  readonly start: bigint;
  readonly end: bigint;
}

/** @internal */
export type CompiledPattern = Literal | RegexPattern | PointerRange;

/** Checks a pattern, for a target. @throws {PatternError} @internal */
export function compilePattern(
  pattern: SearchPattern,
  abi: { readonly littleEndian: boolean; readonly pointerSize: 4 | 8 },
): CompiledPattern {
  if ("hex" in pattern) return literalOfHex(pattern.hex);
  if ("text" in pattern) return literal(encodeUtf8(pattern.text), pattern.ignoreCase ? 1 : 0);
  if ("utf16" in pattern) {
    const { utf16, bigEndian = false, ignoreCase } = pattern;
    const bytes = new Uint8Array(utf16.length * 2);
    for (let i = 0; i < utf16.length; i++) put(bytes, 2 * i, BigInt(utf16.charCodeAt(i)), 2, !bigEndian);
    return literal(bytes, ignoreCase ? 2 : 0, bigEndian ? 1 : 0);
  }
  if ("regex" in pattern) return compileRegex(pattern.regex, pattern.maxLength ?? REGEX_LENGTH);
  if ("number" in pattern) {
    const { size } = pattern;
    const value = BigInt(pattern.number);
    const bits = BigInt(8 * size);
    if (value < -(1n << (bits - 1n)) || value >= 1n << bits)
      throw new PatternError(`${value} does not fit ${size} bytes`);
    const bytes = new Uint8Array(size);
    put(bytes, 0, BigInt.asUintN(8 * size, value), size, abi.littleEndian);
    return { ...literal(bytes, 0), align: checkAlign(pattern.align ?? size) };
  }
  const start = BigInt(pattern.pointerTo.start);
  const end = BigInt(pattern.pointerTo.end);
  if (start < 0n || end <= start || end > 1n << 64n)
    throw new PatternError(`no range to point to: ${start} to ${end}`);
  const size = abi.pointerSize;
  const align = checkAlign(pattern.align ?? size);
  return { kind: "pointer", size, littleEndian: abi.littleEndian, align, start, end };
}

/** Bytes before and behind its first one that a match may depend on. @internal */
export function contextOf(pattern: CompiledPattern): { readonly before: number; readonly behind: number } {
  if (pattern.kind === "literal") return { before: 0, behind: pattern.values.length - 1 };
  if (pattern.kind === "pointer") return { before: 0, behind: pattern.size - 1 };
  const context = regexContext(pattern.length);
  return { before: context, behind: context };
}

function checkAlign(align: number): number {
  if (Number.isInteger(align) && align >= 1 && align <= 4096) return align;
  throw new PatternError(`not an alignment: ${align} (1 to 4096 bytes)`);
}

function put(bytes: Uint8Array, at: number, value: bigint, size: number, little: boolean): void {
  for (let i = 0; i < size; i++)
    bytes[at + (little ? i : size - 1 - i)] = Number((value >> BigInt(8 * i)) & 255n);
}

/** @param unit Of letters whose case is ignored: bytes of a code unit; 0 for none. `lead`: which byte of a unit has the letter. */
function literal(values: Uint8Array, unit: 0 | 1 | 2, lead = 0): Literal {
  checkLength(values.length);
  const masks = new Uint8Array(values.length).fill(255);
  for (let i = 0; unit > 0 && i < values.length; i += unit) {
    const at = i + lead;
    const isAscii = unit === 1 || values[i + 1 - lead] === 0;
    const upper = (values[at] as number) & 0xdf;
    if (!isAscii || upper < 65 || upper > 90) continue;
    values[at] = upper;
    masks[at] = 0xdf;
  }
  return { kind: "literal", values, masks, align: 1 };
}

function checkLength(length: number): void {
  if (length === 0) throw new PatternError("an empty pattern is everywhere: give one byte at least");
  if (length > MAX_LITERAL) throw new PatternError(`a pattern of ${length} bytes: at most ${MAX_LITERAL}`);
}

function literalOfHex(text: string): Literal {
  const digits = text.replace(/\s+/g, "");
  const wrong = /[^0-9a-fA-F?]/.exec(digits);
  if (wrong !== null) throw new PatternError(`not hex: "${wrong[0]}" (two digits a byte, ? for any digit)`);
  if (digits.length % 2 !== 0) throw new PatternError(`${digits.length} hex digits: bytes take two each`);
  checkLength(digits.length / 2);
  const nibble = (i: number) => (digits[i] === "?" ? 0 : Number.parseInt(digits[i] as string, 16));
  const mask = (i: number) => (digits[i] === "?" ? 0 : 15);
  const each = (of: (i: number) => number) =>
    Uint8Array.from({ length: digits.length / 2 }, (_, i) => of(2 * i) * 16 + of(2 * i + 1));
  if (!/[^?]/.test(digits))
    throw new PatternError("nothing but wildcards is everywhere: give one digit at least");
  return { kind: "literal", values: each(nibble), masks: each(mask), align: 1 };
}

function compileRegex(regex: RegExp, length: number): CompiledPattern {
  if (/[uvyd]/.test(regex.flags))
    throw new PatternError(`regular expression with flags ${regex.flags}: i, s and m only`);
  if (!(Number.isInteger(length) && length >= 1 && length <= MAX_REGEX_LENGTH))
    throw new PatternError(`matches of ${length} bytes: 1 to ${MAX_REGEX_LENGTH}`);
  return { kind: "regex", regex, length };
}
