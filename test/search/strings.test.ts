import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { SourceIo } from "../../src/io/index.js";
import { AddressSpace } from "../../src/memory/index.js";
import { type StringEncoding, type StringsOptions, strings } from "../../src/search/index.js";
import { testSource } from "../memory/support.js";

type Holes = readonly { start: number; end: number }[];

const folder = mkdtempSync(join(tmpdir(), "memtool-strings-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function found(bytes: Uint8Array, options: StringsOptions, holes: Holes = []) {
  const io = new SourceIo(testSource(bytes, { holes }));
  const space = new AddressSpace<number>(io, { addressBits: 53 });
  return [...strings(space, { ranges: { start: 0, end: bytes.length }, ...options }).sync()];
}

const isPrintable = (code: number) => code === 9 || (code >= 0x20 && code < 0x7f);

/** Bytes of the printable character that is at a place, by Node's own decoder; 0 if there is none. */
function characterAt(bytes: Uint8Array, at: number, encoding: StringEncoding): number {
  const [first = 0, second = -1] = bytes.subarray(at, at + 2);
  if (encoding === "ascii") return isPrintable(first) ? 1 : 0;
  if (encoding === "utf16le") return isPrintable(first) && second === 0 ? 2 : 0;
  if (encoding === "utf16be") return first === 0 && isPrintable(second) ? 2 : 0;
  for (const length of [1, 2, 3, 4]) {
    if (at + length > bytes.length) return 0;
    const text = Buffer.from(bytes.subarray(at, at + length)).toString("utf8");
    const code = text.codePointAt(0) as number;
    if (code === 0xfffd && Buffer.from(text).compare(bytes.subarray(at, at + length)) !== 0) continue;
    return isPrintable(code) || code >= 0xa0 ? length : 0;
  }
  return 0;
}

/** Slow: from every place on, character by character. */
function model(bytes: Uint8Array, min: number, encoding: StringEncoding): [number, string][] {
  const list: [number, string][] = [];
  for (let at = 0; at < bytes.length; ) {
    let end = at;
    let count = 0;
    for (let size = characterAt(bytes, end, encoding); size > 0; size = characterAt(bytes, end, encoding)) {
      end += size;
      count++;
    }
    if (count >= min) {
      const run = Buffer.from(bytes.subarray(at, end));
      if (encoding === "utf16be") run.swap16();
      const name = encoding === "ascii" ? "latin1" : encoding === "utf8" ? "utf8" : "utf16le";
      list.push([at, run.toString(name)]);
    }
    at = count > 0 ? end : at + 1;
  }
  return list;
}

/** Bytes that make texts of every encoding, and break them. */
const bytesOf = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom([65], [0x7e], [9], [0], [65, 0], [0, 66]) },
      { weight: 1, arbitrary: fc.constantFrom([0xff], [0x7f], [10], [0xc3, 0xa9], [0xe2, 0x82, 0xac]) },
      { weight: 1, arbitrary: fc.constantFrom([0xf0, 0x9f, 0x98, 0x80], [0xc2, 0x85], [0xed, 0xa0, 0x80]) },
      {
        weight: 1,
        arbitrary: fc.constantFrom([0xc0, 0x80], [0xe0, 0x80, 0x80], [0xf4, 0x90, 0x80], [0xe2, 0x82]),
      },
    ),
    { maxLength: 200 },
  )
  .map((list) => Uint8Array.from(list.flat()));
const encodingOf = fc.constantFrom<StringEncoding>("ascii", "utf8", "utf16le", "utf16be");

test("every run of printable characters is found whole, wherever pieces end", () => {
  fc.assert(
    fc.property(
      bytesOf,
      encodingOf,
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 60 }),
      (bytes, encoding, min, piece) => {
        const texts = found(bytes, { encodings: [encoding], min, piece, maxLength: 4096 });
        expect(texts.map(({ address, text }) => [Number(address), text])).toEqual(
          model(bytes, min, encoding),
        );
        expect(texts.every(({ continues }) => !continues)).toBe(true);
      },
    ),
    { numRuns: 200 },
  );
});

test("no text reaches across a hole", () => {
  const holesOf = fc.array(fc.record({ start: fc.nat(300), length: fc.integer({ min: 1, max: 20 }) }), {
    maxLength: 4,
  });
  fc.assert(
    fc.property(
      bytesOf,
      holesOf,
      encodingOf,
      fc.integer({ min: 1, max: 60 }),
      (bytes, list, encoding, piece) => {
        const holes = list.map(({ start, length }) => ({ start, end: start + length }));
        const isMissing = (at: number) => holes.some(({ start, end }) => at >= start && at < end);
        const expected: [number, string][] = [];
        for (let at = 0; at < bytes.length; at++) {
          if (isMissing(at)) continue;
          let end = at;
          while (end < bytes.length && !isMissing(end)) end++;
          for (const [place, text] of model(bytes.subarray(at, end), 2, encoding))
            expected.push([at + place, text]);
          at = end;
        }
        const texts = found(bytes, { encodings: [encoding], min: 2, piece }, holes);
        expect(texts.map(({ address, text }) => [Number(address), text])).toEqual(expected);
      },
    ),
  );
});

test("a text longer than the memory for one comes in parts that say that they go on, and nothing of it is lost", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      encodingOf,
      fc.integer({ min: 16, max: 40 }),
      fc.integer({ min: 1, max: 90 }),
      (count, encoding, maxLength, piece) => {
        const text = encoding === "utf8" ? "aé€😀".repeat(count) : "abcdefg".repeat(count);
        const bytes = Buffer.from(text, encoding === "ascii" || encoding === "utf8" ? "utf8" : "utf16le");
        if (encoding === "utf16be") bytes.swap16();
        const memory = Buffer.concat([Buffer.of(1, 1, 1), bytes, Buffer.of(1, 1, 1)]);
        const parts = found(memory, { encodings: [encoding], min: 1, maxLength, piece });
        expect(parts.map((part) => part.text).join("")).toBe(text);
        expect(parts.map(({ continues }) => continues)).toEqual(parts.map((_, i) => i < parts.length - 1));
        let at = 3;
        for (const { address, length } of parts) {
          expect(Number(address)).toBe(at);
          expect(length).toBeLessThanOrEqual(maxLength);
          at += length;
        }
      },
    ),
  );
});

test("finds what `strings` of binutils finds", () => {
  const path = join(folder, "memory");
  const options = { maxBuffer: 1 << 26, encoding: "latin1" } as const;
  const bytesOf = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 30 }),
      fc.stringMatching(/^[ -~\t]{0,30}$/).map((t) => Buffer.from(t)),
      fc.stringMatching(/^[ -~\t]{0,20}$/).map((text) => Buffer.from(text, "utf16le")),
    ),
    { minLength: 40, maxLength: 40 },
  );
  fc.assert(
    fc.property(bytesOf, fc.constantFrom(1, 3, 4, 8), (list, min) => {
      const bytes = Buffer.concat(list);
      writeFileSync(path, bytes);
      for (const [encoding, letter] of [
        ["ascii", "s"],
        ["utf16le", "l"],
        ["utf16be", "b"],
      ] as const) {
        const theirs = execFileSync(
          "strings",
          ["-a", "-t", "x", "-n", `${min}`, "-e", letter, path],
          options,
        );
        const mine = found(bytes, { encodings: [encoding], min, piece: 100 });
        const lines = mine.map(({ address, text }) => `${address.toString(16).padStart(7)} ${text}\n`);
        expect(lines.join("")).toBe(theirs);
      }
    }),
    { numRuns: 5 },
  );
});

describe("strings", () => {
  test("gives those of all encodings in the order of their addresses", () => {
    const bytes = Buffer.concat([Buffer.from("\x01w\0i\0d\0e\0\x01plain\x01"), Buffer.from("w\0i\0d\0e\0")]);
    const order = found(bytes, {}).map(({ encoding, text }) => `${encoding} ${text}`);
    expect(order).toEqual(["utf16le wide", "ascii plain", "utf16le wide"]);
  });

  test.each([
    ["texts of no character", { min: 0 }],
    ["no encoding", { encodings: [] }],
    ["an encoding that is none", { encodings: ["toString" as StringEncoding] }],
    ["texts of no byte at once", { maxLength: 0 }],
  ])("refuses %s", (_, options) => {
    expect(() => found(new Uint8Array(8), options)).toThrow(RangeError);
  });
});
