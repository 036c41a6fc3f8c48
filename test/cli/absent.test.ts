/** What the command line says of pages that are not present for the processor. The program of the fixture has them all. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseSwapArea } from "../../cli/parse.js";
import { absentText } from "../../cli/render/absent.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { jsonLines, memtool } from "../support/cli.js";
import { writeSwapArea } from "../support/write-swap.js";

const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8")) as Truth;
const ON_DUMP = ["--root", truth.stops.kernel.root, "-f", "fixtures/linux-6.1-x86_64.kdump"];
/** The first page in the swap area: page 0x67 of area 0. */
const SWAPPED = "0x490000008000";
/** The first page behind PROT_NONE. */
const HIDDEN = "0x410000010000";
const ZERO = "0x450000000000";

const folder = mkdtempSync(join(tmpdir(), "memtool-absent-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A swap area of 200 pages, each filled with its number. */
function area(name = "swap"): string {
  const path = join(folder, name);
  writeFileSync(path, writeSwapArea({ pageSize: 4096, pages: 200 }));
  return path;
}

describe("translate", () => {
  it("says in text where a page is that the processor calls not present", async () => {
    const { out, err, status } = await memtool([
      "translate",
      SWAPPED,
      HIDDEN,
      ZERO,
      "0x450000001000",
      ...ON_DUMP,
    ]);
    expect(out).toBe(
      "0x0000490000008000  swapped (level 1), entry 0x7ffffffffff300a: swap type 0, offset 0x67 (soft-dirty, exclusive)\n" +
        "0x0000410000010000  0x0000000001fdd000  4 KiB  --- hidden  in RAM: PROT_NONE, the entry holds the " +
        "complement of its address\n" +
        "0x0000450000000000  0x00000000032b1000  4 KiB  r-- user  page of zeros\n" +
        "0x0000450000001000  not-present (level 1), entry 0x0\n",
    );
    expect(err).toBe(
      `memtool: ${SWAPPED} is page 0x67 of swap area 0: give that area's file with --swap FILE ` +
        "(zram has none: its pages lie compressed in RAM)\n",
    );
    expect(status).toBe(3);
  });

  it("says in JSON what the entry is, and nothing on standard error", async () => {
    const { out, err } = await memtool(["translate", SWAPPED, HIDDEN, ZERO, "--json", ...ON_DUMP]);
    const [swapped, hidden, zero] = jsonLines(out);
    expect(swapped).toEqual({
      virtual: SWAPPED,
      state: "swapped",
      level: 1,
      entry: "0x7ffffffffff300a",
      absent: { kind: "swap", type: 0, offset: 0x67, note: "soft-dirty, exclusive" },
    });
    expect(hidden).toEqual({
      virtual: HIDDEN,
      physical: "0x1fdd000",
      pageSize: 4096,
      readable: false,
      writable: false,
      user: false,
      executable: false,
      absent: {
        kind: "prot-none",
        physical: "0x1fdd000",
        note: "PROT_NONE, the entry holds the complement of its address",
      },
    });
    expect(zero).toMatchObject({ virtual: ZERO, zeroPage: "page" });
    expect(err).toBe("");
  });

  it("shows with --walk what is in the last entry", async () => {
    const { out } = await memtool(["translate", SWAPPED, "--walk", ...ON_DUMP]);
    expect(out.trimEnd().split("\n").at(-1)).toBe(
      "  level 1  PTE    [  8] at 0x00000000059cb040  0x07ffffffffff300a  not present: swap type 0, offset 0x67 " +
        "(soft-dirty, exclusive)",
    );
    const json = await memtool(["translate", HIDDEN, "--walk", "--json", ...ON_DUMP]);
    expect(jsonLines(json.out)[0]).toHaveProperty(["walk", 3, "absent", "kind"], "prot-none");
  });

  it("names the frame that the kernel took out of its own map", async () => {
    // A part of the image that the kernel gave back, and a place in the CPU's entry area that is kept free.
    const { out } = await memtool(["translate", "0xffffffff9fa02000", "0xfffffe000001c000", ...ON_DUMP]);
    expect(out).toBe(
      "0xffffffff9fa02000  not-present (level 1), entry 0x800ffffffe1fd062: taken out of the kernel's own map, " +
        "where its frame was 0x1e02000\n" +
        "0xfffffe000001c000  not-present (level 1), entry 0xffffffffff120: kept free\n",
    );
  });
});

describe("maps", () => {
  it("has swapped pages among the others, and that is no failure", async () => {
    const { out, status } = await memtool(["maps", "0x490000007000", "-l", "8K", ...ON_DUMP]);
    expect(status).toBe(0);
    expect(out).toBe(
      "START               END (EXCLUSIVE)     PHYSICAL            PAGES  RIGHTS\n" +
        "0x0000490000007000  0x0000490000008000  0x00000000031f6000  4 KiB  rw- user\n" +
        "0x0000490000008000  0x0000490000009000  swapped (level 1), entry 0x7ffffffffff300a: swap type 0, offset 0x67 " +
        "(soft-dirty, exclusive)\n",
    );
    const json = await memtool(["maps", SWAPPED, "-l", "4K", "--json", ...ON_DUMP]);
    expect(jsonLines(json.out)[0]?.absent).toEqual({
      kind: "swap",
      type: 0,
      offset: 0x67,
      note: "soft-dirty, exclusive",
    });
  });
});

describe("read", () => {
  it("has the bytes behind PROT_NONE", async () => {
    const { out, status } = await memtool(["read", HIDDEN, "-l", "8", "--json", ...ON_DUMP]);
    expect(status).toBe(0);
    expect(jsonLines(out)).toEqual([{ address: HIDDEN, length: 8, hex: "8e1128bb5b9b8910" }]);
  });

  it("says once which swap area a page is in, and reads it from there if it is given", async () => {
    const without = await memtool(["read", SWAPPED, "-l", "8K", ...ON_DUMP]);
    expect(without.status).toBe(1);
    expect(without.err.split("\n").slice(2)).toEqual([
      `memtool: ${SWAPPED} is page 0x67 of swap area 0: give that area's file with --swap FILE ` +
        "(zram has none: its pages lie compressed in RAM)",
      "",
    ]);
    const other = await memtool(["read", SWAPPED, "-l", "8", "--swap", `1=${area()}`, ...ON_DUMP]);
    expect(other.err).toContain("give that area's file with --swap 0=FILE");
    for (const given of [area(), `0=${area()}`]) {
      const { out, err, status } = await memtool([
        "read",
        "0x490000008ffc",
        "-l",
        "8",
        "--json",
        "--swap",
        given,
        ...ON_DUMP,
      ]);
      expect([err, status]).toEqual(["", 0]);
      expect(jsonLines(out)).toEqual([{ address: "0x490000008ffc", length: 8, hex: "6767676769696969" }]);
    }
  });
});

describe("--swap", () => {
  it("takes a file, or a number and a file", () => {
    expect(parseSwapArea("dir/swap.img")).toBe("dir/swap.img");
    expect(parseSwapArea("3=dir/a=b")).toEqual({ type: 3, path: "dir/a=b" });
    expect(parseSwapArea("a=3")).toBe("a=3");
    for (const [text, problem] of [
      ["", "empty"],
      ["3=", "empty"],
      ["32=x", "0 to 31"],
      ["999=x", "0 to 31"],
    ] as const) {
      expect(() => parseSwapArea(text)).toThrow(problem);
    }
  });

  it("names the file that is no swap area", async () => {
    const dump = "fixtures/linux-6.1-x86_64.kdump";
    const { err, status, out } = await memtool(["read", SWAPPED, "--swap", dump, ...ON_DUMP]);
    expect([status, out]).toEqual([1, ""]);
    expect(err).toMatch(new RegExp(`^memtool: file:${dump}: no swap area: it has no "SWAPSPACE2" at 0xff6`));
    expect((await memtool(["read", SWAPPED, "--swap", "77=x", ...ON_DUMP])).status).toBe(2);
    expect(
      (await memtool(["read", SWAPPED, "--swap", `0=${area()}`, "--swap", `0=${area()}`, ...ON_DUMP])).err,
    ).toContain("two swap areas with the number 0");
  });
});

it("every kind of entry has its words", () => {
  const at = { physical: 0x5000 };
  expect(absentText({ kind: "absent" })).toBe("of no meaning that is known");
  expect(absentText({ kind: "absent", note: "kept free" })).toBe("kept free");
  expect(absentText({ kind: "migration", ...at, note: "write, dirty" })).toBe(
    "being moved from its frame at 0x5000: write, dirty",
  );
  expect(absentText({ kind: "hwpoison", ...at })).toBe("its frame at 0x5000 has failed");
  expect(absentText({ kind: "device", ...at, note: "private write" })).toBe("with a device: private write");
  expect(absentText({ kind: "marker", note: "guard" })).toBe("no page, a note: guard");
  expect(absentText({ kind: "swap", type: 2, offset: 255 })).toBe("swap type 2, offset 0xff");
});
