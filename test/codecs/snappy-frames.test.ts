import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32c } from "../../src/codecs/crc32c.hot.js";
import { CodecError } from "../../src/codecs/errors.js";
import {
  decodeSnappyChunk,
  isSnappyIdentifier,
  maskedCrc32c,
  parseSnappyChunk,
  SNAPPY_CHUNK_HEADER,
  snappyChunkLength,
} from "../../src/codecs/snappy-frames.js";
import { damage, makeBlock, same } from "./blocks.js";
import { maskedSum, shortSnappy, varint, writeChunk, writeDataChunk } from "./write-snappy.js";

const body = (chunk: Uint8Array): Uint8Array => chunk.subarray(SNAPPY_CHUNK_HEADER);
const decode = (chunk: Uint8Array): Uint8Array => decodeSnappyChunk(parseSnappyChunk(chunk), body(chunk));
const ascii = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

describe("CRC-32C", () => {
  // RFC 3720, B.4, and the check value of the catalogue of CRCs.
  it.each([
    ["123456789", ascii("123456789"), 0xe3069283],
    ["32 zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 bytes of ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["0 to 31", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ["31 to 0", Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ["nothing", new Uint8Array(0), 0],
  ])("of %s is as published", (_, bytes, sum) => {
    expect(crc32c(bytes)).toBe(sum);
  });

  it("of any part of any bytes, masked, is that of the sum made bit by bit", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), fc.nat(200), (bytes, a, b) => {
        const start = Math.min(a, bytes.length);
        const end = Math.min(bytes.length, Math.max(start, b));
        expect(maskedCrc32c(bytes, start, end)).toBe(maskedSum(bytes.subarray(start, end)));
      }),
    );
  });
});

describe("chunks of snappy's framing format", () => {
  it("give their data, compressed or not", () => {
    const small = shortSnappy.filter(({ block }) => block.length <= 65_536);
    fc.assert(
      fc.property(small, ({ compressed, block }) => {
        for (const chunk of [writeDataChunk(block, compressed), writeDataChunk(block)]) {
          const header = parseSnappyChunk(chunk);
          expect(header.length).toBe(chunk.length - 4);
          expect(snappyChunkLength(header, body(chunk).subarray(0, 9))).toBe(block.length);
          expect(same(decode(chunk), block)).toBe(true);
        }
      }),
    );
  });

  it("are refused when they are damaged: the sum is of their data", () => {
    const data = makeBlock("text", 3000, 1);
    fc.assert(
      fc.property(fc.oneof(fc.constant(data), fc.uint8Array({ maxLength: 50 })), damage, (block, change) => {
        const whole = writeDataChunk(block);
        const damaged = change(body(whole));
        if (same(damaged, body(whole))) return;
        const header = { ...parseSnappyChunk(whole), length: damaged.length };
        expect(() => decodeSnappyChunk(header, damaged)).toThrow(CodecError);
      }),
      { numRuns: 1000 },
    );
  });

  it("of random bytes are refused, or are at most 64 KiB", () => {
    const header = fc.record({
      kind: fc.constantFrom("compressed" as const, "uncompressed" as const),
      type: fc.nat(1),
    });
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 100 }), (about, bytes) => {
        try {
          const data = decodeSnappyChunk({ ...about, length: bytes.length }, bytes);
          expect(data.length).toBeLessThanOrEqual(65_536);
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("are told apart by their type, those that may be skipped among them", () => {
    const kinds = Array.from({ length: 256 }, (_, type) => parseSnappyChunk(writeChunk(type, [])).kind);
    expect(kinds.slice(0, 3)).toEqual(["compressed", "uncompressed", "unknown"]);
    expect(new Set(kinds.slice(2, 0x80))).toEqual(new Set(["unknown"]));
    expect(new Set(kinds.slice(0x80, 0xff))).toEqual(new Set(["skippable"]));
    expect(kinds[0xff]).toBe("identifier");
    for (const type of [2, 0x80, 0xfe, 0xff]) {
      const chunk = writeChunk(type, new Uint8Array(40));
      expect(snappyChunkLength(parseSnappyChunk(chunk), body(chunk))).toBe(0);
      expect(() => decode(chunk)).toThrow(/has no data/);
    }
  });

  it("have lengths of three bytes", () => {
    expect(parseSnappyChunk(Uint8Array.of(9, 9, 0, 1, 2, 3), 2).length).toBe(0x030201);
    expect(parseSnappyChunk(Uint8Array.of(1, 255, 255, 255)).length).toBe(2 ** 24 - 1);
    expect(() => parseSnappyChunk(Uint8Array.of(0, 1, 2, 3), 1)).toThrow(/within the header/);
  });

  it.each([
    ["no room for their sum", writeChunk(1, [1, 2, 3]), /no room for its sum/],
    ["more than 64 KiB", writeChunk(1, new Uint8Array(65_541)), /more than 64 KiB/],
    [
      "more than 64 KiB, as they claim",
      writeChunk(0, [0, 0, 0, 0, ...varint(65_537), 0, 0]),
      /more than 64 KiB/,
    ],
    ["4 GiB, as they claim", writeChunk(0, [0, 0, 0, 0, ...varint(2 ** 32 - 1)]), /more than 64 KiB/],
    ["no length", writeChunk(0, [0, 0, 0, 0]), /within its length/],
  ])("with %s are refused", (_, chunk, message) => {
    expect(() => snappyChunkLength(parseSnappyChunk(chunk), body(chunk))).toThrow(message);
    expect(() => decode(chunk)).toThrow(message);
  });

  it("of which a part is missing are refused", () => {
    const chunk = writeDataChunk(makeBlock("text", 100, 1));
    expect(() => decodeSnappyChunk(parseSnappyChunk(chunk), body(chunk).subarray(0, -1))).toThrow(
      /103 are there/,
    );
  });

  it("begin with an identifier", () => {
    const identifier = writeChunk(0xff, ascii("sNaPpY"));
    expect(isSnappyIdentifier(identifier)).toBe(true);
    expect(isSnappyIdentifier(Uint8Array.of(0, ...identifier), 1)).toBe(true);
    for (let i = 0; i < identifier.length; i++) {
      expect(isSnappyIdentifier(identifier.subarray(0, i))).toBe(false);
      expect(isSnappyIdentifier(identifier.with(i, 1))).toBe(false);
    }
  });
});
