import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { parseBlock } from "../../cli/commands/coverage.js";
import { type BlockKind, Coverage, chooseBlock, kindOf } from "../../cli/coverage.js";
import {
  blocksPerRow,
  coverageLegend,
  coverageLines,
  kindsIn,
  OF_PHYSICAL,
  OF_PROCESS,
  totalsText,
} from "../../cli/render/coverage.js";
import { coverageSvg } from "../../cli/render/coverage-svg.js";
import { makeStyle } from "../../cli/style.js";
import { totalsOf } from "../../cli/totals.js";
import { writeWhole } from "../../cli/write-file.js";
import { PhysicalMap, type PhysicalRange } from "../../src/memory/index.js";
import { expectWellFormed } from "../support/xml.js";

const GIB = 2 ** 30;
const PAGE = 4096;
const plain = makeStyle(false, false);

/** Ranges as a map has them: ascending, disjoint, with gaps. */
const ranges = fc
  .array(
    fc.record({
      gap: fc.oneof(fc.constant(0), fc.nat(40), fc.nat(3000)),
      length: fc.integer({ min: 1, max: 60 }),
      kind: fc.constantFrom("present", "zero", "excluded"),
    }),
    { minLength: 1, maxLength: 20 },
  )
  .map((parts) => {
    let at = 0;
    const list = parts.map(({ gap, length, kind }): PhysicalRange => {
      const start = at + gap * 512;
      at = start + length * 512;
      if (kind === "excluded") return { start, end: at, state: "excluded", reason: "cache" };
      return { start, end: at, state: "present", ...(kind === "zero" ? { zero: true } : {}) };
    });
    return [...PhysicalMap.from(list)];
  });
const endOf = (list: readonly PhysicalRange[]) => list[list.length - 1]?.end ?? 0;

describe("blocks", () => {
  it("hold what a count byte by byte finds, and rows show each once, in order", () => {
    fc.assert(
      fc.property(
        ranges,
        fc.constantFrom(4096, 8192, 32_768),
        fc.constantFrom(8, 16),
        (list, size, perRow) => {
          const end = endOf(list);
          const coverage = new Coverage(list, end, size);
          let at = 0;
          for (const row of coverage.rows(perRow)) {
            expect(row.start).toBe(at);
            expect(row.start % (size * perRow)).toBe(0);
            const within = (from: number, to: number, which: (range: PhysicalRange) => boolean) =>
              list
                .filter(which)
                .reduce(
                  (sum, range) => sum + Math.max(0, Math.min(to, range.end) - Math.max(from, range.start)),
                  0,
                );
            if (row.blocks === undefined) {
              expect(within(row.start, row.end, () => true)).toBe(0);
            } else {
              expect(row.blocks.length).toBeLessThanOrEqual(perRow);
              expect(within(row.start, row.end, () => true)).toBeGreaterThan(0);
              for (const block of row.blocks) {
                expect(block.start).toBe(at);
                expect(block).toEqual({
                  start: at,
                  end: Math.min(at + size, end),
                  present: within(at, block.end, ({ state }) => state === "present"),
                  zero: within(at, block.end, ({ zero }) => zero === true),
                  excluded: within(at, block.end, ({ state }) => state === "excluded"),
                });
                at = block.end;
              }
            }
            at = row.end;
          }
          expect(at).toBe(end);
          const stored = [...coverage.blocks()];
          expect(stored).toHaveLength(coverage.length);
          for (const block of stored) expect(block.present + block.excluded).toBeGreaterThan(0);
        },
      ),
    );
  });

  it("are the smallest with which the picture has no more lines than it may", () => {
    fc.assert(
      fc.property(ranges, fc.constantFrom(8, 64), fc.integer({ min: 3, max: 40 }), (list, perRow, most) => {
        const lines = (size: number) => [...new Coverage(list, endOf(list), size).rows(perRow)].length;
        const size = chooseBlock(list, perRow, most);
        expect(lines(size)).toBeLessThanOrEqual(most);
        if (size > PAGE) expect(lines(size / 2)).toBeGreaterThan(most);
      }),
    );
  });

  it("of 1 TiB with 2 GiB in it are as small as for 2 GiB, and a million ranges cost no more than their number", () => {
    const sparse = [
      { start: 0, end: GIB, state: "present" as const },
      { start: 1023 * GIB, end: 1024 * GIB, state: "present" as const },
    ];
    // 32 rows, and a line for what is between.
    expect(chooseBlock(sparse, 64, 33)).toBe(2 ** 20);
    const scattered = function* () {
      for (let i = 0; i < 1_000_000; i++) yield { start: i * 2 ** 20, end: i * 2 ** 20 + PAGE };
    };
    expect(chooseBlock(scattered(), 64, 32)).toBe(512 * 2 ** 20);
  });

  it("of whole 64-bit spaces are exact", () => {
    const last = 2 ** 64 - PAGE;
    const list = [
      { start: 0x7fff_ffff_f000, end: 0x8000_0000_0000, state: "present" as const },
      { start: last, end: 2 ** 64, state: "present" as const },
    ];
    const size = chooseBlock(list, 32, 32);
    expect(size).toBe(PAGE);
    const blocks = [...new Coverage(list, 2 ** 64, size).blocks()];
    expect(blocks.map(({ start, end, present }) => [start, end, present])).toEqual([
      [0x7fff_ffff_f000, 0x8000_0000_0000, PAGE],
      [last, 2 ** 64, PAGE],
    ]);
  });

  it("may be too many, and then say what to do", () => {
    const list = [{ start: 0, end: 1024 * GIB, state: "present" as const }];
    expect(() => new Coverage(list, 1024 * GIB, PAGE)).toThrow(
      "more than 1048576 blocks of 4 KiB: choose larger ones (--block SIZE)",
    );
  });

  it.each<[BlockKind, number, number, number]>([
    ["outside", 0, 0, 0],
    ["excluded", 0, 0, 1],
    ["few", 1, 1, 0],
    ["few", 30, 0, 60],
    ["some", 31, 0, 0],
    ["some", 60, 60, 0],
    ["most", 61, 0, 29],
    ["most", 89, 89, 0],
    ["present", 90, 89, 0],
    ["zero", 90, 90, 0],
  ])("are %s with %d of 90 present, %d zero, %d left out", (kind, present, zero, excluded) => {
    expect(kindOf({ start: 0, end: 90, present, zero, excluded })).toBe(kind);
  });

  it("have sizes that are powers of two", () => {
    expect([parseBlock("4K"), parseBlock("0x200000"), parseBlock("1T")]).toEqual([PAGE, 2 ** 21, 2 ** 40]);
    for (const bad of ["0", "2048", "3M", "12K", "0x2000000000000000"]) {
      expect(() => parseBlock(bad), bad).toThrow("no power of two from 4K");
    }
    expect(() => parseBlock("big")).toThrow("not a length");
  });
});

/** A guest with a hole below 4 GiB, filtered, in blocks of 128 MiB. */
const guest: PhysicalRange[] = [
  ...PhysicalMap.from([
    { start: 0, end: GIB, state: "present" },
    { start: GIB, end: 2 * GIB, state: "present", zero: true },
    { start: 2 * GIB, end: 2 * GIB + 100 * 2 ** 20, state: "present" },
    { start: 2 * GIB + 100 * 2 ** 20, end: 3 * GIB, state: "excluded", reason: "user" },
    { start: 12 * GIB, end: 12 * GIB + 50 * 2 ** 20, state: "present" },
    { start: 12 * GIB + 50 * 2 ** 20, end: 12 * GIB + 60 * 2 ** 20, state: "excluded", reason: "truncated" },
  ]),
];
const guestCoverage = new Coverage(guest, endOf(guest), 128 * 2 ** 20);
const guestTotals = totalsOf(guest, true);

describe("the picture in a terminal", () => {
  const draw = (style = plain) => [...coverageLines(guestCoverage, 8, style)].join("");

  it("tells everything by its characters, and folds rows where there is nothing", () => {
    expect(draw()).toBe(
      [
        "0x000000000 ████████",
        "0x040000000 00000000",
        "0x080000000 ▓xxxxxxx",
        "            … 9 GiB outside, up to 0x300000000",
        "0x300000000 ▓",
        "",
      ].join("\n"),
    );
    const fullLegend =
      "█ present   ▓▒░ partly (over 2/3, over 1/3, less)   0 present, all zero   x excluded\n";
    expect(coverageLegend(kindsIn(guestCoverage, 8), plain)).toBe(fullLegend);
    expect(coverageLegend(new Set(["outside"]), plain, OF_PROCESS)).toBe("· not mapped\n");
  });

  it("has colours that are switched once a run, and the same characters", () => {
    const coloured = draw(makeStyle(true, true));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are controls.
    expect(coloured.replace(/\x1b\[\d+m/g, "")).toBe(draw());
    expect(coloured).toContain("\x1b[32m████████\x1b[39m\n");
    expect(coloured).toContain("\x1b[32m▓\x1b[39m\x1b[31mxxxxxxx\x1b[39m\n");
    expect(coloured).toContain("\x1b[36m00000000\x1b[39m\n");
  });

  it("fits the terminal, whatever its width and the size of addresses", () => {
    for (const end of [1, 2 ** 20, 5 * GIB, 2 ** 52, 2 ** 64]) {
      expect(blocksPerRow(end, 80)).toBe(end === 2 ** 64 ? 32 : 64);
      for (const width of [1, 20, 40, 79, 80, 100, 131, 160, 400]) {
        const perRow = blocksPerRow(end, width);
        expect(Number.isInteger(Math.log2(perRow))).toBe(true);
        if (perRow > 8) {
          const list = [{ start: 0, end, state: "present" as const }];
          const coverage = new Coverage(list, end, chooseBlock(list, perRow, 32));
          for (const line of coverageLines(coverage, perRow, plain)) {
            expect(line.length - 1).toBeLessThanOrEqual(width);
          }
        }
      }
    }
  });

  it("says in words what became of what is missing", () => {
    expect(totalsText(guestTotals)).toBe(
      [
        "present   2.1 GiB of 3.1 GiB RAM, 1 GiB of it marked as zero",
        "excluded  924 MiB, left out by the filter: memory of processes",
        "          10 MiB, missing: the file ends before it",
        "outside   9 GiB below 0x303c00000",
        "",
      ].join("\n"),
    );
    const qemu = totalsOf([{ start: 0, end: GIB, state: "excluded", reason: "or outside" }], false);
    expect(totalsText(qemu)).toBe(
      "present   0 bytes of 1 GiB RAM at most\nexcluded  1 GiB, left out, or outside: this file can't tell\n",
    );
  });
});

describe("the picture as SVG", () => {
  const draw = (title = "Memory in x") =>
    coverageSvg(guestCoverage, { title, subtitle: "a dump", totals: guestTotals, words: OF_PHYSICAL }, 8);

  it("is well-formed XML with title, addresses, legend and sums", () => {
    const svg = draw();
    expectWellFormed(svg);
    for (const text of [
      "Memory in x",
      "each square is 128 MiB, each row 1 GiB",
      "+256 MiB",
      "0x000000000",
      "0x300000000",
      "9 GiB outside, up to 0x300000000",
      "present, all zero",
      "924 MiB",
      "left out by the filter: memory of processes",
      "below 0x303c00000",
      "0x80000000 to 0x88000000: 100 MiB present, 28 MiB excluded",
    ]) {
      expect(svg, text).toContain(`>${text}<`);
    }
  });

  it("has a rectangle for each run of blocks of one kind", () => {
    expect(draw().match(/<rect [^>]*><title>/g)).toHaveLength(5);
  });

  it("is safe whatever the target is called", () => {
    const title = `</title><script>alert("&")</script>\x1b[31m\u0000\u202e${"long".repeat(100)}`;
    const svg = draw(title);
    expectWellFormed(svg);
    expect(svg).not.toContain("<script");
    expect(svg).toContain("&lt;script&gt;alert(&quot;&amp;&quot;)");
    expect(svg).toContain("\\x1b[31m\\x00\\u{202e}");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML can't hold these.
    expect(svg).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u202e]/);
  });
});

describe("a file that is written", () => {
  const folder = mkdtempSync(join(tmpdir(), "memtool-write-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is whole, replaces what a link leads to, and leaves nothing else behind", () => {
    const path = join(folder, "a.svg");
    symlinkSync("a.svg", join(folder, "link"));
    writeWhole(path, "one");
    writeWhole(join(folder, "link"), "two");
    expect(readFileSync(path, "utf8")).toBe("two");
    expect(readdirSync(folder).sort()).toEqual(["a.svg", "link"]);
  });

  it("is refused where it can't be, with the reason, and what was there stays", () => {
    mkdirSync(join(folder, "directory"));
    const before = readdirSync(folder);
    for (const [path, why] of [
      [join(folder, "nowhere", "a.svg"), /no such file or directory \(ENOENT\)/],
      [join(folder, "directory"), /no regular file/],
      ["/dev/null", /no regular file/],
    ] as const) {
      expect(() => writeWhole(path, "text")).toThrow(
        expect.objectContaining({ code: "WRITE_FAILED", message: expect.stringMatching(why) }),
      );
    }
    const full = () => {
      throw Object.assign(new Error("ENOSPC: no space left on device, rename"), { code: "ENOSPC" });
    };
    writeWhole(join(folder, "kept.svg"), "old");
    expect(() => writeWhole(join(folder, "kept.svg"), "new", full)).toThrow(
      /no space left on device \(ENOSPC\)/,
    );
    expect(readFileSync(join(folder, "kept.svg"), "utf8")).toBe("old");
    writeFileSync(join(folder, "file"), "");
    expect(() => writeWhole(join(folder, "file", "a.svg"), "text")).toThrow("could not be written");
    expect(readdirSync(folder)).toEqual([...before, "file", "kept.svg"].sort());
  });
});
