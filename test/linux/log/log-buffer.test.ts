/** The kernel's log before 5.10: no dump of such a kernel ships, so a buffer is written here as those kernels do. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Io, MemoryIo } from "../../../src/io/index.js";
import type { Damage } from "../../../src/linux/index.js";
import { type LogBufferLayout, readLogBuffer } from "../../../src/linux/log/log-buffer.js";
import { AddressSpace } from "../../../src/memory/index.js";

const LAYOUT: LogBufferLayout = {
  header: 16,
  time: 0,
  length: 8,
  textLength: 10,
  dictionaryLength: 12,
  facility: 14,
  caller: undefined,
};
const AT = 0x1000;

interface Written {
  readonly text: string;
  readonly level: number;
  readonly facility: number;
  readonly nanoseconds: bigint;
  readonly dictionary: string;
}

/** A buffer as `log_store` fills it: the oldest records give way, none is split over the end. */
class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly kept: { record: Written; at: number; length: number }[] = [];
  first = 0;
  next = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  add(record: Written): void {
    const text = Buffer.from(record.text);
    const dictionary = Buffer.from(record.dictionary);
    const length = Math.ceil((16 + text.length + dictionary.length) / 4) * 4;
    if (length + 16 > this.bytes.length / 2) return;
    // One header stays free behind a record, for the mark that says that the next one lies at the beginning.
    const hasRoom = () => {
      if (this.next > this.first || this.kept.length === 0) {
        return Math.max(this.bytes.length - this.next, this.first) >= length + 16;
      }
      return this.first - this.next >= length + 16;
    };
    while (!hasRoom() && this.kept.length > 0) this.#drop();
    if (this.next + length + 16 > this.bytes.length) {
      this.bytes.fill(0, this.next, Math.min(this.next + 16, this.bytes.length));
      this.next = 0;
    }
    const at = this.next;
    this.#view.setBigUint64(at, record.nanoseconds, true);
    this.#view.setUint16(at + 8, length, true);
    this.#view.setUint16(at + 10, text.length, true);
    this.#view.setUint16(at + 12, dictionary.length, true);
    this.#view.setUint8(at + 14, record.facility);
    this.#view.setUint8(at + 15, record.level << 5);
    this.bytes.set(text, at + 16);
    this.bytes.set(dictionary, at + 16 + text.length);
    if (this.kept.length === 0) this.first = at;
    this.kept.push({ record, at, length });
    this.next = at + length;
  }

  #drop(): void {
    this.kept.shift();
    this.first = this.kept[0]?.at ?? this.next;
  }
}

function read(bytes: Uint8Array, first: number, next: number) {
  const memory = new Uint8Array(AT + bytes.length);
  memory.set(bytes, AT);
  const space = new AddressSpace(new MemoryIo(memory));
  const damage: Damage[] = [];
  const places = { buffer: BigInt(AT), size: bytes.length, first, next };
  const records = Io.of(space.scheduler, readLogBuffer, space, LAYOUT, places, (found) =>
    damage.push(found),
  ).sync();
  return { records, damage };
}

const written = fc.record({
  text: fc.string({ maxLength: 60 }),
  level: fc.integer({ min: 0, max: 7 }),
  facility: fc.integer({ min: 0, max: 23 }),
  nanoseconds: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  dictionary: fc.constantFrom("", "SUBSYSTEM=pci", "SUBSYSTEM=pci\0DEVICE=+pci:0000:00:1f.0"),
});

describe("a log of before 5.10", () => {
  it("is read whole and in order, however often it went around", () => {
    fc.assert(
      fc.property(
        fc.array(written, { maxLength: 60 }),
        fc.integer({ min: 64, max: 512 }),
        (list, quarter) => {
          const writer = new Writer(4 * quarter);
          for (const record of list) writer.add(record);
          const { records, damage } = read(writer.bytes, writer.first, writer.next);
          expect(damage).toEqual([]);
          expect(
            records.map(({ text, level, facility, nanoseconds, time }) => ({
              text,
              level,
              facility,
              nanoseconds,
              time,
            })),
          ).toEqual(
            writer.kept.map(({ record: { text, level, facility, nanoseconds } }) => ({
              text,
              level,
              facility,
              nanoseconds,
              time: Number(nanoseconds) / 1e9,
            })),
          );
        },
      ),
    );
  });

  it("that is damaged ends, and tells it, or gives records within the buffer", () => {
    const damaged = fc.array(fc.tuple(fc.nat(1023), fc.nat(255)), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.array(written, { minLength: 3, maxLength: 30 }), damaged, (list, changes) => {
        const writer = new Writer(1024);
        for (const record of list) writer.add(record);
        const bytes = writer.bytes.slice();
        for (const [at, value] of changes) bytes[at] = value;
        const { records, damage } = read(bytes, writer.first, writer.next);
        expect(records.length).toBeLessThanOrEqual(1024 / 16 + 1);
        if (records.length === 0) expect(damage.length).toBeGreaterThan(0);
      }),
    );
  });

  it("has the device that a message is about", () => {
    const writer = new Writer(1024);
    writer.add({
      text: "hello",
      level: 6,
      facility: 3,
      nanoseconds: 5n,
      dictionary: "SUBSYSTEM=pci\0DEVICE=+pci:1",
    });
    expect(read(writer.bytes, writer.first, writer.next).records).toEqual([
      {
        sequence: 0,
        time: 5e-9,
        nanoseconds: 5n,
        level: 6,
        facility: 3,
        text: "hello",
        caller: undefined,
        about: { SUBSYSTEM: "pci", DEVICE: "+pci:1" },
      },
    ]);
  });
});
