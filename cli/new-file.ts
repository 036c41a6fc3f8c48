/** A file that gets its name once it is complete: until then it has another one beside, and what is there stays. */
import { existsSync, linkSync, lstatSync, realpathSync, renameSync, rmSync } from "node:fs";
import { MemtoolError } from "../src/io/index.js";
import { describeSystemError } from "./errors.js";

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** See above. Whoever interrupts the program finds nothing of it. */
export class NewFile {
  /** Where to write: not there yet. */
  readonly temporary: string;
  readonly #path: string;
  readonly #target: string;
  readonly #force: boolean;
  readonly #handlers: readonly (() => void)[];

  /**
   * @param force Whether it replaces a file that is there.
   * @throws {MemtoolError} `WRITE_FAILED` if one is, and it may not, or what is there is no regular file.
   */
  constructor(path: string, force: boolean) {
    this.#path = path;
    this.#force = force;
    const isThere = existsSync(path);
    if (isThere && !force) throw this.failure("it is there already (--force replaces it)");
    // Where a link leads, so that the file is replaced and not the link.
    this.#target = isThere ? realpathSync(path) : path;
    if (isThere && !lstatSync(this.#target).isFile()) throw this.failure("it is there, and no regular file");
    this.temporary = `${this.#target}.partial-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
    this.#handlers = Object.entries(SIGNALS).map(([name, status]) => {
      const handler = () => {
        this.discard();
        process.exit(status);
      };
      process.on(name, handler);
      return () => process.off(name, handler);
    });
  }

  /** It is complete. @returns its bytes. @throws {MemtoolError} `WRITE_FAILED`; also if somebody made one of its name meanwhile. */
  place(): number {
    try {
      const { size } = lstatSync(this.temporary);
      if (this.#force) renameSync(this.temporary, this.#target);
      else nameAnew(this.temporary, this.#target);
      this.#forget();
      return size;
    } catch (cause) {
      this.discard();
      throw this.failure(cause);
    }
  }

  /** Takes it away. */
  discard(): void {
    rmSync(this.temporary, { force: true });
    this.#forget();
  }

  /** An error that names the file as who asked for it does. */
  failure(cause: unknown): MemtoolError {
    const why =
      typeof cause === "string"
        ? cause
        : cause instanceof MemtoolError
          ? cause.message
          : describeSystemError(cause);
    return new MemtoolError("WRITE_FAILED", `${this.#path} could not be written: ${why}`, {
      ...(typeof cause === "string" ? {} : { cause }),
    });
  }

  #forget(): void {
    for (const off of this.#handlers) off();
  }
}

/** Renames unless there is a file of the new name, also one that was made meanwhile. */
function nameAnew(from: string, to: string): void {
  try {
    linkSync(from, to);
    rmSync(from);
  } catch (error) {
    // File systems without links: the next best.
    if ((error as NodeJS.ErrnoException).code === "EEXIST" || existsSync(to)) throw error;
    renameSync(from, to);
  }
}
