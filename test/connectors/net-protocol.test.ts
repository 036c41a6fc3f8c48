/** What goes over the line: messages as bytes, and the places that lines lead to. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MalformedError } from "../../connectors/byte-code.js";
import { parsePlace } from "../../connectors/net/place.js";
import { decodeAnswer, decodeBatch, encodeAnswer, encodeBatch } from "../../connectors/net/protocol.js";
import { fault } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";

describe("messages", () => {
  const rows = fc.array(
    fc.record({
      lo: fc.integer({ min: 0, max: 0xffff_ffff }),
      hi: fc.integer({ min: 0, max: 0xffff_fffe }),
      length: fc.integer({ min: 1, max: 5000 }),
    }),
    { maxLength: 50 },
  );

  it("come back as they were", () => {
    fc.assert(
      fc.property(fc.nat(), rows, (id, list) => {
        const bytes = list.reduce((sum, { length }) => sum + length, 0);
        const payload = list.map(({ length }, i) => pattern(length, i));
        expect(decodeBatch(encodeBatch(id, "read", list, []))).toMatchObject({
          id,
          direction: "read",
          rows: list,
          bytes,
        });
        const written = decodeBatch(encodeBatch(id, "write", list, payload));
        expect(Buffer.compare(written.payload, Buffer.concat(payload))).toBe(0);
      }),
      { numRuns: 50 },
    );
    fc.assert(
      fc.property(
        fc.nat(),
        fc.array(fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 20 })), { maxLength: 9 }),
        (id, list) => {
          let at = 0;
          const holes = list.map(([gap, length]) => {
            const start = at + gap;
            at = start + length;
            return { start, end: at, fault: fault("io", "memory", "connector", 5), state: "io" as const };
          });
          const bytes = pattern(at + 10, 1);
          const { holes: found, bytes: good } = decodeAnswer(
            encodeAnswer(id, holes, bytes),
            bytes.length,
            "read",
          );
          expect(found).toEqual(holes.map(({ start, end, fault: why }) => ({ start, end, fault: why })));
          const kept = bytes.filter((_, i) => !holes.some(({ start, end }) => start <= i && i < end));
          expect([...good]).toEqual([...kept]);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("of any bytes are read or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        for (const decode of [() => decodeBatch(bytes), () => decodeAnswer(bytes, 64, "read")]) {
          try {
            decode();
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedError);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ["127.0.0.1:7000", { host: "127.0.0.1", port: 7000 }],
    ["[::1]:0", { host: "::1", port: 0 }],
    ["unix:/run/a:b", { path: "/run/a:b" }],
    ["host:70000", undefined],
    ["host", undefined],
    ["::1:7000", undefined],
    ["unix:", undefined],
  ])("%s is a place, or none", (text, place) => expect(parsePlace(text)).toEqual(place));
});
