/**
 * Runs every command on a dump that is damaged a little more each time; started, and watched, by run.mjs. Tells what it is about to
 * do, so that its parent knows what hangs; a failure is told, and what comes next is tried.
 *
 * Arguments: the dump (changed in place), a folder to write in, the seed of the first round, and the number of the first command.
 */
import { Writable } from "node:stream";
import { Output } from "../../../cli/output.js";
import { run } from "../../../cli/program.js";
import { makeStyle } from "../../../cli/style.js";
import { commandLines } from "./command-lines.js";
import { Damaged } from "./damage.js";

/** What V8 says of mistakes in programs. What memtool says of a dump is never like it. */
const MISTAKE =
  /Cannot (read|set|convert|mix|destructure)|is not (a function|iterable|defined)|Invalid (array|typed array|string|array buffer|DataView) length|call stack|Offset is outside|out of (range|bounds of)|Array buffer allocation|BigInt division|not an integer|Reduce of empty|offset is out|\bNaN\b|\[object |\bundefined\b/;
/** More than any command takes of the fixture, whole: what is beyond was allocated because the dump said so. */
const MAX_BYTES = 1500 * 2 ** 20;

const [dump = "", folder = "", first = "1", from = "0"] = process.argv.slice(2);
const lines = commandLines(folder);
const damaged = new Damaged(dump);

for (let seed = Number(first); ; seed++) {
  const how = damaged.damage(seed);
  process.send?.({ round: seed, how });
  for (const [at, line] of lines.entries()) {
    if (seed === Number(first) && at < Number(from)) continue;
    process.send?.({ command: at, line: line.join(" ") });
    const why = await tried(line);
    if (why !== undefined) process.send?.({ failed: why, seed, how, line: line.join(" ") });
  }
  damaged.mend();
}

/** @returns what is wrong with how it ended. */
async function tried(line: readonly string[]): Promise<string | undefined> {
  let err = "";
  let printed = 0;
  const out = new Writable({
    write: (bytes: Uint8Array, _encoding, done) => {
      printed += bytes.length;
      done();
    },
  });
  const take = (text: string) => {
    if (err.length < 65_536) err += text;
    return true;
  };
  const style = makeStyle(false, false);
  const input = (async function* (): AsyncGenerator<string> {})();
  const environment = { env: {}, stdin: input, out: new Output(out), stderr: { write: take }, style };
  try {
    const status = await run([...line, "-f", dump], "0.0.0", environment);
    if (![0, 1, 3].includes(status)) return `status ${status}: ${err.slice(0, 500)}`;
    if (status !== 0 && err === "" && printed === 0) return `status ${status}, and not a word why`;
  } catch (error) {
    return `thrown: ${error instanceof Error ? error.stack : String(error)}`;
  }
  const mistake = err.split("\n").find((text) => MISTAKE.test(text));
  if (mistake !== undefined) return mistake;
  const { rss } = process.memoryUsage();
  return rss > MAX_BYTES ? `${Math.round(rss / 2 ** 20)} MiB of memory` : undefined;
}
