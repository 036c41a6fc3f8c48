import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeData,
  decodeHex,
  encodeHex,
  encodePacket,
  GdbProtocolError,
  PacketReader,
  type Received,
} from "../../../connectors/gdb/packets.js";

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));

describe("packets of GDB's remote protocol", () => {
  it("come back whatever bytes they hold, however they come", () => {
    const payloads = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 });
    const sizes = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 });
    fc.assert(
      fc.property(payloads, sizes, (given, cuts) => {
        const stream = Buffer.concat(given.flatMap((data) => [Buffer.from("+"), encodePacket(data)]));
        const reader = new PacketReader(1000);
        const found: Received[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = cuts[i % cuts.length] as number;
          found.push(...reader.push(stream.subarray(at, at + size)));
          at += size;
        }
        expect(found.filter(({ kind }) => kind === "ack").length).toBe(given.length);
        const packets = found.flatMap((one) => (one.kind === "packet" ? [[...one.data]] : []));
        expect(packets).toEqual(given.map((data) => [...data]));
      }),
    );
  });

  it("may have runs and escapes, as the manual's examples", () => {
    expect(Buffer.from(decodeData(bytesOf("0* "), 100) as Uint8Array).toString()).toBe("0000");
    expect([...(decodeData(bytesOf("a}\x03b}]"), 100) as Uint8Array)]).toEqual([0x61, 0x23, 0x62, 0x7d]);
    expect(decodeData(bytesOf("* "), 100)).toBeUndefined();
    expect(decodeData(bytesOf("a}"), 100)).toBeUndefined();
    expect(decodeData(bytesOf("a*"), 100)).toBeUndefined();
  });

  it("are damaged where their sum is wrong, and then others follow", () => {
    const reader = new PacketReader(100);
    expect(reader.push(bytesOf("$OK#9b$OK#9a$OK#zz%note#00-"))).toEqual([
      { kind: "damaged" },
      { kind: "packet", data: bytesOf("OK") },
      { kind: "damaged" },
      { kind: "nak" },
    ]);
  });

  it("that were cut off are begun anew", () => {
    expect(new PacketReader(100).push(bytesOf("$abc$OK#9a"))).toEqual([
      { kind: "packet", data: bytesOf("OK") },
    ]);
  });

  it("end a connection where they never end, stand for too much, or are none", () => {
    expect(() => new PacketReader(100).push(bytesOf(`$${"a".repeat(101)}`))).toThrow(GdbProtocolError);
    expect(() => new PacketReader(100).push(bytesOf("x".repeat(101)))).toThrow(GdbProtocolError);
    expect(() => decodeData(bytesOf("a*~*~*~"), 100)).toThrow(GdbProtocolError);
  });

  it("may be anything", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.uint8Array(), fc.constantFrom(...["$", "#", "}", "*~", "%"].map(bytesOf)))),
        (parts) => {
          try {
            const reader = new PacketReader(500);
            for (const part of parts) reader.push(part);
          } catch (error) {
            expect(error).toBeInstanceOf(GdbProtocolError);
          }
        },
      ),
    );
  });

  it("hold memory as digits", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const into = new Uint8Array(bytes.length);
        expect(decodeHex(bytesOf(encodeHex(bytes)), into)).toBe(bytes.length);
        expect(into).toEqual(Uint8Array.from(bytes));
      }),
    );
    expect(decodeHex(bytesOf("E01"), new Uint8Array(4))).toBe(-1);
    expect(decodeHex(bytesOf("0g"), new Uint8Array(4))).toBe(-1);
    expect(decodeHex(bytesOf("0102"), new Uint8Array(1))).toBe(1);
  });
});
