/** `memtool repl`, by lines of standard input, and its parts. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { MALFIND } from "../../cli/linux/malfind.js";
import { PAGECACHE } from "../../cli/linux/pagecache.js";
import { parseWords, wordsOf } from "../../cli/repl/commands.js";
import { type Completion, complete } from "../../cli/repl/complete.js";
import { historyFile } from "../../cli/repl/history.js";
import { prepareInput } from "../../cli/repl/input.js";
import { showResult } from "../../cli/repl/show.js";
import { open } from "../../connectors/index.js";
import { IoSequence, type Routine, type Sink } from "../../src/io/index.js";
import type { Linux } from "../../src/linux/index.js";
import { type CliResult, memtool } from "../support/cli.js";
import { DUMP, ON_DUMP, testFolder } from "../support/cli-dump.js";

const { folder } = testFolder();

/** Runs a session of these lines. */
function repl(input: string, ...more: string[]): Promise<CliResult> {
  return memtool(["repl", ...more], { input });
}

it("a session that waits for what never comes has failed", async () => {
  const { out, err, status } = await repl("await new Promise(() => {})\n5\n", ...ON_DUMP);
  expect([out, err, status]).toEqual(["", "memtool: the session waits for something that never comes\n", 1]);
});

describe("memtool repl", () => {
  let session: CliResult;
  beforeAll(async () => {
    session = await repl(
      `linux.object("init_task").comm
const t = linux.object("init_task")
t.$.label
function twice(n: number): number {
  return 2 * n;
}
twice(21)
import { LinuxKernel, type Task } from "memtool"
linux instanceof LinuxKernel
(await linux.process(1)).pid + 1
nosuch
throw new Error("\\x1b[31mred")
console.log(_)
linux.symbol("linux_banner").address
.x linux_banner 16
.t list_head
.sym init_tas*
.w init_task
.nothing
.ps --nothing
"\\x1b[31m"
`,
      ...ON_DUMP,
    );
  });

  it("shows an operation's result, and gives members of it", () => {
    expect(session.out).toContain('(char[16])"swapper/0"\n');
  });

  it("names the object, where an operation that finds one is named", () => {
    expect(session.out).toContain("\n'init_task'\n");
  });

  it("takes TypeScript over several lines", () => {
    expect(session.out).toContain("\n42\n");
  });

  it("imports the library that the target was opened with", () => {
    expect(session.out).toContain("\ntrue\n");
  });

  it("awaits, and keeps the last result", () => {
    expect(session.out).toMatch(/^2\n2\n/m);
  });

  it("shows addresses in hex", () => {
    expect(session.out).toMatch(/^0xffffffff[0-9a-f]{8}$/m);
  });

  it("runs commands with a dot over the target", () => {
    expect(session.out).toContain("|Linux version 6.|\n");
    expect(session.out).toContain("struct list_head {\n    struct list_head *next; /* 0x0 */\n");
    expect(session.out).toMatch(/ {2}D {2}init_task\n/);
    expect(session.out).toContain("maps a page");
  });

  it("says what went wrong in a line each, without stacks or controls, and goes on", () => {
    expect(session.err.trimEnd().split("\n")).toEqual([
      "memtool: ReferenceError: nosuch is not defined",
      "memtool: Error: \\x1b[31mred",
      "memtool: .nothing is no command (.help)",
      "memtool: unknown option '--nothing' of ps",
    ]);
    expect(session.out).not.toContain("\x1b");
    expect(session.status).toBe(3);
  });

  it("has the process of --pid, and asks for a target once somebody does", async () => {
    const { out } = await repl("target\nmemory === target.memory\n", "--pid", "1", ...ON_DUMP);
    expect(out).toBe("Process 1 (init)\ntrue\n");
    const none = await repl("1n\nmachine\n");
    expect([none.out, none.err, none.status]).toEqual(["0x1\n", expect.stringContaining("-f FILE"), 3]);
  });
});

it.each([
  ["a promise that was rejected", 'Promise.reject(new Error("x"))\n', "", 1],
  ["one that is not the line's result", 'Promise.reject(new Error("x")); 1\n2\n', "1\n2\n", 3],
  ["an error behind the last line", 'setTimeout(() => { throw new Error("x") }, 1); 1\n', "1\n", 3],
])("%s is an error, as what is thrown", async (_, input, shown, expected) => {
  const { out, err, status } = await repl(input);
  expect([out, err, status]).toEqual([shown, "memtool: Error: x\n", expected]);
});

it("takes commands with a hyphen in their name, and .break amid what is not complete", async () => {
  const { out, err, status } = await repl(
    ".perf-events\n.break\nfunction f() {\n.break\n6 * 7\n",
    ...ON_DUMP,
  );
  expect([out, err, status]).toEqual(["42\n", "memtool: no perf events\n", 3]);
});

it("stacks have the lines that were typed, and none of what runs them", async () => {
  const { out } = await repl('const f = () => new Error("x")\nf()\n[1].map(f)[0]\n');
  expect(out).toBe(
    "Error: x\n    at f (stdin:1:17)\n    at stdin:1:1\n" +
      "Error: x\n    at f (stdin:1:17)\n    at Array.map (<anonymous>)\n    at stdin:1:5\n",
  );
});

describe("what is typed", () => {
  it.each([
    ["1 + 1", "1 + 1"],
    ["let a: number = 1", /^let a\s+= globalThis\[.*\]\( 1\n\)$/],
    ["const a = f(1), b = 2", "const a = f(1), b = 2"],
    ["a = f(1)", "a = f(1)"],
    ["const f = async (a, b) => a", "const f = async (a, b) => a"],
    ["const g = function () {}", "const g = function () {}"],
    ['import * as m from "m"', /^const m =.* await import\("m"\)/],
    ['import d, { a as b, type C } from "m"', 'const { default: d, a: b } = await import("m");'],
    ['import type { A } from "m"', ""],
    ["let a: = 1", "let a: = 1"],
  ])("%s", (text, code) => {
    if (typeof code === "string") expect(prepareInput(text)).toBe(code);
    else expect(prepareInput(text)).toMatch(code);
  });

  it.each(["function f(a: number) {", "interface A {"])("waits for more behind %s", (text) => {
    expect(prepareInput(text)).toBeUndefined();
  });
});

describe("results", () => {
  const sequence = (items: unknown[], error?: Error) => {
    function* routine(sink: Sink<unknown>): Routine<void> {
      for (const item of items) yield sink.emit(item);
      if (error !== undefined) throw error;
    }
    return IoSequence.of(machineScheduler(), routine);
  };

  it("shows the first items of a sequence, and that there are more", () => {
    const text = showResult(sequence(Array.from({ length: 1000 }, (_, i) => i)));
    expect(text.split("\n")).toHaveLength(21);
    expect(text).toContain("… more");
    expect(showResult(sequence([]))).toBe("(nothing)");
  });

  it("shows records as a table, and what was damaged behind it", () => {
    const items = [
      { at: 16n, name: "a\x1b", raw: {} },
      { at: undefined, name: "b", raw: {} },
    ];
    expect(showResult(sequence(items, new Error("torn\x1b")))).toBe(
      "  at  name\n0x10  a\\x1b\n   ?  b\nmemtool: torn\\x1b",
    );
  });

  it("dumps bytes in hex, with holes", () => {
    expect(showResult(new Uint8Array([65, 66]))).toMatch(/^0{16} {2}41 42 .*\|AB\|$/);
    expect(showResult(new Uint8Array(1 << 20).map((_, i) => i >> 4))).toMatch(/… 1044480 more bytes$/);
    const part = {
      bytes: new Uint8Array(16),
      good: [],
      holes: [{ start: 0, end: 8, fault: 0, state: "io" }],
    };
    expect(showResult(part)).toContain("·· ·· ··");
  });

  it("lets no control of a terminal through", () => {
    const hostile = { "\x1b[1m": ["\x1b[2m\u202e"], [Symbol("\x1b")]: 1 };
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what must not be there.
    expect(showResult(hostile)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
  });
});

const machine = await open(DUMP, { kernel: "search" });
function machineScheduler() {
  return machine.memory.scheduler;
}

describe("completion", () => {
  let linux: Linux;
  beforeAll(async () => {
    linux = await machine.linux();
  });
  const of = (line: string): Completion | undefined =>
    complete(line, linux, ["perf-events", "ps", "ptrace", "x"]);

  it("of commands", () => {
    expect(of(".ps")).toEqual([[".ps"], ".ps"]);
    expect(of(".p")).toEqual([[".perf-events", ".ps", ".ptrace"], ".p"]);
    expect(of(".perf-e")).toEqual([[".perf-events"], ".perf-e"]);
  });

  it.each(['linux.symbol("init_tas', ".sym init_tas", ".x init_tas", 'linux.object("init_tas'])(
    "of symbols: %s",
    (line) => {
      expect(of(line)).toEqual([["init_task"], "init_tas"]);
    },
  );

  it.each([
    ".t list_hea",
    't.$.cast("list_hea',
    'linux.object("init_task", "list_hea',
    "linux.objectAt(4n, 'list_hea",
  ])("of types: %s", (line) => {
    expect(of(line)).toEqual([["list_head"], "list_hea"]);
  });

  it("of members, also behind pointers", () => {
    expect(of('linux.object("init_task").se.avg.util_e')).toEqual([["util_est"], "util_e"]);
    expect(of('linux.object("init_task").cred.euid.v')).toEqual([["val"], "v"]);
  });

  it("of a letter is bounded", () => {
    expect(of(".sym s")?.[0].length).toBe(200);
  });

  it("leaves JavaScript to Node", () => {
    expect(of("machine.for")).toBeUndefined();
  });
});

describe("the history", () => {
  it("is in the user's folder for state, which nobody else reads", () => {
    const path = historyFile({ XDG_STATE_HOME: folder, HOME: "/nowhere" }, "linux");
    expect(path).toBe(join(folder, "memtool", "repl_history"));
    if (process.platform !== "win32") expect(statSync(join(folder, "memtool")).mode & 0o77).toBe(0);
  });

  it.each([
    [{ HOME: "H" }, "linux", undefined],
    [{ LOCALAPPDATA: "" }, "win32", undefined],
    [{ XDG_STATE_HOME: "/proc/none", HOME: "/" }, "linux", undefined],
  ])("is nowhere for %j on %s", (env, platform, expected) => {
    expect(historyFile(env, platform)).toBe(expected);
    expect(existsSync("H")).toBe(false);
  });

  it("is below HOME where nothing else is said", () => {
    const home = join(folder, "home");
    expect(historyFile({ XDG_STATE_HOME: "relative", HOME: folder }, "linux")).toBe(
      join(folder, ".local", "state", "memtool", "repl_history"),
    );
    expect(historyFile({ HOME: home }, "linux")).toBeUndefined();
  });
});

describe("words of a command", () => {
  it.each([
    ["a  b", ["a", "b"]],
    ['"a b" c', ["a b", "c"]],
    ['--opt="a b" c', ["--opt=a b", "c"]],
    [`--opt='say "a"'x`, ['--opt=say "a"x']],
    [`"" ''`, ["", ""]],
    ["", []],
  ])("of %j are %j", (text, words) => {
    expect(wordsOf(text)).toEqual(words);
  });

  it.each(['a "b c', "--opt='b"])("a quote that is not closed is told: %s", (text) => {
    expect(() => wordsOf(text)).toThrow("the quote is not closed");
  });

  it("are arguments and options as the command line has them", () => {
    expect(parseWords(PAGECACHE, ["a", "--deleted", "--inode=3", "--pid", "4"])).toEqual({
      args: ["a"],
      options: { deleted: true, inode: "3", pid: "4" },
    });
    expect(() => parseWords(PAGECACHE, ["--inode"])).toThrow("needs a value");
    expect(parseWords(MALFIND, ["--no-disassembly"]).options).toEqual({ disassembly: false });
  });
});
