/** `memtool strings` and `memtool yara` on the dump that ships, against binutils over its raw form, and against `memtool search`. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, test } from "vitest";
import { UsageError } from "../../cli/errors.js";
import { stringsWanted } from "../../cli/search/strings.js";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, testFolder, truth } from "../support/cli-dump.js";

const { folder } = testFolder();
const RAW = join(folder, "guest.raw");
const RULES = join(folder, "rules.yar");
const WITNESS = `${truth.witnessPid}`;

/** Places and texts as binutils tells them, those that match only. */
function binutils(letter: string, min: number, match: RegExp): string[] {
  const args = ["-a", "-t", "x", "-n", `${min}`, "-e", letter, RAW];
  const out = execFileSync("strings", args, { maxBuffer: 1 << 28, encoding: "latin1" });
  const lines = [...out.matchAll(/^ *([0-9a-f]+) (.*)$/gm)];
  return lines
    .filter(([, , text]) => match.test(text as string))
    .map(([, place, text]) => `0x${place} ${text}`);
}

const mine = (out: string) => jsonLines(out).map(({ physical, text }) => `${physical} ${text}`);

beforeAll(async () => {
  writeFileSync(
    RULES,
    `rule found : demo { meta: author = "us" strings:
        $text = "memtool-witness" $hex = { 7f 45 4c 46 02 ?? 01 } $regex = /memtool-[a-z]{3,20}/
        condition: any of them }`,
  );
  const { status } = await memtool(["convert", RAW, ...ON_DUMP]);
  expect(status).toBe(0);
});

describe("memtool strings", () => {
  it.each([
    ["ascii", "s", 20, /e/],
    ["utf16le", "l", 4, /(?:)/],
  ])("finds in %s what binutils finds in the raw form", async (encoding, letter, min, match) => {
    const expected = binutils(letter, min, match);
    expect(expected.length).toBeGreaterThan(20);
    const options = ["--encoding", encoding, "--min", `${min}`, "--grep", match.source, "--json"];
    const { out, status } = await memtool(["strings", ...options, ...ON_DUMP]);
    expect(status).toBe(0);
    expect(mine(out)).toEqual(expected);
  });

  it("tells of a process's texts where in it they are, and with --owners whose memory that is", async () => {
    const args = ["strings", "--pid", WITNESS, "--grep", "^memtool-witness$", "--json", ...ON_DUMP];
    const plain = jsonLines((await memtool([...args, "--limit", "1"])).out);
    const owned = jsonLines((await memtool([...args, "--owners"])).out);
    expect(plain[0]).toMatchObject({
      physical: null,
      virtual: expect.stringMatching(/^0x/),
      owner: null,
      pid: 98,
    });
    expect(owned[0]).toMatchObject({
      virtual: plain[0]?.virtual,
      physical: expect.stringMatching(/^0x/),
      pid: 98,
      owner: "mt-witness, /guest, r--p",
    });
  });

  it("ends where an expression takes too long, and tells where, and what it found before", async () => {
    const path = join(folder, "endless.raw");
    writeFileSync(path, `found aab\0${"a".repeat(60_000)}\0`);
    const { out, err, status } = await memtool(["strings", "--grep", "(a+)+b", "--json", "-f", path]);
    expect(jsonLines(out).map(({ text }) => text)).toEqual(["found aab"]);
    expect(err).toMatch(/takes too long for the memory from 0xa on/);
    expect(status).toBe(3);
  }, 60_000);

  it("writes rows as --output says, and lines for people, up to --limit", async () => {
    const csv = await memtool(["strings", "--limit", "3", "-o", "csv", ...ON_DUMP]);
    expect(csv.out.split("\n")[0]).toBe("physical,virtual,pid,owner,kind,encoding,length,continues,text");
    expect(csv.out.trimEnd().split("\n")).toHaveLength(4);
    const { out } = await memtool([
      "strings",
      "-e",
      "ascii",
      "--grep",
      "^Linux version",
      "--limit",
      "2",
      ...ON_DUMP,
    ]);
    expect(out).toMatch(
      /^ +ADDRESS {2}TEXT\n +0x20001a0 {2}Linux version 6\.1.*\n +0x211ffe0 {2}Linux version/,
    );
  });
});

describe("memtool yara", () => {
  it("finds text, bytes and expressions where search does", async () => {
    const searches = [
      ["$text", "--text", "memtool-witness"],
      ["$hex", "--hex", "7f454c4602??01"],
      ["$regex", "--regex", "memtool-[a-z]{3,20}"],
    ] as const;
    const options = searches.flatMap(([, option, pattern]) => [option, pattern]);
    const places = (list: Record<string, unknown>[], key: string, name: string) =>
      list
        .filter((row) => row[key] === name)
        .map(({ physical, virtual, pid, length }) => [physical, virtual, pid, length]);
    for (const where of [[], ["--all-processes"]]) {
      const { out, status } = await memtool(["yara", RULES, ...where, "--no-owners", "--json", ...ON_DUMP]);
      expect(status).toBe(0);
      const rows = jsonLines(out);
      expect(rows[0]).toMatchObject({ rule: "found", tags: ["demo"], meta: { author: "us" }, source: RULES });
      const found = await memtool(["search", ...options, ...where, "--no-owners", "--json", ...ON_DUMP]);
      for (const [name, , pattern] of searches) {
        const expected = places(jsonLines(found.out), "pattern", pattern);
        expect(expected.length).toBeGreaterThan(1);
        expect(places(rows, "pattern", name)).toEqual(expected);
      }
    }
  }, 60_000);

  it("shows people the rule, its pattern, and whose memory it is", async () => {
    const { out } = await memtool(["yara", RULES, "--pid", WITNESS, ...ON_DUMP]);
    expect(out).toMatch(/^ +PHYSICAL +VIRTUAL +PID {2}RULE +PATTERN {3}OWNER\n/);
    expect(out).toMatch(/ 98 {2}found +\$text +process {2}mt-witness, \/guest, r--p\n/);
  });

  it("refuses rules that are wrong with status 2, by file and line, before the target is opened", async () => {
    const bad = join(folder, "bad.yar");
    writeFileSync(bad, 'rule bad {\n  strings: $a = "x"\n  condition: $b\n}\n');
    const { status, out, err } = await memtool(["yara", RULES, bad, "-f", "no-such-file"]);
    expect({ status, out }).toEqual({ status: 2, out: "" });
    expect(err).toContain(`the rules do not compile:\n  ${bad}:3:14: unknown pattern \`$b\``);
    const missing = await memtool(["yara", join(folder, "none.yar"), "-f", "no-such-file"]);
    expect(missing.status).toBe(2);
    expect(missing.err).toMatch(/can't read the rules in .*none\.yar: no such file/);
  });
});

test.each([
  ["no character at least", { min: "0" }],
  ["an encoding that is none", { encoding: ["ebcdic"] }],
  ["an expression that is none", { grep: "(" }],
  ["a case without an expression", { ignoreCase: true }],
  ["a length without a start", { length: "4K" }],
])("strings refuses %s before the target is opened", (_, options) => {
  expect(() => stringsWanted(options)).toThrow(UsageError);
});
