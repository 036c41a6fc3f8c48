import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileYara, YaraError, type YaraRules } from "../../../connectors/yara/rules.js";
import { type YaraOptions, yaraScan } from "../../../connectors/yara/scan.js";
import { SourceIo } from "../../../src/io/index.js";
import { AddressSpace } from "../../../src/memory/index.js";
import { testSource } from "../../memory/support.js";

/** Compiling takes longer than scanning what these tests have. */
const compiledRules = new Map<string, YaraRules>();

type Holes = readonly { start: number; end: number }[];

async function scanned(rules: string, bytes: Uint8Array, options: YaraOptions = {}, holes: Holes = []) {
  const io = new SourceIo(testSource(bytes, { holes }));
  const space = new AddressSpace<number>(io, { addressBits: 53 });
  const compiled = compiledRules.get(rules) ?? (await compileYara([{ name: "rules.yar", text: rules }]));
  compiledRules.set(rules, compiled);
  const regions = [{ start: 0n, end: BigInt(bytes.length) }];
  const hits = [];
  for await (const hit of yaraScan(space, compiled, { regions, ...options })) hits.push(hit);
  return hits;
}

const PIECE = 1 << 16;
const TEXT_RULE = 'rule text { strings: $a = "needle" condition: $a }';

test("a match is told once, wherever pieces of a long stretch end", async () => {
  const places = fc.uniqueArray(fc.nat(3 * PIECE), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(places, fc.integer({ min: 6, max: 5000 }), async (list, overlap) => {
      // (The last piece's edges, where matches are whole or not.)
      const edges = [PIECE - 6, PIECE - 5, PIECE - overlap, PIECE - overlap - 1, PIECE - overlap - 5, PIECE];
      const bytes = Buffer.alloc(4 * PIECE);
      for (const at of [...list, ...edges.slice(0, 1)]) bytes.write("needle", at);
      const expected: bigint[] = [];
      for (let at = bytes.indexOf("needle"); at >= 0; at = bytes.indexOf("needle", at + 1))
        expected.push(BigInt(at));
      const hits = await scanned(TEXT_RULE, bytes, { whole: PIECE, overlap });
      expect(hits.map(({ address }) => address)).toEqual(expected);
      expect(new Set(hits.map(({ whole }) => whole))).toEqual(new Set([false]));
    }),
    { numRuns: 8 },
  );
});

test("matches at each place around the end of a piece are told once", async () => {
  const overlap = 64;
  for (let at = PIECE - 2 * overlap; at < PIECE + 2 * overlap; at += 7) {
    const bytes = Buffer.alloc(2 * PIECE);
    bytes.write("needle", at);
    const hits = await scanned(TEXT_RULE, bytes, { whole: PIECE, overlap });
    expect(hits.map(({ address, length }) => [address, length])).toEqual([[BigInt(at), 6]]);
  }
});

describe("a rule", () => {
  const AT = 'rule start { strings: $a = "needle" condition: $a at 0 and filesize == 100 }';

  test("sees a stretch of memory as a file: up to a hole", async () => {
    const bytes = Buffer.alloc(300);
    for (const at of [0, 150, 250]) bytes.write("needle", at);
    const hits = await scanned(AT, bytes, {}, [
      { start: 100, end: 120 },
      { start: 230, end: 240 },
    ]);
    expect(hits.map(({ address, whole }) => [address, whole])).toEqual([[0n, true]]);
  });

  test("sees nothing beyond a region", async () => {
    const bytes = Buffer.alloc(300);
    bytes.write("needle", 200);
    const regions = [
      { start: 0n, end: 200n },
      { start: 200n, end: 300n },
    ];
    expect((await scanned(AT, bytes, { regions })).map(({ address }) => address)).toEqual([200n]);
  });

  test("that needs two texts is true where both are in one piece", async () => {
    const both = 'rule both { strings: $a = "needle" $b = "thread" condition: all of them }';
    const bytes = Buffer.alloc(2 * PIECE);
    bytes.write("needle", 10);
    bytes.write("thread", PIECE - 20);
    const hits = await scanned(both, bytes, { whole: PIECE, overlap: 100 });
    expect(hits.map(({ pattern, address }) => [pattern, address])).toEqual([
      ["$a", 10n],
      ["$b", BigInt(PIECE - 20)],
    ]);
  });

  test("without patterns is told once for a stretch, of however many pieces", async () => {
    const hits = await scanned("rule always { condition: filesize > 0 }", Buffer.alloc(3 * PIECE), {
      whole: PIECE,
    });
    expect(hits).toMatchObject([{ rule: "always", pattern: undefined, address: 0n, length: 0 }]);
  });

  test("has its tags, meta and bytes told", async () => {
    const rule =
      'rule tagged : one two { meta: author = "me" score = 3 strings: $x = { 6e 65 ?? 64 } condition: $x }';
    const [hit] = await scanned(rule, Buffer.from("a needle"));
    expect(hit).toMatchObject({ rule: "tagged", source: "rules.yar", tags: ["one", "two"], pattern: "$x" });
    expect(hit?.meta).toEqual({ author: "me", score: 3 });
    expect(Buffer.from(hit?.bytes ?? []).toString()).toBe("need");
  });

  test("that matches too often is cut, and says so", async () => {
    const limits: unknown[] = [];
    const onLimit = (where: unknown) => void limits.push(where);
    const hits = await scanned('rule many { strings: $a = "x" condition: $a }', Buffer.alloc(500, "x"), {
      maxMatches: 10,
      onLimit,
    });
    expect(hits).toHaveLength(10);
    expect(limits).toEqual([{ rule: "many", pattern: "$a" }]);
  });
});

describe("rules that are wrong", () => {
  test("are refused with the file and line of each problem", async () => {
    const sources = [
      { name: "good.yar", text: TEXT_RULE },
      { name: "bad.yar", text: 'rule bad {\n strings: $a = "x"\n condition: $b\n}\nrule worse { foo }' },
    ];
    const error = await compileYara(sources).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(YaraError);
    const { problems, message } = error as YaraError;
    expect(problems.map(({ name, line }) => [name, line])).toEqual([
      ["bad.yar", 3],
      ["bad.yar", 5],
    ]);
    expect(message).toContain("bad.yar:3:13: unknown pattern `$b`: this pattern is not declared");
  });

  test("of two files may have the same names", async () => {
    const rules = await compileYara(["a", "b"].map((name) => ({ name, text: TEXT_RULE })));
    const space = new AddressSpace<number>(new SourceIo(testSource(Buffer.from("needle"))), {
      addressBits: 53,
    });
    const found = [];
    for await (const { source } of yaraScan(space, rules, { regions: [{ start: 0n, end: 6n }] }))
      found.push(source);
    expect(found).toEqual(["a", "b"]);
  });
});

test.each([
  ["is not installed", "Cannot find package '@litko/yara-x' imported from x", /npm install @litko\/yara-x@/],
  ["has no binary for the platform", "Cannot find native binding.", /binaries for Linux on x86-64/],
])("a package that %s is an error that says what to do", async (_, message, expected) => {
  const failing = compileYara([], () => Promise.reject(new Error(message)));
  await expect(failing).rejects.toMatchObject({
    code: "NO_PACKAGE",
    message: expect.stringMatching(expected),
  });
});
