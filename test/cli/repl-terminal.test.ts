/** `memtool repl` on a terminal, which `script` of util-linux is here. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DUMP, testFolder } from "../support/cli-dump.js";

const { folder } = testFolder();
const PROMPT = "memtool> ";
const UP = "\x1b[A";
const CTRL_C = "\x03";
const hasScript = spawnSync("script", ["--version"]).status === 0;

/** Counts the zlib streams that Node makes in a program's main thread, as `zlibs`. */
const COUNT_STREAMS = `
globalThis.zlibs = 0;
if (require("node:worker_threads").isMainThread)
  require("node:async_hooks").createHook({ init: (_, type) => void (type === "ZLIB" && globalThis.zlibs++) }).enable();
`;

/** A terminal that types, and reads what comes. */
class Terminal {
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  #text = "";
  /** Up to where it was read. */
  #at = 0;
  #arrived = () => {};

  constructor(command: string, env: Readonly<Record<string, string>>) {
    this.#child = spawn("script", ["-qec", command, "/dev/null"], {
      stdio: "pipe",
      env: { ...process.env, TERM: "xterm", NO_COLOR: "1", ...env },
    });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#text += text;
      this.#arrived();
    });
    this.ended = new Promise((done) => this.#child.once("close", () => done()));
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  /** Everything from what was read before up to this. */
  async until(text: string): Promise<string> {
    for (;;) {
      const found = this.#text.indexOf(text, this.#at);
      if (found >= 0) {
        const before = this.#text.slice(this.#at, found);
        this.#at = found + text.length;
        return before;
      }
      const next = new Promise<"more">((arrived) => {
        this.#arrived = () => arrived("more");
      });
      const over = this.ended.then(() => "over" as const);
      if ((await Promise.race([next, over])) === "over")
        throw new Error(`the terminal ended: ${JSON.stringify(this.#text.slice(this.#at))}`);
    }
  }

  /** A line, and what comes of it up to the next prompt. */
  async line(keys: string): Promise<string> {
    this.type(`${keys}\r`);
    return await this.until(PROMPT);
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}

describe.skipIf(!hasScript)("memtool repl on a terminal (needs script of util-linux)", () => {
  let terminal: Terminal;
  beforeAll(async () => {
    const command = [process.execPath, resolve("dist/cli.cjs"), "repl", "-f", resolve(DUMP)];
    const counter = join(folder, "count-streams.cjs");
    writeFileSync(counter, COUNT_STREAMS);
    terminal = new Terminal(command.map((word) => `'${word}'`).join(" "), {
      NODE_OPTIONS: `--require "${counter}"`,
      XDG_STATE_HOME: folder,
      MEMTOOL_TARGET: "",
    });
  });
  afterAll(() => terminal?.end());

  it("says what it opened, and asks", async () => {
    expect(await terminal.until(PROMPT)).toContain(".help tells what there is");
  });

  it("completes symbols and members by Tab", async () => {
    terminal.type(".sym init_tas\t");
    await terminal.until("init_task");
    expect(await terminal.line("")).toMatch(/ {2}D {2}init_task/);
    terminal.type('linux.object("init_task").cred.euid.v\t');
    await terminal.until("euid.val");
    expect(await terminal.line("")).toMatch(/0\s/);
  });

  it("has what was typed before on the arrow up", async () => {
    expect(await terminal.line("6 * 7")).toContain("\n42\r\n");
    terminal.type(UP);
    await terminal.until("6 * 7");
    expect(await terminal.line("")).toContain("\n42\r\n");
  });

  /** Ctrl-C that comes while Node makes one ends the program at the next garbage collection. */
  it("decompresses without making streams that Ctrl-C could leave half made", async () => {
    await terminal.line("const streams = zlibs");
    expect(await terminal.line(".check syscalls")).toContain("all in the kernel's text");
    expect(await terminal.line("[...linux.tasks().sync()].length > 3")).toContain("true");
    expect(await terminal.line("[streams > 0, zlibs - streams]")).toContain("[ true, 0 ]");
  });

  it.each([
    ["a command with a dot", ".ps --scan"],
    ["an evaluation", "for (;;);"],
  ])("Ctrl-C ends %s, and the session goes on", async (_, line) => {
    terminal.type(`${line}\r`);
    await terminal.until("\n");
    await delay(200);
    terminal.type(CTRL_C);
    const answer = await terminal.until(PROMPT);
    expect(answer).toContain("memtool: stopped");
    expect(answer).not.toContain("COMMAND");
    expect(await terminal.line("linux.process(1).comm")).toContain("'init'");
  });

  it("keeps what was typed for the next session, and ends", async () => {
    terminal.type(".exit\r");
    await terminal.ended;
    const history = readFileSync(join(folder, "memtool", "repl_history"), "utf8").split("\n");
    expect(history).toEqual(expect.arrayContaining(["6 * 7", ".sym init_task", ".ps --scan"]));
  });
});
