/** LeechCore's connector over the stand-in. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe } from "vitest";
import { openLeechCore } from "../../../connectors/leechcore/source.js";
import { sourceSuite } from "../../suite/index.js";
import { pattern } from "../../support/bytes.js";
import { hasCompiler, standIn } from "../../support/leechcore.js";

const directory = mkdtempSync(join(tmpdir(), "memtool-leechcore-"));
afterAll(() => rmSync(directory, { recursive: true }));

const SIZE = 40 * 4096;
const BASE = 0x7f80;
let last = 0;

interface How {
  readonly kind: string;
  readonly library?: "new" | "old";
  readonly write?: boolean;
  readonly volatile?: boolean;
}

/** A raw file of which three pages can't be read, and behind which there is nothing. */
async function subject({ kind, library, write = false, volatile = false }: How) {
  const path = join(directory, `ram${last++}`);
  writeFileSync(path, pattern(SIZE, 3));
  const parameters = new Map([
    ["bad", "c000-f000"],
    ["die", `${path}.dead`],
  ]);
  if (volatile) parameters.set("volatile", "1");
  if (write) parameters.set("write", "1");
  if (kind !== "file") parameters.set("file", path);
  const target = kind === "file" ? `file:${path}` : kind;
  return {
    source: await openLeechCore(target, { library: standIn(library), write, parameters }),
    base: BASE,
    truth: () => new Uint8Array(readFileSync(path)).subarray(BASE),
    bad: [
      { start: 0xc000 - BASE, end: 0xf000 - BASE, state: "io" as const },
      { start: SIZE - BASE, end: SIZE - BASE + 5000, state: "outside" as const },
    ],
    writable: write,
    vanish: () => writeFileSync(`${path}.dead`, ""),
  };
}

// Without gcc there is no stand-in.
describe.skipIf(!hasCompiler)("devices of LeechCore's", () => {
  sourceSuite("a card of LeechCore's, written to", () =>
    subject({ kind: "card", write: true, volatile: true }),
  );
  sourceSuite("a file of LeechCore's", () => subject({ kind: "file" }));
  sourceSuite("a card of an older LeechCore's", () => subject({ kind: "card", library: "old" }));
});
