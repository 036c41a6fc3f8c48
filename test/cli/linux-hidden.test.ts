/** `ps --scan` and `malfind`, as a user calls them; and code as text. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Disassembler } from "../../cli/disassembly.js";
import { StatusCounts } from "../../cli/linux/scanned.js";
import type { Session } from "../../cli/session.js";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP } from "../support/cli-dump.js";

describe("ps --scan", () => {
  it("prints an object a line, with the lists and the evidence of each", async () => {
    const { out, err, status } = await memtool(["ps", "--scan", "--pid", "97", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    const rows = jsonLines(out);
    expect(rows.map((row) => row.status)).toEqual(["listed", "listed", "listed"]);
    expect(rows.find((row) => row.pid === 97)).toMatchObject({
      missedBy: [],
      against: [],
      cache: "task_struct",
    });
    expect(err).toBe("memtool: 65 listed, 1 idle; none is hidden\n");
  });

  it("is not for trees: that is a mistake before the dump is opened", async () => {
    const { err, status } = await memtool(["ps", "--scan", "--tree", "-f", "nowhere"]);
    expect([status, err]).toEqual([2, expect.stringContaining("leave out --tree")]);
  });
});

describe("what a scan says at its end", () => {
  const said = (statuses: readonly string[], isWhole: boolean) => {
    const counts = new StatusCounts<string>(["listed", "hidden", "freed"]);
    for (const status of statuses) counts.add(status);
    const told: string[] = [];
    counts.report({ warn: (text: string) => told.push(text) } as unknown as Session, isWhole);
    return told.join();
  };

  it.each([
    [["freed", "listed", "listed"], true, "2 listed, 1 freed; none is hidden"],
    [["listed"], false, "1 listed; none is known to be hidden, but not everything could be read"],
    [["listed", "hidden"], false, "1 listed, 1 hidden"],
    [[], true, ""],
  ])("of %j, all read: %j", (statuses, isWhole, text) => {
    expect(said(statuses, isWhole)).toBe(text);
  });
});

describe("malfind", () => {
  it("shows what speaks against memory, and its bytes", async () => {
    const { out, status } = await memtool(["malfind", "--pid", "97", ...ON_DUMP]);
    expect(status).toBe(0);
    expect(out).toMatch(
      /^notice {2}97 guest {2}0x430000000000 to 0x430000010000 {2}r-xp\n {2}executable memory of no file\n0000430000000000 {2}66 3f/,
    );
  });

  it("has all of it in an object, addresses as text", async () => {
    const { out } = await memtool(["malfind", "--pid", "97", "--json", ...ON_DUMP]);
    expect(jsonLines(out)).toMatchObject([
      {
        pid: 97,
        start: "0x430000000000",
        path: null,
        kinds: ["anonymous"],
        zero: false,
        resident: 16,
        disassembly: [],
      },
    ]);
  });

  it("gives bytes without the package, and says which one is missing", async () => {
    const folder = mkdtempSync(join(tmpdir(), "memtool-absent-"));
    try {
      const hook = join(folder, "absent.cjs");
      writeFileSync(
        hook,
        `const M = require("module"); const find = M._resolveFilename;
         M._resolveFilename = function (name, ...rest) {
           if (!name.includes("capstone")) return find.call(this, name, ...rest);
           throw Object.assign(new Error("not found"), { code: "MODULE_NOT_FOUND" });
         };`,
      );
      const env = { NODE_OPTIONS: `--require ${hook}` };
      const { out, err, status } = await memtool(["malfind", "--pid", "97", ...ON_DUMP], { env });
      expect(status).toBe(0);
      expect(err).toContain("npm install @alexaltea/capstone-js@5.0.9");
      expect(out).toContain("66 3f e2 ee");
      const silent = await memtool(["malfind", "--pid", "97", "--no-disassembly", ...ON_DUMP], { env });
      expect(silent.err).toBe("");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("code as text", () => {
  const cases = [
    ["x86_64", 64, "554889e5c3", ["push rbp", "mov rbp, rsp", "ret"]],
    ["x86_64", 32, "5589e5c3", ["push ebp", "mov ebp, esp", "ret"]],
    ["i386", 32, "cd80", ["int 0x80"]],
    ["aarch64", 64, "010000d4c0035fd6", ["svc #0", "ret"]],
    ["riscv64", 64, "730000008280", ["ecall", "c.jr ra"]],
  ] as const;
  it.each(cases)("of %s, %i bits", async (architecture, bits, digits, texts) => {
    const code = Uint8Array.from(Buffer.from(digits, "hex"));
    const found = (await Disassembler.load()).disassemble(code, 0xffff_8000_0000_1000n, {
      architecture,
      bits,
    });
    expect(found.map(({ text }) => text)).toEqual(texts);
    expect(found[0]?.address).toBe(bits === 64 ? 0xffff_8000_0000_1000n : found[0]?.address);
  });
});
