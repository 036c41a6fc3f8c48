/** What `memtool dump` is asked for. */
import { UsageError } from "../errors.js";
import { END_OF_SPACE, parseAddress, parseByte, parseSize } from "../parse.js";
import { escapeText } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import type { CommandOptions } from "./command.js";

/** Checked options of `dump`. */
export interface DumpOptions {
  /** `undefined`: as the process; "-": standard output. */
  readonly output: string | undefined;
  readonly format: "elf" | "raw";
  /** Addresses of which the mapped range is asked for. */
  readonly vmas: readonly bigint[];
  readonly ranges: readonly { readonly start: bigint; readonly end: bigint }[];
  readonly force: boolean;
  /** Whether a core has cached pages of files that the process has not in its page tables. */
  readonly pageCache: boolean;
  /** Raw: what becomes of bytes that could not be read; `undefined`: an error. */
  readonly holes: { readonly fill: number } | "skip" | "sparse" | undefined;
}

/** @throws {UsageError} */
export function dumpOptions(options: CommandOptions): DumpOptions {
  const output = options.output as string | undefined;
  const format = (options.format ?? "elf") as string;
  if (format !== "elf" && format !== "raw")
    throw new UsageError(`--format ${escapeText(format)}: one of elf, raw`);
  if (output === "") throw new UsageError("--output: the name of the file is empty");
  if (output === "-" && format === "elf")
    throw new UsageError(
      "a core is written in any order: to a file, not to standard output (--format raw can)",
    );
  const vmas = listOf(options.vma).map(addressOf);
  const ranges = listOf(options.range).flatMap(rangesOf);
  if (format === "raw" && vmas.length === 0 && ranges.length === 0)
    throw new UsageError(
      "--format raw has no place for what lies between ranges: say which, with --vma or --range",
    );
  const ways = ["fill", "skipHoles", "sparse"].filter((name) => options[name] !== undefined);
  if (ways.length > 1) throw new UsageError("--fill, --skip-holes and --sparse exclude each other");
  if (ways.length > 0 && format === "elf")
    throw new UsageError(
      "--fill, --skip-holes and --sparse are for --format raw: a core has holes of its own",
    );
  if (options.pageCache === false && format === "raw")
    throw new UsageError(
      "--no-page-cache is for cores: --format raw has only what the process's page tables have",
    );
  if (options.sparse === true && (output === undefined || output === "-"))
    throw new UsageError("--sparse leaves holes in a file: name one with --output");
  return {
    output,
    format,
    vmas,
    ranges,
    force: options.force === true,
    pageCache: options.pageCache !== false,
    holes:
      options.fill !== undefined
        ? { fill: parseByte(String(options.fill)) }
        : options.skipHoles === true
          ? "skip"
          : options.sparse === true
            ? "sparse"
            : undefined,
  };
}

function listOf(value: unknown): readonly string[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [String(value)];
}

function addressOf(text: string): bigint {
  const { base, offset } = parseAddress(text);
  if (typeof base === "bigint") return base + offset;
  throw new UsageError(`--vma ${text}: an address of the process, 0x… or decimal (symbols are the kernel's)`);
}

/** `START-END,START+LENGTH,…`, ends exclusive. */
function rangesOf(text: string): { readonly start: bigint; readonly end: bigint }[] {
  return text.split(",").map((part) => {
    const match = /^([^-+]+)([-+])([^-+]+)$/.exec(part);
    if (match === null)
      throw new UsageError(
        `--range ${text}: "${part}" is no range (START-END or START+LENGTH, as 0x1000-0x3000)`,
      );
    const start = parseSize(match[1] as string);
    const second = parseSize(match[3] as string);
    const end = match[2] === "+" ? start + second : second;
    if (end > END_OF_SPACE) throw new UsageError(`--range ${text}: "${part}" ends beyond 2^64`);
    if (start >= end)
      throw new UsageError(
        `--range ${text}: ${hex(end)} is not behind ${hex(start)}: ranges are START-END, the end exclusive`,
      );
    return { start, end };
  });
}
