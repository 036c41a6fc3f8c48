/** In words, for people: why a dump has no bytes for what was RAM. */
import type { ExcludedReason } from "../../src/io/index.js";

const WORDS: Readonly<Record<ExcludedReason, string>> = {
  unknown: "left out; the dump doesn't say why",
  zero: "left out by the filter: zero pages",
  cache: "left out by the filter: page cache",
  user: "left out by the filter: memory of processes",
  free: "left out by the filter: free pages",
  "or outside": "left out, or outside: this file can't tell",
  truncated: "missing: the file ends before it",
  incomplete: "missing: whoever wrote the dump stopped before it",
  "other file": "in another file of this split dump: give it too",
  "not recorded": "not recorded: nobody read it while the recording was made",
};

/** What became of bytes that are `excluded` for this reason. */
export function reasonWords(reason: string): string {
  return Object.hasOwn(WORDS, reason) ? WORDS[reason as ExcludedReason] : reason;
}
