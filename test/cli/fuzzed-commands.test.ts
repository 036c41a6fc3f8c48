import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { Output } from "../../cli/output.js";
import { run } from "../../cli/program.js";
import { makeStyle } from "../../cli/style.js";
import { commandLines, LEFT_OUT } from "../fuzz/commands/command-lines.js";

test("every command is asked about damaged kernels, or is known not to be", async () => {
  let err = "";
  const nowhere = new Writable({ write: (_bytes, _encoding, done) => done() });
  await run([], "0.0.0", {
    env: {},
    stdin: (async function* (): AsyncGenerator<string> {})(),
    out: new Output(nowhere),
    stderr: { write: (text: string) => (err += text) },
    style: makeStyle(false, false),
  });
  const commands = /one of (.*) \(/.exec(err)?.[1]?.split(", ") ?? [];
  expect(commands.length).toBeGreaterThan(40);
  const asked = new Set([...commandLines("").map(([name]) => name), ...LEFT_OUT]);
  expect(commands.filter((name) => !asked.has(name))).toEqual([]);
});
