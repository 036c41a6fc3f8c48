import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { transformSync } from "esbuild";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CodeBlock, codeBlocks } from "../scripts/markdown.mjs";
import { writeLaterDump } from "./support/later-dump.js";

/**
 * Runs what the documentation shows, in the repository's root, against the built package. Comments right above a
 * block steer it:
 *
 * - `<!-- no-run: reason -->`: not run (and reported as skipped);
 * - `<!-- continue -->`: a `ts` block that goes on where the `ts` block before it ended, as one program;
 * - `<!-- output -->`: a block that holds what the `ts` program before it prints.
 *
 * In a `console` block, lines after `$ memtool …` are what the command prints on both outputs. A line `…` stands for
 * any lines. `$ echo $?` shows the exit status of the command before it.
 */
const files = ["README.md", ...markdownBelow("docs")];
/** Inside the package, so that `import "memtool"` resolves through its own `exports`, as it will for users. */
const work = resolve("tmp", `docs-${process.pid}`);
mkdirSync(join(work, "bin"), { recursive: true });
afterAll(() => rmSync(work, { recursive: true, force: true }));
beforeAll(async () => {
  // What is extracted replaces nothing: what a run before this one left there would give files other names.
  rmSync("tmp/modules", { recursive: true, force: true });
  // What examples compare the fixture with.
  await writeLaterDump("tmp/later.elf");
});

const environment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${join(work, "bin")}:${process.env.PATH}`,
  NO_COLOR: "1",
  XDG_CACHE_HOME: join(work, "cache"),
};
delete environment.FORCE_COLOR;
delete environment.MEMTOOL_TARGET;
delete environment.NODE_OPTIONS;

function markdownBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((file) => join(folder, file))
    .filter((file) => file.endsWith(".md") && !file.startsWith(join("docs", "api")))
    .sort();
}

/** One `ts` block and those that continue it. `origin[i]` is where its line `i` stands. */
interface Program {
  readonly title: string;
  readonly lines: string[];
  readonly origin: string[];
  readonly path: string;
  output?: CodeBlock;
}

const isSkipped = (block: CodeBlock) => block.comments.some((comment) => /^no-run: \S/.test(comment));
const at = (block: CodeBlock) => `${block.file}:${block.line}`;

const skipped: CodeBlock[] = [];
const consoles: CodeBlock[] = [];
const programs: Program[] = [];
const misplaced: string[] = [];
for (const file of files) {
  let current: Program | undefined;
  for (const block of codeBlocks(file, readFileSync(file, "utf8"))) {
    if (isSkipped(block)) skipped.push(block);
    else if (block.language === "console") consoles.push(block);
    else if (block.comments.includes("output")) {
      if (current === undefined || current.output !== undefined)
        misplaced.push(`${at(block)}: no program before it`);
      else current.output = block;
    } else if (block.language === "ts") {
      if (!block.comments.includes("continue")) {
        const name = `${basename(file, ".md")}-${block.line}`;
        current = {
          title: at(block),
          lines: [],
          origin: [],
          path: join(work, `${programs.length}-${name}.mts`),
        };
        programs.push(current);
      } else if (current === undefined) misplaced.push(`${at(block)}: continues nothing`);
      current?.lines.push(...block.lines);
      current?.origin.push(...block.lines.map((_, index) => `${file}:${block.line + 1 + index}`));
    }
  }
}

/** Whether `actual` is what `expected` says, where a line `…` stands for any number of lines. */
function matches(actual: readonly string[], expected: readonly string[]): boolean {
  const gap = expected.indexOf("…");
  if (gap < 0) return actual.length === expected.length && actual.every((line, i) => line === expected[i]);
  if (!matches(actual.slice(0, gap), expected.slice(0, gap))) return false;
  const rest = expected.slice(gap + 1);
  for (let from = gap; from <= actual.length; from++) if (matches(actual.slice(from), rest)) return true;
  return false;
}

function expectOutput(actual: string, expected: readonly string[]): void {
  const lines = actual.replace(/\n$/, "").split("\n");
  const wanted = expected.length === 0 ? [""] : expected;
  // Compared as text where they differ, for a readable report.
  if (!matches(lines, wanted)) expect(lines.join("\n")).toBe(wanted.join("\n"));
}

interface Command {
  readonly title: string;
  readonly text: string;
  readonly expected: string[];
}

/** The commands of a `console` block; one may go on after a `\` at the end of its line. */
function commandsOf(block: CodeBlock): Command[] {
  const commands: Command[] = [];
  const lines = [...block.lines];
  for (
    let line = lines.shift(), number = block.line + 1;
    line !== undefined;
    line = lines.shift(), number++
  ) {
    if (!line.startsWith("$ ")) {
      const command = commands.at(-1);
      if (command === undefined)
        throw new Error(`${block.file}:${number}: output before the first "$ " line`);
      command.expected.push(line);
      continue;
    }
    const title = `${block.file}:${number}: ${line.slice(2)}`;
    let text = line.slice(2);
    for (; text.endsWith("\\") && lines.length > 0; number++) text += `\n${lines.shift()}`;
    commands.push({ title, text, expected: [] });
  }
  return commands;
}

/** Node's own checks of a child: a time-out or a signal is a failure with a name. */
function expectEnded(child: SpawnSyncReturns<string>): void {
  if (child.error !== undefined) throw child.error;
  expect(child.signal, child.stderr).toBeNull();
}

const limits = { encoding: "utf8", timeout: 30_000, killSignal: "SIGKILL", maxBuffer: 1 << 26 } as const;

describe("the documentation's examples", { timeout: 60_000 }, () => {
  test("have their comments in the right places", () => {
    expect(misplaced).toEqual([]);
  });

  test("type-check", { timeout: 120_000 }, () => {
    for (const { path, lines } of programs) writeFileSync(path, `${lines.join("\n")}\nexport {};\n`);
    const program = ts.createProgram(
      programs.map(({ path }) => path),
      {
        target: ts.ScriptTarget.ES2022,
        lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        strict: true,
        noEmit: true,
        types: ["node"],
      },
    );
    const problems = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
      const message = ts.flattenDiagnosticMessageText(messageText, "\n");
      if (file === undefined || start === undefined) return message;
      const { line } = file.getLineAndCharacterOfPosition(start);
      const example = programs.find(({ path }) => resolve(path) === resolve(file.fileName));
      return `${example?.origin[line] ?? `${file.fileName}:${line + 1}`}: ${message}`;
    });
    expect(problems).toEqual([]);
  });

  test("show ten tasks of at most ten lines each", () => {
    const tasks = programs.filter(({ title }) => title.startsWith("docs/tasks.md:"));
    const sizes = tasks.map(({ lines }) => lines.filter((line) => line.trim() !== "").length);
    expect(sizes).toHaveLength(10);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(10);
    expect(tasks.every(({ output }) => output !== undefined)).toBe(true);
  });

  for (const { title, path, lines, output } of programs) {
    test(`${title} runs`, () => {
      const script = path.replace(/\.mts$/, ".mjs");
      const { code } = transformSync(lines.join("\n"), {
        loader: "ts",
        format: "esm",
        target: "node20",
        sourcemap: "inline",
        sourcefile: title,
        // Keep imports of names that the example never uses: they must exist.
        tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
      });
      writeFileSync(script, code);
      const child = spawnSync(process.execPath, ["--enable-source-maps", script], {
        ...limits,
        env: environment,
      });
      expectEnded(child);
      expect(child.status, child.stderr).toBe(0);
      if (output !== undefined) expectOutput(child.stdout, output.lines);
    });
  }

  for (const block of consoles) {
    let status = 0;
    for (const { title, text, expected } of commandsOf(block)) {
      test(title, () => {
        if (!/\bmemtool\b/.test(text) && text !== "echo $?") {
          throw new Error("not a memtool command: mark the block with <!-- no-run: reason -->");
        }
        const shim = join(work, "bin", "memtool");
        writeFileSync(shim, `#!/bin/sh\nexec "${process.execPath}" "${resolve("dist/cli.cjs")}" "$@"\n`);
        chmodSync(shim, 0o755);
        const script = `exec 2>&1\n(exit ${status})\n${text}`;
        const child = spawnSync("bash", ["-c", script], { ...limits, env: environment });
        expectEnded(child);
        status = child.status ?? 1;
        expectOutput(child.stdout, expected);
      });
    }
  }

  for (const block of skipped) test.skip(`${at(block)} (${block.comments.join("; ")})`, () => {});
});
