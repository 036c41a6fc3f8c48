/** Addresses of 64 bits, ranges of them, and the order and merging of a batch's rows. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  type Batch,
  joinAddress,
  layer,
  offsetAddress,
  Packet,
  readInto,
  Scheduler,
  type Source,
  SourceIo,
  toPhysical,
  toVirtual,
} from "../../src/index.js";

const TOP = 2n ** 64n;
const u64 = fc.bigInt({ min: 0n, max: TOP - 1n });

describe("an address", () => {
  it("of 64 bits goes to two words and back", () => {
    fc.assert(
      fc.property(u64, (address) => {
        expect(toVirtual(address)).toBe(address);
        expect(joinAddress(Number(address & 0xffffffffn), Number(address >> 32n))).toBe(address);
      }),
    );
    expect(toVirtual(2 ** 53 - 1)).toBe(2n ** 53n - 1n);
    expect(toVirtual(0)).toBe(0n);
  });

  it("that is none is refused", () => {
    for (const address of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY, -1n, TOP]) {
      expect(() => toVirtual(address)).toThrow(RangeError);
    }
    for (const address of [-1, 0.5, Number.NaN, 2 ** 53, -1n, 2n ** 53n]) {
      expect(() => toPhysical(address)).toThrow(/not a physical address/);
    }
    expect(toPhysical(2n ** 52n)).toBe(2 ** 52);
    expect(() => toPhysical(-1, "offset")).toThrow(/not a offset: -1/);
  });

  it("wraps at 64 bits when something is added, as in C", () => {
    expect(offsetAddress(TOP - 1n, 2)).toBe(1n);
    expect(offsetAddress(1, -2n)).toBe(TOP - 1n);
    expect(offsetAddress(0x1000, 16)).toBe(0x1010n);
  });
});

describe("ranges", () => {
  it("hold what any of the given ranges held, ascending, disjoint and merged", () => {
    const range = fc.record({ start: fc.nat(60), end: fc.nat(60) });
    fc.assert(
      fc.property(fc.array(range), (given) => {
        const ranges = AddressRanges.from(given);
        let bytes = 0;
        for (let at = 0; at < 64; at++) {
          const inside = given.some(({ start, end }) => start <= at && at < end);
          expect(ranges.has(at)).toBe(inside);
          if (inside) bytes++;
          expect(ranges.indexAfter(at)).toBe([...ranges].filter(({ end }) => end <= at).length);
        }
        expect(ranges.bytes).toBe(bytes);
        let last = -1;
        for (const { start, end } of ranges) {
          expect(start).toBeGreaterThan(last);
          expect(end).toBeGreaterThan(start);
          last = end;
        }
        expect(ranges.end).toBe(Math.max(0, last));
      }),
    );
  });

  it("may be empty, or one", () => {
    expect([...AddressRanges.none]).toEqual([]);
    expect([AddressRanges.single(4, 4).length, AddressRanges.single(5, 4).length]).toEqual([0, 0]);
    expect([...AddressRanges.single(4, 9)]).toEqual([{ start: 4, end: 9 }]);
  });
});

/** A source of the whole 64-bit space: a byte is its address's lowest. Hands its batches to `note`. */
function space(note: (batch: Batch) => void): SourceIo {
  const source: Source = {
    name: "space",
    supports: { write: false, live: true },
    ranges: () => AddressRanges.single(0, 2 ** 64),
    transferSync(batch) {
      note(batch);
      for (let row = 0; row < batch.length; row++) {
        const low = batch.words[2 * row] as number;
        batch.bytes(row).forEach((_, i, mine) => {
          mine[i] = low + i;
        });
        batch.done(row);
      }
    },
  };
  return new SourceIo(source, new Scheduler());
}

describe("the rows of a batch", () => {
  it("come ascending wherever in 64 bits their addresses differ, and each packet gets its own bytes", () => {
    const near = fc.tuple(u64, fc.constantFrom(0n, 8n, 16n, 24n, 32n, 40n, 48n, 56n)).map(([seed, shift]) => {
      return (0x1122334455667700n ^ ((seed & 255n) << shift)) % (TOP - 8n);
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(u64, near), { minLength: 1, maxLength: 200 }), (addresses) => {
        let rows: bigint[] = [];
        const io = space((batch) => {
          rows = Array.from(batch.addresses.subarray(0, batch.length));
        });
        const packets = addresses.map((address) => {
          // In memory of its own: small packets share a buffer, and rows that continue each other in it are merged.
          const packet = Packet.reading(new Uint8Array(1));
          io.sendIo(address, packet.view().bind());
          return packet;
        });
        io.flush(true);
        expect(rows).toEqual([...addresses].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
        expect(packets.map((packet) => packet.bytes[0])).toEqual(addresses.map((at) => Number(at & 255n)));
      }),
    );
  });

  it("are merged only where they continue each other in the source and in one packet's memory", () => {
    const base = 0x1_ffff_fff0;
    const merged = (parts: [address: number, start: number, length: number][], memories = 1): number => {
      let rows = 0;
      const io = space((batch) => {
        rows = batch.length;
      });
      const memory = new Uint8Array(64);
      const packets = Array.from({ length: memories }, () => Packet.reading(memory.subarray(0)));
      const views = packets.map((packet) => packet.view());
      parts.forEach(([address, start, length], i) => {
        let view = views[i % memories] as (typeof views)[number];
        if (start > 0) view = view.split(start)[1];
        if (length < view.length) view = view.split(length)[0];
        io.sendIo(address, view.bind());
      });
      io.flush(true);
      return rows;
    };
    // Across the boundary of the low word, too.
    expect(
      merged([
        [base, 0, 16],
        [base + 16, 16, 16],
      ]),
    ).toBe(1);
    expect(
      merged([
        [base + 16, 16, 16],
        [base, 0, 16],
      ]),
    ).toBe(1);
    expect(
      merged([
        [base, 0, 16],
        [base + 17, 16, 16],
      ]),
    ).toBe(2);
    expect(
      merged([
        [base, 0, 16],
        [base + 16, 17, 16],
      ]),
    ).toBe(2);
    expect(
      merged([
        [base, 0, 16],
        [base + 16 + 2 ** 32, 16, 16],
      ]),
    ).toBe(2);
    expect(
      merged(
        [
          [base, 0, 16],
          [base + 16, 16, 16],
        ],
        2,
      ),
    ).toBe(2);
  });

  it("form runs, with gaps up to a limit, bytes up to a limit, exactly and anywhere in 64 bits", () => {
    for (const base of [0n, 2n ** 32n - 8n, 2n ** 63n + 1n, TOP - 4096n]) {
      let ends: number[] = [];
      const io = space((batch) => {
        ends = [batch.runEnd(0), batch.runEnd(0, 4), batch.runEnd(0, 5), batch.runEnd(0, 99, 20)];
        ends.push(batch.runEnd(2, 0, 1), batch.runEnd(3));
      });
      const rows: [bigint, number][] = [
        [0n, 8],
        [8n, 8],
        [9n, 2],
        [21n, 4],
      ];
      // Each in memory of its own: small packets share a buffer, and rows that continue each other in it are merged.
      for (const [at, length] of rows) {
        io.sendIo(base + at, Packet.reading(new Uint8Array(length)).view().bind());
      }
      io.flush(true);
      expect(ends).toEqual([3, 3, 4, 3, 3, 4]);
    }
  });

  it("do not form runs with rows far off, or that come before", () => {
    const ends: number[] = [];
    const source: Source = {
      name: "writes",
      supports: { write: true, live: true },
      ranges: () => AddressRanges.single(0, 2 ** 53),
      transferSync(batch) {
        for (let row = 0; row < batch.length; row++) ends.push(batch.runEnd(row, 4));
        for (let row = 0; row < batch.length; row++) batch.done(row);
      },
    };
    const io = new SourceIo(source, new Scheduler());
    for (const at of [100, 50, 54, 54 + 2 ** 32]) {
      io.sendIo(at, Packet.writing(new Uint8Array(4)).view().bind());
    }
    io.flush(true);
    expect(ends).toEqual([1, 3, 3, 4]);
  });

  it("are cut into calls of at most 65,536, and every packet is answered", () => {
    const calls: number[] = [];
    const io = space((batch) => calls.push(batch.length));
    const packets = Array.from({ length: 70_000 }, () => Packet.reading(1));
    packets.forEach((packet, i) => {
      io.sendIo(i * 3, packet.view().bind());
    });
    io.flush(true);
    expect(calls).toEqual([65_536, 70_000 - 65_536]);
    expect(packets.every((packet) => packet.complete && packet.firstFault === 0)).toBe(true);
    expect(io.scheduler.pending).toBe(0);
  });

  it("stop at the end of 64 bits in a live source, and at no address in none", async () => {
    const io = space(() => {});
    const crossing = layer(io.scheduler, (address: bigint, view) => io.sendIo(address, view));
    await expect(readInto(crossing, TOP - 2n, 5).promise()).rejects.toMatchObject({
      good: [{ start: 0, end: 2 }],
      holes: [{ start: 2, end: 5, state: "outside" }],
    });
    await expect(readInto(io, -1, 1).promise()).rejects.toMatchObject({ holes: [{ state: "malformed" }] });
    await expect(readInto(io, 1.5, 1).promise()).rejects.toMatchObject({ holes: [{ state: "malformed" }] });
  });
});
