import {
  CONVERT_FORMATS,
  type ConvertFormat,
  type ConvertOptions,
  type ConvertSummary,
  convert as convertMachine,
} from "../../connectors/connectors.js";
import { MemtoolError } from "../../src/io/index.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { parseSize } from "../parse.js";
import { escapeText, toJson } from "../render/escape.js";
import { bytesText, hex } from "../render/numbers.js";
import { fields } from "../render/table.js";
import type { Session } from "../session.js";

/** Options as the command line has them. */
export interface ConvertCommandOptions {
  readonly output?: string;
  readonly to?: string;
  readonly compress?: string;
  readonly exclude?: string;
  readonly keep?: readonly string[];
  readonly force?: boolean;
  readonly verify?: boolean;
}

/** Ranges that are listed on standard error. */
const LISTED = 16;

/** What to write, and how. @throws {UsageError} */
export function convertOptions(
  path: string | undefined,
  options: ConvertCommandOptions,
): { readonly path: string; readonly options: ConvertOptions } {
  const { output, to, compress, exclude, keep } = options;
  if (path !== undefined && output !== undefined) {
    throw new UsageError(`two files to write: give ${path} or --output ${output}`);
  }
  const target = path ?? output;
  if (target === undefined || target === "") {
    throw new UsageError("no file to write: memtool convert FILE, with -f or -c for what to read");
  }
  if (target === "-") {
    throw new UsageError("convert writes to a file, in any order: not to standard output");
  }
  if (to !== undefined && !CONVERT_FORMATS.includes(to as ConvertFormat)) {
    throw new UsageError(`--to ${to}: one of ${CONVERT_FORMATS.join(", ")}`);
  }
  if (compress !== undefined && !["none", "zlib", "zstd"].includes(compress)) {
    throw new UsageError(`--compress ${compress}: one of none, zlib, zstd`);
  }
  if (exclude !== undefined && exclude !== "zero") throw new UsageError(`--exclude ${exclude}: only zero`);
  return {
    path: target,
    options: {
      to: to as ConvertFormat | undefined,
      compress: compress as ConvertOptions["compress"],
      exclude,
      keep: keep?.flatMap(parseRanges),
      force: options.force,
      verify: options.verify,
    },
  };
}

/** `START-END,START-END,…`, ends exclusive; `START+LENGTH` too. @throws {UsageError} */
function parseRanges(text: string): { readonly start: number; readonly end: number }[] {
  return text.split(",").map((part) => {
    const match = /^([^-+]+)([-+])([^-+]+)$/.exec(part);
    if (match === null) {
      throw new UsageError(
        `--keep ${text}: "${part}" is no range (START-END or START+LENGTH, as 1M-0x200000)`,
      );
    }
    const start = Number(parseSize(match[1] as string));
    const second = Number(parseSize(match[3] as string));
    const end = match[2] === "+" ? start + second : second;
    if (end > Number.MAX_SAFE_INTEGER) {
      throw new UsageError(`--keep ${text}: "${part}" ends beyond 2^53, the highest physical address`);
    }
    if (!(start < end)) {
      throw new UsageError(
        `--keep ${text}: "${part}" is no range: its end is not behind its start (ends are exclusive)`,
      );
    }
    return { start, end };
  });
}

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** `memtool convert`. @returns the exit status. */
export async function convert(session: Session, path: string, options: ConvertOptions): Promise<number> {
  const { machine, out } = session;
  const stop = new AbortController();
  let interrupted = 0;
  const handlers = Object.entries(SIGNALS).map(([name, status]) => {
    const handler = () => {
      // Who asks twice does not want to wait for what is under way.
      if (interrupted !== 0) process.exit(status);
      interrupted = status;
      stop.abort();
    };
    process.on(name, handler);
    return () => process.off(name, handler);
  });
  let summary: ConvertSummary;
  try {
    summary = await convertMachine(machine, path, {
      ...options,
      signal: stop.signal,
      onProgress: (what, done, total) => session.progress(what, done, total),
    });
  } catch (error) {
    if (interrupted === 0 || !(error instanceof MemtoolError)) throw error;
    session.warn(`interrupted: ${path} was not written`);
    return interrupted;
  } finally {
    for (const off of handlers) off();
  }
  session.clearProgress();
  report(session, summary);
  out.text(session.options.json === true ? `${toJson(jsonOf(summary))}\n` : summaryText(summary));
  return summary.failed > 0 ? statusOf(true, true) : EXIT.ok;
}

/** What the new dump lacks, on standard error. */
function report(session: Session, summary: ConvertSummary): void {
  for (const warning of summary.warnings) session.warn(warning);
  if (summary.failed === 0) return;
  const lines = summary.failedRanges
    .slice(0, LISTED)
    .map(
      ({ start, end, state }) => `${hex(start)} to ${hex(end)}  ${bytesText(end - start)}  ${String(state)}`,
    );
  if (summary.failedRangeCount > lines.length) {
    lines.push(`and ${summary.failedRangeCount - lines.length} more ranges`);
  }
  session.warn(
    `${bytesText(summary.failed)} could not be read, and are missing in the new dump (ends are exclusive):`,
    lines,
  );
}

/** What `convert --json` prints: addresses are strings. */
function jsonOf({ failedRanges, ...summary }: ConvertSummary): object {
  return {
    ...summary,
    failedRanges: failedRanges.map(({ start, end, state }) => ({ start: hex(start), end: hex(end), state })),
  };
}

function summaryText(summary: ConvertSummary): string {
  const { format, compress, size, allocated, present, zeroExcluded, failed, verified } = summary;
  const text = (bytes: number) => (bytes === 0 ? undefined : bytesText(bytes));
  return fields([
    ["wrote", escapeText(summary.path)],
    [
      "format",
      compress === undefined
        ? format
        : `${format}, pages ${compress === "none" ? "not compressed" : `compressed with ${compress}`}`,
    ],
    ["size", `${bytesText(size)}${allocated < size ? `, ${bytesText(allocated)} on disk` : ""}`],
    ["present", bytesText(present)],
    ["zeros left out", text(zeroExcluded)],
    ["excluded", excludedText(summary)],
    ["unreadable", text(failed)],
    [
      "verified",
      verified === undefined
        ? undefined
        : `read back and compared: ${bytesText(verified.bytes)}, ${verified.ranges} ranges`,
    ],
  ]);
}

function excludedText({ excludedBy }: ConvertSummary): string | undefined {
  const parts = Object.entries(excludedBy).map(
    ([reason, bytes]) => `${bytesText(bytes)}${reason === "unknown" ? "" : ` ${reason}`}`,
  );
  return parts.length === 0 ? undefined : parts.join(", ");
}
