/** The command in this process, which needs no build: for what it says before any target is opened. */
import { PassThrough } from "node:stream";
import { Output } from "../../cli/output.js";
import { run } from "../../cli/program.js";
import { makeStyle } from "../../cli/style.js";

/** Runs it; `text` is what it wrote, to standard output and standard error in one. */
export async function runHere(args: readonly string[]): Promise<{ status: number; text: string }> {
  const stream = new PassThrough({ encoding: "utf8" });
  const status = await run([...args], "0", {
    env: {},
    stdin: stream,
    out: new Output(stream),
    stderr: stream,
    style: makeStyle(false, false),
  });
  return { status, text: String(stream.read() ?? "") };
}
