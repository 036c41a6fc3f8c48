/** What speaks against memory, in sentences. */
import { hex } from "../../io/index.js";
import { isElfMagic } from "../userland/elf-header.js";
import { type PageRun, pagesIn } from "./mapped-pages.js";
import type { ModifiedPage } from "./modified-pages.js";
import type { SuspicionKind } from "./suspicious-memory.js";

const SENTENCES: Readonly<Record<Exclude<SuspicionKind, "modified" | "page rights">, string>> = {
  anonymous: "executable memory of no file",
  heap: "the heap may be executed",
  stack: "the stack may be executed",
  writable: "may be both written and executed",
  memfd: "executable memory of a file that is only memory (memfd)",
  deleted: "executable memory of a file that was deleted",
  shared: "executable shared memory without a file",
  "no range": "the page tables let it be executed, and it is in no range of the process",
};

/** Pages that are listed; the rest is counted. */
const LISTED = 4;

/** @internal */
export function suspicionText(suspect: {
  readonly kinds: readonly SuspicionKind[];
  readonly path: string | undefined;
  readonly runs: readonly PageRun[];
  readonly modified: readonly ModifiedPage[];
  readonly modifiedCount: number;
  readonly wrong: readonly PageRun[];
  readonly zero: boolean | undefined;
  readonly bytes: Uint8Array;
}): string[] {
  const { kinds, runs, modified, modifiedCount, wrong, zero, bytes } = suspect;
  const sentences = kinds.map((kind) => {
    if (kind === "modified") return modifiedText(modified, modifiedCount, pagesIn(runs));
    if (kind === "page rights") {
      const first = hex((wrong[0] as PageRun).start);
      return `the page tables let ${pagesIn(wrong)} of its pages be executed or written, from ${first} on, and the range does not`;
    }
    return SENTENCES[kind];
  });
  if (zero === true) sentences.push(`all of its ${pagesIn(runs)} pages in memory are zeros`);
  if (runs.length === 0) sentences.push("none of its pages is in memory");
  if (modifiedCount === 0 && isElfMagic(bytes, 0)) sentences.push("it begins as an ELF file");
  return sentences;
}

function modifiedText(modified: readonly ModifiedPage[], count: number, resident: number): string {
  const listed = modified.slice(0, LISTED).map(({ address, differing }) => {
    const how =
      differing === undefined
        ? "the file's page is not in memory"
        : `${differing} bytes differ from the file's`;
    return `${hex(address)} (${how})`;
  });
  if (count > LISTED) listed.push(`${count - LISTED} more`);
  return `the process wrote to ${count} of its ${resident} pages in memory: ${listed.join(", ")}`;
}
