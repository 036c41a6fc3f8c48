import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

/** A folder of a test file's own, until its tests are over; and what writes a file there and gives its path. */
export function testFolder(): {
  readonly folder: string;
  readonly file: (name: string, bytes: Uint8Array | string) => string;
} {
  const folder = mkdtempSync(join(tmpdir(), "memtool-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string, bytes: Uint8Array | string) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  return { folder, file };
}
