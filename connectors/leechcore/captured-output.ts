/** What a C library prints on the standard output while it is called, kept out of ours. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ffi, LIBC } from "../ffi.js";

const STDOUT = 1;
/** Bytes of it that are kept: the last ones. */
const MOST = 4096;

/**
 * Makes a call with the standard output turned to a file, and gives what was printed: printable characters only. The
 * calling thread does nothing else meanwhile, and no other thread of Node's writes there.
 *
 * Where the output can't be turned away, it is left alone, and the text is empty.
 */
export function withCapturedOutput<T>(
  ffi: Ffi,
  call: () => T,
): { readonly result: T; readonly text: string } {
  let folder: string;
  let fd: number;
  try {
    folder = mkdtempSync(join(tmpdir(), "memtool-"));
  } catch {
    return { result: call(), text: "" };
  }
  try {
    fd = openSync(join(folder, "output"), "wx+", 0o600);
    unlinkSync(join(folder, "output"));
  } catch {
    return { result: call(), text: "" };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    flush(ffi);
    const kept = integer(ffi, "dup", [STDOUT]);
    if (kept < 0 || integer(ffi, "dup2", [fd, STDOUT]) < 0) {
      if (kept >= 0) integer(ffi, "close", [kept]);
      return { result: call(), text: "" };
    }
    let result: T;
    try {
      result = call();
    } finally {
      try {
        flush(ffi);
      } finally {
        integer(ffi, "dup2", [kept, STDOUT]);
        integer(ffi, "close", [kept]);
      }
    }
    return { result, text: printable(lastOf(fd)) };
  } finally {
    closeSync(fd);
  }
}

function integer(ffi: Ffi, funcName: string, values: number[]): number {
  const { I32 } = ffi.DataType;
  return ffi.load({
    library: LIBC,
    funcName,
    retType: I32,
    paramsType: values.map(() => I32),
    paramsValue: values,
  }) as number;
}

/** What C's buffers hold goes where it belongs. */
function flush(ffi: Ffi): void {
  const { I32, BigInt: Pointer } = ffi.DataType;
  ffi.load({ library: LIBC, funcName: "fflush", retType: I32, paramsType: [Pointer], paramsValue: [0n] });
}

/** The end of it; nothing where that can't be read: the call itself went as it did. */
function lastOf(fd: number): string {
  try {
    return readLast(fd);
  } catch {
    return "";
  }
}

function readLast(fd: number): string {
  const bytes = Buffer.alloc(MOST);
  let kept = 0;
  let at = 0;
  const part = Buffer.alloc(MOST);
  for (;;) {
    const got = readSync(fd, part, 0, MOST, at);
    if (got === 0) break;
    at += got;
    const stay = Math.min(kept, MOST - got);
    bytes.copyWithin(0, kept - stay, kept);
    part.copy(bytes, stay, 0, got);
    kept = stay + got;
  }
  return bytes.toString("utf8", 0, kept);
}

/** Lines in one, without what would do something to a terminal. */
export function printable(text: string): string {
  return text
    .replace(/\p{Cc}\[[0-9;]*[A-Za-z]/gu, "")
    .split(/[\r\n]+/)
    .map((line) => line.replace(/\p{Cc}+/gu, " ").trim())
    .filter((line) => line !== "")
    .join(" | ");
}
