/** `memtool run`: scripts of users, beside which memtool is not installed. */
import { describe, expect, it } from "vitest";
import { memtool } from "../support/cli.js";
import { ON_DUMP, testFolder } from "../support/cli-dump.js";

const { file } = testFolder();

/** Runs a script of that text. */
function run(name: string, text: string, ...more: string[]) {
  return memtool(["run", file(name, text), ...more]);
}

describe("memtool run", () => {
  it("gives a TypeScript module the target, by globals and by its default export", async () => {
    const text = `const found: string[] = [];
      for await (const task of linux.tasks()) if (task.pid === 1) found.push(task.comm as string);
      console.log(found.join(), args.join("+"));
      export default async ({ machine, linux: same }: { machine: any; linux: unknown }) =>
        console.log(machine.format, same === linux);`;
    const { out, err, status } = await run("both.ts", text, "x", ...ON_DUMP, "--", "--own");
    expect([out, err, status]).toEqual(["init x+--own\nkdump true\n", "", 0]);
  });

  it("resolves memtool to the library that the target was opened with", async () => {
    const text = `import { LinuxKernel, Machine, type Task } from "memtool";
      import { LinuxKernel as Core } from "memtool/core";
      console.log(machine instanceof Machine, linux instanceof LinuxKernel, Core === LinuxKernel);`;
    expect((await run("same.ts", text, ...ON_DUMP)).out).toBe("true true true\n");
  });

  it("reads modules beside the script, also TypeScript that is called .js", async () => {
    file("helper.ts", "export const twice = (n: number): number => 2 * n;");
    const text = `import { twice } from "./helper.ts";\nimport { twice as same } from "./helper.js";
      console.log(twice(2), twice === same);`;
    expect((await run("imports.ts", text)).out).toBe("4 true\n");
  });

  it("runs JavaScript, and a script from standard input", async () => {
    expect((await run("plain.mjs", "console.log(args.length)", "a", "b")).out).toBe("2\n");
    const input = "const n: number = 3; console.log(n);";
    expect((await memtool(["run", "-"], { input })).out).toBe("3\n");
  });

  it("gives the process of --pid and its memory", async () => {
    const text = `console.log(target?.pid, memory === target?.memory);`;
    expect((await run("pid.ts", text, "--pid", "1", ...ON_DUMP)).out).toBe("1 true\n");
  });

  it("tells where a script threw, in its own lines, and lets no control of a terminal through", async () => {
    const text = `interface Gone {\n  a: string;\n}\nfunction inner(): never {\n  throw new Error("\\x1b[31m");\n}\ninner();\n`;
    const { out, err, status } = await run("throws.ts", text);
    expect([out, status]).toEqual(["", 1]);
    expect(err).toMatch(
      /^Error: \\x1b\[31m\n {4}at inner \(file:.*throws\.ts:5:9\)\n {4}at file:.*throws\.ts:7:1\n$/,
    );
  });

  it("tells where a script is no TypeScript", async () => {
    const { err, status } = await run("wrong.ts", "let x: number = 1;\nlet y: = 2;\n");
    expect(err).toMatch(/^SyntaxError: .*wrong\.ts:2:8: Unexpected token/);
    expect(status).toBe(1);
  });

  it.each([
    ["process.exitCode = 7", 7, ""],
    [
      "setTimeout(() => { throw new Error('late') }, 0); await new Promise((r) => setTimeout(r, 5000))",
      1,
      "Error: late",
    ],
    ["await new Promise(() => {})", 1, "waits for something that never comes"],
  ])("ends as the script says: %s", async (text, expected, says) => {
    const { err, status } = await run("ends.ts", text);
    expect(err).toContain(says);
    expect(status).toBe(expected);
  });

  it("asks for a target once the script does, and for a script that is there", async () => {
    expect(await run("asks.ts", "machine")).toMatchObject({
      status: 2,
      err: expect.stringContaining("-f FILE"),
    });
    expect(await memtool(["run", "/none.ts", ...ON_DUMP])).toMatchObject({
      status: 2,
      err: "memtool: /none.ts: no such script\n",
    });
  });

  it("says why there is no kernel, where the script asks for one", async () => {
    const text = `console.log(machine.format);\nlinux;\n`;
    const { out, err, status } = await run("none.ts", text, "-f", file("zeros.raw", new Uint8Array(1 << 16)));
    expect([out, status]).toEqual(["raw\n", 1]);
    expect(err).toContain("none.ts:2:1");
  });
});
