import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeSearchHost } from "../../connectors/search-host.js";
import { SourceIo } from "../../src/io/index.js";
import { AddressSpace } from "../../src/memory/index.js";
import { PatternError, type SearchHost, type SearchPattern, searchSpace } from "../../src/search/index.js";
import { testSource } from "../memory/support.js";

type Holes = readonly { start: number; end: number }[];

/** With nothing of the platform; with WebAssembly; and as if helpers were there, all of whom come too late. */
const HOSTS: readonly SearchHost[] = [
  {},
  nodeSearchHost,
  { ...nodeSearchHost, helpers: { count: 1, start: () => {} } },
];

/** What is found, which is the same on every host. */
function hits(
  bytes: Uint8Array,
  patterns: SearchPattern[],
  piece = 64,
  holes: Holes = [],
  littleEndian = true,
) {
  const [first, ...others] = HOSTS.map((host) => {
    const io = new SourceIo(testSource(bytes, { holes }));
    const space = new AddressSpace<number>(io, { addressBits: 53, littleEndian });
    const found = searchSpace(space, patterns, {
      piece,
      ranges: { start: 0, end: bytes.length },
      host,
    }).sync();
    return [...found].map(({ address, length, pattern }) => [Number(address), length, pattern]);
  });
  for (const other of others) expect(other).toEqual(first);
  return first as number[][];
}

const latin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Few values, so that needles are found, and found overlapping. */
const memory = fc.uint8Array({ minLength: 1, maxLength: 900, max: 2 });
const holesOf = fc
  .array(fc.record({ start: fc.nat(900), length: fc.integer({ min: 1, max: 40 }) }), { maxLength: 4 })
  .map((list) => list.map(({ start, length }) => ({ start, end: start + length })));
const within = (holes: Holes, at: number, length: number) =>
  !holes.some(({ start, end }) => start < at + length && end > at);

test("literals are found wherever they are, overlapping, straddling pieces, never across a hole", () => {
  const needles = fc.oneof(
    fc.record({ start: fc.nat(899), length: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ start: fc.nat(899), length: fc.integer({ min: 1, max: 4 }) }),
  );
  fc.assert(
    fc.property(
      memory,
      needles,
      holesOf,
      fc.integer({ min: 1, max: 128 }),
      (bytes, { start, length }, holes, piece) => {
        const needle = bytes.subarray(start % bytes.length, (start % bytes.length) + length);
        const hex = Buffer.from(needle).toString("hex");
        const expected: number[][] = [];
        for (let at = 0; at + needle.length <= bytes.length; at++)
          if (needle.every((b, i) => b === bytes[at + i]) && within(holes, at, needle.length))
            expected.push([at, needle.length, 0]);
        expect(hits(bytes, [{ hex }], piece, holes)).toEqual(expected);
      },
    ),
  );
});

test("wildcards stand for any byte or digit", () => {
  const digit = fc.constantFrom("?", "0", "1", "2");
  const hexes = fc
    .array(fc.tuple(digit, digit), { minLength: 1, maxLength: 6 })
    .map((list) => list.map(([a, b]) => a + b).join(" "))
    .filter((hex) => /\d/.test(hex));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300, max: 34 }),
      hexes,
      fc.integer({ min: 1, max: 64 }),
      (bytes, hex, piece) => {
        const shape = new RegExp(`^${hex.replaceAll(" ", "").replaceAll("?", ".")}`);
        const text = Buffer.from(bytes).toString("hex");
        const expected = [...bytes.keys()].filter((at) => shape.test(text.slice(2 * at)));
        expect(hits(bytes, [{ hex }], piece).map(([at]) => at)).toEqual(expected);
      },
    ),
  );
});

test("pointers are aligned words whose value lies in the range, in either byte order", () => {
  const words = fc.array(fc.bigInt({ min: 0xfff0n, max: 0x1_0000_0010n }), { maxLength: 40 });
  const bound = fc.bigInt({ min: 0xfff0n, max: 0x1_0000_0010n });
  fc.assert(
    fc.property(
      words,
      bound,
      bound,
      fc.boolean(),
      fc.integer({ min: 1, max: 50 }),
      (list, a, b, little, piece) => {
        const view = new DataView(new ArrayBuffer(8 * list.length + 3));
        for (const [i, word] of list.entries()) view.setBigUint64(8 * i, word, little);
        const [start, end] = a < b ? [a, b + 1n] : [b, a + 1n];
        const expected = list.flatMap((word, i) => (word >= start && word < end ? [8 * i] : []));
        const found = hits(new Uint8Array(view.buffer), [{ pointerTo: { start, end } }], piece, [], little);
        expect(found.map(([at]) => at)).toEqual(expected);
      },
    ),
  );
});

test("regular expressions match bytes, wherever pieces end", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "\xff", "\n"), maxLength: 400 });
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 60 }), (memory, piece) => {
      const regex = /ab+|\xff[^a]{1,9}/;
      const expected = [...memory.matchAll(new RegExp(regex, "g"))].map((m) => [m.index, m[0].length, 0]);
      // A run of more than 256 b would be cut: the model has none to tell.
      fc.pre(expected.every(([, length]) => (length as number) <= 256));
      expect(hits(latin1(memory), [{ regex }], piece)).toEqual(expected);
    }),
  );
});

test("what an expression matches depends on what is readable, not on pieces, whatever it looks at", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "\n"), minLength: 4000, maxLength: 9500 });
  const expressions = fc.constantFrom(
    /^[ab]+$/m,
    /^a/,
    /b$/,
    /(?<=a)b+(?=\n|a)/,
    /\ba+\b/,
    /a[\s\S]{0,40}?\n/,
    /(a|b)+/,
    /b(?![\s\S]*\n\n)/,
  );
  fc.assert(
    fc.property(
      text,
      holesOf,
      expressions,
      fc.integer({ min: 50, max: 9000 }),
      (memory, holes, regex, piece) => {
        const bytes = latin1(memory);
        const pattern = { regex, maxLength: 64 };
        const whole = hits(bytes, [pattern], 1 << 16, holes);
        expect(hits(bytes, [pattern], piece, holes)).toEqual(whole);
      },
    ),
    { numRuns: 40 },
  );
});

test("^ and $ are where readable memory begins and ends", () => {
  const memory = latin1("ab ab ab ab");
  expect(hits(memory, [{ regex: /^ab/ }], 4)).toEqual([[0, 2, 0]]);
  expect(hits(memory, [{ regex: /ab$/ }], 4)).toEqual([[9, 2, 0]]);
  expect(hits(memory, [{ regex: /^ab|ab$/ }], 4, [{ start: 5, end: 6 }])).toEqual([
    [0, 2, 0],
    [3, 2, 0],
    [6, 2, 0],
    [9, 2, 0],
  ]);
});

test("of a longer match, what matches within the length is a hit; nothing is where the expression looks at what follows", () => {
  const memory = latin1(`x${"a".repeat(100)}b`);
  expect(hits(memory, [{ regex: /xa+/, maxLength: 10 }])).toEqual([[0, 10, 0]]);
  expect(hits(memory, [{ regex: /xa+b/, maxLength: 10 }])).toEqual([]);
  expect(hits(memory, [{ regex: /xa+$/, maxLength: 10 }])).toEqual([]);
  expect(hits(memory, [{ regex: /xa+\b/, maxLength: 10 }])).toEqual([]);
});

describe("search", () => {
  test("says which of several patterns it is, ascending by address", () => {
    const bytes = latin1("one TWO t\0w\0o\0 one");
    const patterns = [{ text: "two", ignoreCase: true }, { text: "one" }, { utf16: "two" }];
    expect(hits(bytes, patterns, 5)).toEqual([
      [0, 3, 1],
      [4, 3, 0],
      [8, 6, 2],
      [15, 3, 1],
    ]);
  });

  test("finds numbers in the target's byte order, at their alignment", () => {
    const bytes = Uint8Array.of(0, 0x34, 0x12, 0, 0x34, 0x12, 0x12, 0x34);
    expect(hits(bytes, [{ number: 0x1234, size: 2 }])).toEqual([[4, 2, 0]]);
    expect(hits(bytes, [{ number: 0x1234, size: 2, align: 1 }])).toEqual([
      [1, 2, 0],
      [4, 2, 0],
    ]);
    expect(hits(bytes, [{ number: 0x1234, size: 2 }], 64, [], false)).toEqual([[6, 2, 0]]);
  });

  test("hits that are more than there is room for are all handed out, in order", () => {
    const bytes = latin1("ab".repeat(4000));
    const found = hits(bytes, [{ hex: "61" }, { regex: /ab/ }, { hex: "62" }], 5000);
    expect(found.map(([at]) => at)).toEqual(
      [...bytes.keys()].flatMap((at) => (at % 2 === 0 ? [at, at] : [at])),
    );
  });

  test("ignores the case of ASCII letters alone", () => {
    const bytes = latin1("kK\x0b[{@`");
    expect(hits(bytes, [{ text: "k", ignoreCase: true }]).map(([at]) => at)).toEqual([0, 1]);
    expect(hits(bytes, [{ text: "[", ignoreCase: true }]).map(([at]) => at)).toEqual([3]);
    expect(hits(bytes, [{ text: "@", ignoreCase: true }]).map(([at]) => at)).toEqual([5]);
  });

  test("streams: the first hits of many come before the rest is read", () => {
    const log: string[] = [];
    const space = new AddressSpace<number>(new SourceIo(testSource(new Uint8Array(4096), { log })), {
      addressBits: 53,
    });
    const found = searchSpace(space, [{ hex: "00" }], { piece: 64, ranges: { start: 0, end: 4096 } }).sync();
    expect(found.next().value?.address).toBe(0n);
    found.return?.();
    expect(log).toHaveLength(1);
  });

  const refused: [string, SearchPattern][] = [
    ["no bytes", { hex: "" }],
    ["no text", { text: "" }],
    ["wildcards alone", { hex: "?? ??" }],
    ["half a byte", { hex: "abc" }],
    ["what is no digit", { hex: "zz" }],
    ["a number too big", { number: 65536, size: 2 }],
    ["a range of nothing", { pointerTo: { start: 5n, end: 5n } }],
    ["flags over code points", { regex: /a/u }],
    ["an alignment that is none", { number: 1, size: 4, align: 0 }],
  ];
  test.each(refused)("refuses %s", (_, pattern) => {
    expect(() => hits(new Uint8Array(8), [pattern])).toThrow(PatternError);
  });
});
