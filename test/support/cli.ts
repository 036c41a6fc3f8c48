import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";

/** What a run of the built command gave. */
export interface CliResult {
  readonly status: number | null;
  readonly stdout: Buffer;
  /** `stdout` as text. */
  readonly out: string;
  readonly err: string;
}

/** Options of {@link memtool}. */
export interface CliOptions {
  readonly input?: string | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes of standard output after which its reader goes away. */
  readonly closeAfter?: number;
}

/** The built command. */
const CLI = resolve("dist/cli.cjs");

/** Starts the built command, with pipes for its streams and nothing of this process's settings for it. */
export function startMemtool(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  const inherited = { ...process.env };
  for (const name of ["MEMTOOL_TARGET", "NO_COLOR", "FORCE_COLOR", "NODE_OPTIONS"]) delete inherited[name];
  return spawn(process.execPath, [CLI, ...args], { env: { ...inherited, ...env }, stdio: "pipe" });
}

/** Runs the built command to its end. */
export async function memtool(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const child = startMemtool(args, options.env);
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error("pipes were asked for");
  const chunks: Buffer[] = [];
  let bytes = 0;
  let err = "";
  stdout.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (options.closeAfter !== undefined && bytes >= options.closeAfter) stdout.destroy();
  });
  stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  // A command that fails early closes its input before it has read it.
  stdin.on("error", () => {});
  stdin.end(options.input ?? "");
  const status = await new Promise<number | null>((done, failed) => {
    child.on("error", failed).on("close", done);
  });
  const whole = Buffer.concat(chunks);
  return { status, stdout: whole, out: whole.toString("utf8"), err };
}

/** The objects of a `--json` output, each line one. */
export function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
