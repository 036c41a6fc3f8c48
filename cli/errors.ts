import { MemtoolError } from "../src/io/index.js";

/** Exit statuses, as `--help` documents them. */
export const EXIT = {
  /** Everything that was asked for was read (or written, translated, found). */
  ok: 0,
  /** Nothing of it was. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** Some of it was, some was not. */
  partial: 3,
} as const;

/** The command line is wrong; the message says what is, and how to say it right. */
export class UsageError extends Error {}

/** Codes of errors that say that the command line is wrong, wherever they are found. */
const USAGE_CODES: ReadonlySet<string> = new Set([
  "BAD_TARGET",
  "BAD_OPTION",
  "NO_SUCH_CONNECTOR",
  "UNKNOWN_FORMAT",
  "BAD_MEMORY_MAP",
]);

/** Whether what is wrong is the command line. */
export function isUsage(error: unknown): boolean {
  return error instanceof UsageError || (error instanceof MemtoolError && USAGE_CODES.has(error.code));
}

/** A system error in words: "no such file or directory (ENOENT)". */
export function describeSystemError(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return String(message ?? error);
  // Node writes `ENOENT: no such file or directory, open '…'`.
  const words = /^[A-Z0-9]+: ([^,]+)/.exec(message)?.[1];
  return words === undefined ? code : `${words} (${code})`;
}

/** A message that makes sense to a person, with its causes where they add something (system errors don't). */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  let message = error.message;
  let cause = error.cause;
  for (let depth = 0; cause instanceof Error && depth < 5; depth++) {
    if (!("errno" in cause) && !message.includes(cause.message)) message += `: ${cause.message}`;
    cause = cause.cause;
  }
  return message;
}

/** The status for a request of many parts. */
export function statusOf(good: boolean, bad: boolean): number {
  if (!bad) return EXIT.ok;
  return good ? EXIT.partial : EXIT.failed;
}
