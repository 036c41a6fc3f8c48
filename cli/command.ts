/** The command line's door: standard streams, colour, exit status. */
import { fstatSync, readFileSync } from "node:fs";
import { describeSystemError, EXIT, UsageError } from "./errors.js";
import { Output } from "./output.js";
import { run } from "./program.js";
import { makeStyle, wantsColour } from "./style.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
const { stdout, stderr, env } = process;

// Who reads our output has had enough (`| head`): that is no failure, and nobody is left to tell.
stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") stderr.write(`memtool: standard output: ${describeSystemError(error)}\n`);
  process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed);
});
stderr.on("error", () => {});

/** Node takes a directory as standard input for an empty one. */
async function* input(): AsyncGenerator<Uint8Array | string, void, void> {
  if (fstatSync(0).isDirectory()) throw new UsageError("--stdin: standard input is a directory");
  yield* process.stdin;
}

void run(process.argv.slice(2), version, {
  env,
  stdin: input(),
  out: new Output(stdout),
  stderr,
  style: makeStyle(wantsColour(stdout.isTTY, env), wantsColour(stderr.isTTY, env)),
}).then((status) => {
  process.exitCode = status;
});
