/** What tests of the command are run on: the dump that ships, what its guest said of itself, and files of their own. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export const DUMP = "fixtures/linux-6.1-x86_64.kdump";
export const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
export const ON_DUMP = ["-f", DUMP];
/** The page tables of the program with the pattern regions. */
export const ROOT = ["--root", truth.stops.kernel.root];
export const region = (name: string) => truth.regions.find((one: { name: string }) => one.name === name);

/** A folder of a test file's own, until its tests are over; and what writes a file there and gives its path. */
export function testFolder(): {
  readonly folder: string;
  readonly file: (name: string, bytes: Uint8Array | string) => string;
} {
  const folder = mkdtempSync(join(tmpdir(), "memtool-cli-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, bytes: Uint8Array | string) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  return { folder, file };
}
