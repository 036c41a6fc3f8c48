/** Files that the benchmark writes, in a folder that goes when the process ends. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let folder: string | undefined;
let files = 0;

/** A path in the folder. */
export function workPath(name: string): string {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), "memtool-bench-"));
    process.once("exit", () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  return join(folder, name);
}

/** Writes a list for a C program: u64, as they lie in memory. @returns its path. */
export function writeNumbers(numbers: BigUint64Array<ArrayBuffer> | readonly number[]): string {
  const path = workPath(`numbers-${files++}`);
  writeFileSync(path, numbers instanceof BigUint64Array ? numbers : BigUint64Array.from(numbers, BigInt));
  return path;
}

/** A value that is made when it is first asked for. */
export function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
