import { MemtoolError } from "../src/io/index.js";

/** A connector that could not open its target, or was asked for in a wrong way. */
export class ConnectorError extends MemtoolError {
  /** In the command line's form: `proc:1234`; a token in it is left out. */
  readonly target: string;

  constructor(code: string, target: string, problem: string, options?: { cause?: unknown }) {
    const shown = withoutSecrets(target);
    super(code, `${shown}: ${problem}`, options);
    this.target = shown;
  }
}

/** A target as others may see it: a token in it is left out. */
export function withoutSecrets(target: string): string {
  return target.replace(/([:,]token=)[^,]+/gi, "$1…");
}

/** A target vanished while it was read; `cause` is what failed for it. */
export class TargetGoneError extends MemtoolError {
  /** In the command line's form: `proc:1234`. */
  readonly target: string;

  constructor(target: string, cause: unknown) {
    const shown = withoutSecrets(target);
    const why = cause instanceof Error ? cause.message : String(cause);
    super(
      "TARGET_GONE",
      `${shown} is gone: nothing of it can be read any more (what failed for that: ${why})`,
      {
        cause,
      },
    );
    this.target = shown;
  }
}

/** The name of a system error (`ENOENT`); `undefined` for what is none. */
export function errnoName(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** The number of a system error, positive; 0 for what is none. */
export function errnoOf(error: unknown): number {
  return error instanceof Error && "errno" in error && typeof error.errno === "number"
    ? Math.abs(error.errno)
    : 0;
}

/**
 * Cleans up because of an error: closes what was opened, resumes what was paused.
 *
 * @returns what to throw: the error, or if that fails as well, one that says both. (Nobody may miss that a machine stays paused.)
 */
export async function cleanUpAfter(error: unknown, cleanUp: () => unknown): Promise<unknown> {
  try {
    await cleanUp();
    return error;
  } catch (second) {
    if (second === error) return error;
    const textOf = (one: unknown) => (one instanceof Error ? one.message : String(one));
    if (!(second instanceof ConnectorError)) {
      if (!(error instanceof Error)) return second;
      error.message += `; and ${textOf(second)}`;
      return error;
    }
    const { code, target } = second;
    const problemOf = (one: unknown) => textOf(one).replace(`${target}: `, "");
    return new ConnectorError(code, target, `${problemOf(error)}; and ${problemOf(second)}`, {
      cause: error,
    });
  }
}
