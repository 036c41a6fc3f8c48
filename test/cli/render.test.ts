import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeText, toJson } from "../../cli/render/escape.js";
import { HexDump } from "../../cli/render/hexdump.js";
import { reasonOf, reasonText } from "../../cli/render/hole.js";
import { metricsLines } from "../../cli/render/metrics.js";
import { bytesText, hex, hex16 } from "../../cli/render/numbers.js";
import { Progress } from "../../cli/render/progress.js";
import { fields, table } from "../../cli/render/table.js";
import { translationJson, translationText } from "../../cli/render/translation.js";
import { makeStyle, wantsColour } from "../../cli/style.js";
import { fault, levelDetail } from "../../src/io/index.js";

const bytesOf = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

describe("text from a target", () => {
  it("loses every control that a terminal would obey", () => {
    expect(escapeText("\x1b]0;evil\x07\r\n\t\x7f\x9b31m")).toBe(
      "\\x1b]0;evil\\x07\\x0d\\x0a\\x09\\x7f\\x9b31m",
    );
    expect(escapeText("a\u202eb\u2066c\u200bd\ufeffe\u2028f")).toBe(
      "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{feff}e\\u{2028}f",
    );
    expect(escapeText("\u{e0041}\ud800x")).toBe("\\u{e0041}\\u{d800}x");
    expect(escapeText("init_task ünïcode 日本 🙂")).toBe("init_task ünïcode 日本 🙂");
  });

  it("comes back from JSON as it was, and has no control in it", () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there.
    const unsafe = /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;
    const text = fc.string({
      unit: fc.oneof(fc.constantFrom("\x1b", "\x9b", "\u202e", "\u200b", "\u{e0041}"), fc.string()),
    });
    fc.assert(
      fc.property(text, (value) => {
        const json = toJson({ value });
        expect(json).not.toMatch(unsafe);
        expect(JSON.parse(json)).toEqual({ value });
        expect(escapeText(value)).not.toMatch(unsafe);
      }),
    );
  });
});

describe("a hex dump", () => {
  const dump = (start: bigint, parts: (string | Uint8Array | [bigint, string])[], squeeze = true) => {
    const lines = new HexDump(start, { squeeze });
    const texts = parts.map((part) => {
      if (typeof part === "string") return lines.data(bytesOf(part));
      return part instanceof Uint8Array ? lines.data(part) : lines.hole(...part);
    });
    return texts.join("") + lines.end();
  };

  it("has an address, sixteen bytes and their characters a line", () => {
    expect(dump(0xffffffff81000000n, ["Linux version 6.1\0\x1b\xff~ "])).toBe(
      "ffffffff81000000  4c 69 6e 75 78 20 76 65  72 73 69 6f 6e 20 36 2e  |Linux version 6.|\n" +
        "ffffffff81000010  31 00 1b ff 7e 20                                 |1...~ |\n",
    );
  });

  it("shows what could not be read as such, and why", () => {
    expect(dump(0x1000n, ["abcd", [4n, "excluded"], "efghijkl", [20n, "not-present (level 1)"]])).toBe(
      "0000000000001000  61 62 63 64 ·· ·· ·· ··  65 66 67 68 69 6a 6b 6c  |abcd    efghijkl|\n" +
        "0000000000001010  ·· ·· ·· ·· ·· ·· ·· ··  ·· ·· ·· ·· ·· ·· ·· ··  not-present (level 1)\n" +
        "0000000000001020  ·· ·· ·· ··                                       not-present (level 1)\n",
    );
  });

  it("has eight bytes a line where a terminal has no room for sixteen", () => {
    const lines = (columns: number | undefined) => {
      const rows = new HexDump(0xffffffff81000000n, { columns });
      return (
        rows.data(bytesOf("Linux version 6.1")) +
        rows.hole(2n ** 20n, "table-missing (level 4, the table is not-present)") +
        rows.end()
      );
    };
    expect(lines(80)).toBe(
      "ffffffff81000000  4c 69 6e 75 78 20 76 65  |Linux ve|\n" +
        "ffffffff81000008  72 73 69 6f 6e 20 36 2e  |rsion 6.|\n" +
        "ffffffff81000010  31 ·· ·· ·· ·· ·· ·· ··  |1       |\n" +
        "ffffffff81000018  ·· ·· ·· ·· ·· ·· ·· ··  table-missing (level 4, the table is not-present)\n" +
        "*\n" +
        "ffffffff81100010  ··                       table-missing (level 4, the table is not-present)\n",
    );
    expect(lines(85)).toBe(lines(80));
    expect(lines(86)).toBe(lines(undefined));
    expect(lines(86).split("\n")[0]).toHaveLength(86);
  });

  it("squeezes rows that repeat, but shows the last one", () => {
    const zeros = new Uint8Array(64);
    expect(dump(0n, [zeros])).toBe(
      "0000000000000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n" +
        "*\n" +
        "0000000000000030  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n",
    );
    expect(dump(0n, [zeros], false).split("\n")).toHaveLength(5);
    expect(dump(0n, [zeros.subarray(0, 48), "x"])).toBe(
      "0000000000000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n" +
        "*\n" +
        "0000000000000030  78                                                |x|\n",
    );
  });

  it("shows a hole of any length in a few lines, at once", () => {
    expect(dump(8n, [[2n ** 64n - 8n, "non-canonical"]], false)).toBe(
      "0000000000000008  ·· ·· ·· ·· ·· ·· ·· ··  ·· ·· ·· ·· ·· ·· ·· ··  non-canonical\n" +
        "*\n" +
        "fffffffffffffff8  ·· ·· ·· ·· ·· ·· ·· ··                           non-canonical\n",
    );
    const two = dump(0n, [
      [4096n, "excluded"],
      [4096n, "outside"],
    ]);
    expect(two.split("\n").map((line) => line.slice(68))).toEqual([
      "excluded",
      "",
      "outside",
      "",
      "outside",
      "",
    ]);
  });

  it("is empty for no bytes", () => {
    expect(dump(0n, [])).toBe("");
    expect(dump(0n, [""])).toBe("");
  });

  it("does not depend on how the range is cut into pieces", () => {
    const piece = fc.tuple(fc.constantFrom("data", "hole"), fc.integer({ min: 1, max: 80 }));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 10 }), fc.boolean(), (pieces, squeeze) => {
        const whole = dump(
          0x100n,
          pieces.map(([kind, length]) =>
            kind === "data" ? new Uint8Array(length) : [BigInt(length), "outside"],
          ),
          squeeze,
        );
        const single = pieces.flatMap(([kind, length]) =>
          Array.from({ length }, (): Uint8Array | [bigint, string] =>
            kind === "data" ? new Uint8Array(1) : [1n, "outside"],
          ),
        );
        expect(whole).toBe(dump(0x100n, single, squeeze));
      }),
    );
  });
});

describe("holes", () => {
  it.each([
    [
      fault("not-present", "page", "paging", levelDetail(2)),
      { state: "not-present", level: 2 },
      "not-present (level 2)",
    ],
    [
      fault("table-missing", "page-table", "paging", levelDetail(1, fault("excluded", "page", "format"))),
      { state: "table-missing", level: 1, cause: "excluded" },
      "table-missing (level 1, the table is excluded)",
    ],
    [fault("excluded", "page", "format", 1), { state: "excluded", reason: "zero" }, "excluded (zero)"],
    [fault("excluded", "page", "format"), { state: "excluded" }, "excluded"],
    [fault("io", "file", "connector", 5), { state: "io", errno: 5 }, "io (errno 5)"],
    [fault("outside", "address", "backend"), { state: "outside" }, "outside"],
  ])("fault %#", (packed, json, text) => {
    expect(reasonOf(packed)).toEqual(json);
    expect(reasonText(reasonOf(packed))).toBe(text);
  });
});

describe("numbers and tables", () => {
  it("show sizes in their unit", () => {
    expect([0, 1, 17, 1023, 1024, 1536, 112 << 20].map(bytesText)).toEqual([
      "0 bytes",
      "1 byte",
      "17 bytes",
      "1023 bytes",
      "1 KiB",
      "1.5 KiB",
      "112 MiB",
    ]);
    expect(bytesText(1048568)).toBe("about 1024 KiB");
    expect(bytesText(2n ** 64n)).toBe("16 EiB");
    expect(hex(255)).toBe("0xff");
    expect(hex16(255n)).toBe("0x00000000000000ff");
  });

  it("line up, also with wide characters", () => {
    expect(
      table(
        [{ title: "NAME" }, { title: "SIZE", right: true }],
        [
          ["日本", "5"],
          ["x", "12345"],
        ],
      ),
    ).toBe("NAME   SIZE\n日本      5\nx     12345\n");
    expect(
      fields([
        ["a", "1"],
        ["long name", undefined],
        ["bb", "2"],
      ]),
    ).toBe("a          1\nbb         2\n");
  });
});

describe("translations", () => {
  const rights = {
    readable: true,
    writable: true,
    user: false,
    executable: false,
    global: true,
    rights: 41,
  };

  it("have the contract's fields and no others", () => {
    expect(
      translationJson({ virtual: 0xffff888000001234n, physical: 0x1234, pageSize: 4096, ...rights }),
    ).toEqual({
      virtual: "0xffff888000001234",
      physical: "0x1234",
      pageSize: 4096,
      readable: true,
      writable: true,
      user: false,
      executable: false,
    });
    expect(translationJson({ virtual: 0n, state: "not-present", level: 1, entry: 0x80n, fault: 1 })).toEqual({
      virtual: "0x0",
      state: "not-present",
      level: 1,
      entry: "0x80",
    });
  });

  it("are a line each for people", () => {
    expect(translationText({ virtual: 0x1234n, physical: 0x5234, pageSize: 2 << 20, ...rights })).toBe(
      "0x0000000000001234  0x0000000000005234  2 MiB  rw- kernel",
    );
    const missing = {
      state: "table-missing",
      level: 2,
      entry: 0x3067n,
      fault: 1,
      cause: "excluded",
    } as const;
    expect(translationText({ virtual: 0n, ...missing })).toBe(
      "0x0000000000000000  table-missing (level 2, the table is excluded), entry 0x3067",
    );
  });
});

describe("colour", () => {
  it("is for terminals, and not where NO_COLOR is set", () => {
    expect(wantsColour(true, {})).toBe(true);
    expect(wantsColour(true, { NO_COLOR: "" })).toBe(true);
    expect(wantsColour(true, { NO_COLOR: "1" })).toBe(false);
    expect(wantsColour(undefined, {})).toBe(false);
    expect(wantsColour(true, { TERM: "dumb" })).toBe(false);
    expect(makeStyle(true, true).dim("x")).toBe("\x1b[2mx\x1b[22m");
    expect(makeStyle(false, false).dim("x")).toBe("x");
  });
});

describe("a progress bar", () => {
  it("appears after a second, on a terminal, and goes away", () => {
    const written: string[] = [];
    let now = 0;
    const stream = { isTTY: true, columns: 60, write: (text: string) => written.push(text) };
    const progress = new Progress(stream, () => now);
    progress.update("reading", 1, 10);
    progress.clear();
    expect(written).toEqual([]);
    now = 1500;
    progress.update("reading", 5, 10);
    progress.update("reading", 6, 10);
    expect(written).toHaveLength(1);
    expect(written[0]).toContain("50% of 10 bytes");
    expect((written[0] as string).length).toBeLessThan(65);
    progress.clear();
    progress.clear();
    expect(written.slice(1)).toEqual(["\r\x1b[K"]);
  });

  it("is whole on a terminal that does not say how wide it is", () => {
    const written: string[] = [];
    let now = 0;
    const stream = { isTTY: true, columns: 0, write: (text: string) => written.push(text) };
    const progress = new Progress(stream, () => now);
    now = 5000;
    progress.update("reading", 5, 10);
    expect(written[0]).toMatch(/50% of 10 bytes$/);
  });

  it("never appears where there is no terminal", () => {
    const written: string[] = [];
    let now = 0;
    const progress = new Progress({ write: (text) => written.push(text) }, () => now);
    now = 5000;
    progress.update("reading", 5, 10);
    progress.clear();
    expect(written).toEqual([]);
  });
});

it("what passed through a source is told of one batch and one row as of one", () => {
  const one = {
    batches: 1,
    rows: 1,
    rowsWritten: 0,
    bytes: 1,
    bytesMoved: 0,
    rowsFailed: 1,
    failures: { io: 1 },
  };
  expect(metricsLines({ ...one, thrown: 1, busy: 0, elapsed: 0, latency: undefined })).toEqual([
    "1 batch, 1 row, 1 byte asked for, 0 bytes moved",
    "1 row failed, whole or in part: io 1",
    "1 batch ended with an error of the connector",
  ]);
});
