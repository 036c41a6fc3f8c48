/** Which texts an expression matches, without letting it take forever. */
import { bound } from "../../connectors/search-host.js";
import { MemtoolError } from "../../src/io/index.js";
import type { FoundString } from "../../src/search/index.js";
import { RegexTimeError } from "../../src/search/regex-matcher.js";

/** Texts, and characters of them, that are looked at together: what an expression has so much time for. */
const TEXTS = 4096;
const CHARACTERS = 1 << 20;

/** Those that match. @throws {RegexTimeError} for an expression that tries endless ways. */
export async function* grepTexts(
  texts: AsyncIterable<FoundString>,
  grep: RegExp | undefined,
): AsyncGenerator<FoundString, void, void> {
  if (grep === undefined) {
    yield* texts;
    return;
  }
  let batch: FoundString[] = [];
  let characters = 0;
  for await (const each of texts) {
    batch.push(each);
    characters += each.text.length;
    if (batch.length < TEXTS && characters < CHARACTERS) continue;
    yield* matching(batch, grep);
    batch = [];
    characters = 0;
  }
  yield* matching(batch, grep);
}

/** (What was found before it took too long is told first.) */
function* matching(batch: readonly FoundString[], grep: RegExp): Generator<FoundString, void, void> {
  const found: FoundString[] = [];
  let at = 0;
  let failure: RegexTimeError | undefined;
  try {
    bound(() => {
      for (; at < batch.length; at++) {
        const each = batch[at] as FoundString;
        if (grep.test(each.text)) found.push(each);
      }
    });
  } catch (cause) {
    if (!(cause instanceof MemtoolError && cause.code === "REGEX_TIME")) throw cause;
    failure = new RegexTimeError((batch[at] as FoundString).address, { cause });
  }
  yield* found;
  if (failure !== undefined) throw failure;
}
