/**
 * Proof that a call which names a process by its number reached the program that was opened. The number alone is none: the
 * process may have started another program, or have ended, and its number been given to another.
 *
 * - A start of a program gives it 16 random bytes (AT_RANDOM of getauxval(3)). Every call reads them along: the kernel looks the
 *   address space up once a call, so what is read beside the right bytes is of the right one.
 * - A process that was forked from it has the same bytes, and may come to have its number. So /proc/PID/comm, as it was
 *   opened in the beginning, is read after each call: it can't be once the process was reaped, and no earlier than that the number is free.
 */
import { readFileSync, readSync } from "node:fs";
import { AT_RANDOM, parseAuxv } from "./auxv.js";
import type { ProcessFiles } from "./proc-files.js";

/** Bytes at AT_RANDOM. */
export const RANDOM_BYTES = 16;
/** Different ones that there are at least: fewer may be met anywhere (once in 10^9 starts it takes the slower way for nothing). */
const MIN_DIFFERENT = 8;

/** See the module's comment. */
export class SameProgram {
  /** Where the random bytes are. */
  readonly address: number;
  /** To be filled by each call with what it finds there. */
  readonly seen = new Uint8Array(RANDOM_BYTES);
  readonly #files: ProcessFiles;
  readonly #bytes: Uint8Array;

  private constructor(files: ProcessFiles, address: number, bytes: Uint8Array) {
    this.#files = files;
    this.address = address;
    this.#bytes = bytes;
  }

  /** @returns `undefined` where nothing can be proved: then there must be no such call. */
  static of(pid: number, files: ProcessFiles): SameProgram | undefined {
    try {
      const address = Number(parseAuxv(readFileSync(`/proc/${pid}/auxv`)).get(AT_RANDOM) ?? 0n);
      const bytes = new Uint8Array(RANDOM_BYTES);
      if (!readRandom(files.mem, address, bytes)) return undefined;
      return new SameProgram(files, address, bytes);
    } catch {
      return undefined;
    }
  }

  /** Whether the call that has just filled `seen` was of this program. */
  check(): boolean {
    const { seen } = this;
    let isSame = true;
    for (let i = 0; i < RANDOM_BYTES; i++) if (seen[i] !== this.#bytes[i]) isSame = false;
    return isSame && this.#lives();
  }

  /** Whether the program has written other random bytes there (Go's do, when they start), with which calls can go on. */
  renew(): boolean {
    const bytes = new Uint8Array(RANDOM_BYTES);
    if (!readRandom(this.#files.mem, this.address, bytes) || Buffer.compare(bytes, this.#bytes) === 0)
      return false;
    this.#bytes.set(bytes);
    return true;
  }

  #lives(): boolean {
    try {
      return readSync(this.#files.comm, this.seen, 0, 1, 0) > 0;
    } catch {
      return false;
    }
  }
}

function readRandom(mem: number, address: number, into: Uint8Array): boolean {
  if (!(address > 0)) return false;
  return (
    readSync(mem, into, 0, RANDOM_BYTES, address) === RANDOM_BYTES && new Set(into).size >= MIN_DIFFERENT
  );
}
