/** `memtool completion`: what the program answers, and what shells make of its scripts. */
import { spawnSync } from "node:child_process";
import { chmodSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { memtool } from "../support/cli.js";
import { testFolder } from "../support/cli-dump.js";
import { runHere } from "./run-here.js";

const { folder, file } = testFolder();

/** The words that may come, without what is said of them. */
async function wordsFor(...words: string[]): Promise<string[]> {
  const { text } = await runHere(["__complete", "--", ...words]);
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t", 1)[0] as string);
}

describe("what may come", () => {
  it.each([
    [["conv"], ["convert"]],
    [["-f", "x", "tran"], ["translate"]],
    [["read", "--form"], ["--format"]],
    [["read", "--dump-f"], ["--dump-format"]],
    [
      ["read", "--format", ""],
      ["hex", "raw", "json"],
    ],
    [["read", "--format=r"], ["--format=raw"]],
    [["read", "--format", "=", "r"], ["raw"]],
    [["maps", "--output", "p"], ["parquet"].concat(":files")],
    [["-f", ""], [":files"]],
    [["-c", "file", ":", "in"], []],
    [["-c", "file", ":", "dump", "inf"], ["info"]],
    [["ps", "-o", "csv", ":", "na"], [":files"]],
    [["check", "afinfo", "sysc"], ["syscalls"]],
    [
      ["diff", "--only", "mo"],
      ["modules", "mounts"],
    ],
    [["timeline", "--kind", "process,lo"], ["process,log"]],
    [["strings", "--encoding=ascii,utf16l"], ["--encoding=ascii,utf16le"]],
    [["help", "conv"], ["convert"]],
    [
      ["completion", ""],
      ["bash", "zsh", "fish"],
    ],
    [["completion", "bash", ""], []],
    [["-c", "pro"], ["proc:"]],
    [["read", "--", "--form"], []],
    [["nothing", "\x1b"], []],
  ])("behind %j", async (words, expected) => {
    const found = await wordsFor(...words);
    expect(found).toEqual(expected);
  });

  it("is every command but hidden ones", async () => {
    const found = await wordsFor("");
    expect(found).toEqual(expect.arrayContaining(["info", "ps", "repl", "help"]));
    expect(found).not.toContain("__complete");
  });

  it("refuses another shell", async () => {
    const { err, status } = await memtool(["completion", "csh"]);
    expect([err, status]).toEqual([`memtool: completion for "csh": one of bash, zsh, fish\n`, 2]);
  });
});

const isThere = (shell: string) => spawnSync(shell, ["-c", "exit 0"]).status === 0;
const [hasBash, hasZsh, hasFish] = ["bash", "zsh", "fish"].map(isThere);

/** What a shell prints that has `memtool` on its path. */
function inShell(shell: string, args: readonly string[]): string[] {
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, HOME: folder };
  const { stdout, stderr } = spawnSync(shell, args, { env, encoding: "utf8", cwd: folder });
  return `${stdout}${stderr}`.split("\n").filter((line) => line !== "");
}

describe("in a shell", () => {
  beforeAll(() => {
    chmodSync("dist/cli.cjs", 0o755);
    symlinkSync(resolve("dist/cli.cjs"), join(folder, "memtool"));
    file("a dump.raw", "");
  });

  const bash = (...words: string[]) =>
    inShell("bash", [
      "--norc",
      "-c",
      `source <(memtool completion bash); COMP_WORDS=(memtool "$@"); COMP_CWORD=$#; _memtool; printf '%s\\n' "\${COMPREPLY[@]}"`,
      "bash",
      ...words,
    ]);

  it.skipIf(!hasBash)("bash: commands, values and files (without bash)", () => {
    expect(bash("conv")).toEqual(["convert"]);
    expect(bash("read", "--format", "=", "r")).toEqual(["raw"]);
    expect(bash("-f", "a d")).toEqual(["a dump.raw"]);
  });

  const zsh = (...words: string[]) =>
    inShell("zsh", [
      "-f",
      "-c",
      `compdef() { :; }; _describe() { print -rl -- "\${(@P)2}" }; _files() { print files }
       source <(memtool completion zsh); words=(memtool "$@"); CURRENT=$#words; _memtool`,
      "zsh",
      ...words,
    ]);

  it.skipIf(!hasZsh)("zsh: commands with what they do, values and files (without zsh)", () => {
    expect(zsh("conv")).toEqual([expect.stringMatching(/^convert:writes /)]);
    expect(zsh("-c", "pro")).toEqual(["proc\\:"]);
    expect(zsh("-f", "")).toEqual(["files"]);
  });

  const fish = (line: string) =>
    inShell("fish", ["--no-config", "-c", `memtool completion fish | source; complete -C '${line}'`]);

  it.skipIf(!hasFish)("fish: commands with what they do, values and files (without fish)", () => {
    expect(fish("memtool conv")).toEqual([expect.stringMatching(/^convert\twrites /)]);
    expect(fish("memtool read --format r")).toEqual(["raw"]);
    expect(fish("memtool -f a").join()).toContain("dump.raw");
  });
});
