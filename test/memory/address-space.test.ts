import fc from "fast-check";
import { describe, expect, expectTypeOf, it } from "vitest";
import {
  all,
  type Io,
  MemoryIo,
  type PacketIo,
  PartialReadError,
  PartialWriteError,
  SourceIo,
} from "../../src/io/index.js";
import {
  AddressSpace,
  array,
  at,
  bits,
  cString,
  MAX_REQUEST,
  PhysicalMap,
  PhysicalMemory,
  padding,
  pointer,
  struct,
  type Type,
  u8,
  u16,
  u32,
  u64,
} from "../../src/memory/index.js";
import { pattern, sameBytes, testSource } from "./support.js";

const BYTES = 20_000;

function open(options: Parameters<typeof testSource>[1] = {}) {
  const bytes = pattern(BYTES);
  const io = new SourceIo(testSource(bytes, options));
  return { bytes, io, space: new AddressSpace<number>(io, { addressBits: 53, name: "test" }) };
}

function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("did not throw");
}

describe("an address space", () => {
  it("reads values, bytes and into memory, by number or bigint, awaited, sync or in a routine", async () => {
    const { space, bytes } = open();
    const view = new DataView(bytes.buffer);
    expect(await space.read(u32, 101)).toBe(view.getUint32(101, true));
    expect(space.read(u64, 101n).sync()).toBe(view.getBigUint64(101, true));
    expect(space.read(77n, 5).sync()).toEqual(bytes.slice(77, 82));
    const memory = new Uint8Array(10);
    expect(space.readInto(7, memory.subarray(2, 6)).sync()).toEqual(bytes.slice(7, 11));
    expect([...memory]).toEqual([0, 0, ...bytes.slice(7, 11), 0, 0, 0, 0]);
    expect((await all([space.read(u8, 1), space.read(array(u16, 2), 0)]))[0]).toBe(bytes[1]);
    expectTypeOf(space.read(u64, 0)).toEqualTypeOf<Io<bigint>>();
    expectTypeOf(space.read(0, 4)).toEqualTypeOf<Io<Uint8Array>>();
    expectTypeOf(space.read(struct({ a: u8 }), 0)).toEqualTypeOf<Io<{ a: number }>>();
  });

  it("takes byte order and pointer size from its options", () => {
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const big = new AddressSpace(new MemoryIo(bytes), { littleEndian: false, pointerSize: 4 });
    expect(big.read(u32, 0).sync()).toBe(0x01020304);
    expect(big.read(pointer, 4).sync()).toBe(0x05060708n);
    expect(big.read(struct({ a: u16, p: pointer }), 0).sync()).toEqual({ a: 0x0102, p: 0x05060708n });
    big.write(u16, 0, 0xaabb).sync();
    expect([...bytes.subarray(0, 3)]).toEqual([0xaa, 0xbb, 3]);
    expect([big.littleEndian, big.pointerSize]).toEqual([false, 4]);
  });

  it("gives no half value: a typed read with a missing byte carries what there was", () => {
    const { space, bytes } = open({ holes: [{ start: 102, end: 103 }] });
    for (const [start, size] of [
      [95, 8],
      [99, 4],
      [100, 8],
    ] as const) {
      const type: Type<unknown> = size === 8 ? u64 : u32;
      const error = thrown(() => space.read(type, start).sync()) as PartialReadError;
      expect(error).toBeInstanceOf(PartialReadError);
      expect(error.code).toBe("PARTIAL_READ");
      expect(error.holes).toMatchObject([{ start: 102 - start, end: 103 - start, state: "io" }]);
      expect(error.good[0]).toEqual({ start: 0, end: 102 - start });
      expect(error.bytes.slice(0, 102 - start)).toEqual(bytes.slice(start, 102));
    }
    expect(space.readPartial(100, 8).sync()).toMatchObject({
      good: [
        { start: 0, end: 2 },
        { start: 3, end: 8 },
      ],
      holes: [{ start: 2, end: 3 }],
    });
  });

  it("writes values and bytes, and says what did not arrive", () => {
    const { space, bytes } = open({ holes: [{ start: 10, end: 11 }] });
    space.write(u32, 100, 0x04030201).sync();
    space.write(104, Uint8Array.of(5, 6)).sync();
    expect([...bytes.subarray(100, 106)]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(thrown(() => space.write(u32, 8, 1).sync())).toBeInstanceOf(PartialWriteError);
    expect(space.writePartial(8, new Uint8Array(4)).sync().good).toEqual([
      { start: 0, end: 2 },
      { start: 3, end: 4 },
    ]);
    expect(() => space.write(u8, 0, 300)).not.toThrow();
    expect(() => space.write(u8, 0, 300).sync()).toThrow(RangeError);
  });

  it("writes of a struct only what its members cover, in one batch", () => {
    const { space, bytes, io } = open();
    const type = struct({ a: u8, b: u32, gap: padding(3), c: u8, d: at(0x30, u16) }, { size: 0x40 });
    const before = bytes.slice();
    space.write(type, 1000, { a: 1, b: 2, c: 3, d: 4 }).sync();
    const expected = before.slice();
    expected[1000] = 1;
    expected.set([2, 0, 0, 0], 1004);
    expected[1011] = 3;
    expected.set([4, 0], 0x30 + 1000);
    expect(sameBytes(bytes, expected)).toBe(true);
    expect(io.counters).toMatchObject({ batches: 1, fragments: 4, bytes: 8 });
  });

  it("reports the holes of a struct's write relative to the struct", () => {
    const { space } = open({ holes: [{ start: 1049, end: 1050 }] });
    const type = struct({ a: u8, d: at(0x30, u16) });
    const error = thrown(() => space.write(type, 1000, { a: 1, d: 2 }).sync()) as PartialWriteError;
    expect(error.holes).toMatchObject([{ start: 0x31, end: 0x32 }]);
  });

  it("writes bit-fields without their neighbours, and nothing where the value does not fit", () => {
    const { space, bytes, io } = open();
    bytes.fill(0xff, 0, 8);
    space.write(struct({ flag: bits(u32, 4, 2), rest: u8 }), 0, { flag: 1, rest: 7 }).sync();
    expect([...bytes.subarray(0, 8)]).toEqual([0xdf, 0xff, 0xff, 0xff, 7, 0xff, 0xff, 0xff]);
    const { batches } = io.counters;
    expect(() => space.write(bits(u32, 4, 2), 0, 4).sync()).toThrow(RangeError);
    expect(io.counters.batches).toBe(batches);
  });

  it("passes exchanges on", () => {
    const bytes = Uint8Array.of(1, 2, 3, 4);
    const space = new AddressSpace(new MemoryIo(bytes));
    expect([...space.exchange(1, Uint8Array.of(8, 9)).sync()]).toEqual([2, 3]);
    expect([...bytes]).toEqual([1, 8, 9, 4]);
  });

  it("gives fragments as they are answered, each time anew", () => {
    const { space } = open({ holes: [{ start: 4, end: 6 }] });
    const fragments = space.fragments(0, 8);
    for (let pass = 0; pass < 2; pass++) {
      const seen = [...fragments.sync()].map(({ start, end, fault }) => [start, end, fault !== 0]);
      expect(seen).toEqual([
        [0, 4, false],
        [4, 6, true],
        [6, 8, false],
      ]);
    }
  });
});

describe("gather", () => {
  const addresses = fc.array(fc.nat(BYTES + 20), { maxLength: 60 });
  const holes = fc
    .array(fc.record({ start: fc.nat(BYTES), length: fc.integer({ min: 1, max: 900 }) }), { maxLength: 3 })
    .map((list) => list.map(({ start, length }) => ({ start, end: start + length })));

  it("equals reading each address, in one batch, in any form of the addresses", () => {
    fc.assert(
      fc.property(addresses, fc.integer({ min: 1, max: 40 }), holes, fc.nat(2), (list, size, bad, form) => {
        const { space, io } = open({ holes: bad });
        const column =
          form === 0
            ? list
            : form === 1
              ? Float64Array.from(list)
              : BigUint64Array.from(list, (value) => BigInt(value));
        const into = new Uint8Array(list.length * size + 5).fill(0xcc);
        const got = space.gather(column, size, into).sync();
        expect(io.counters.batches).toBe(list.some((address) => address < BYTES) ? 1 : 0);
        expect([got.count, got.size, got.bytes.length]).toEqual([list.length, size, list.length * size]);
        expect(got.bytes.buffer).toBe(into.buffer);
        expect([...into.subarray(list.length * size)]).toEqual([0xcc, 0xcc, 0xcc, 0xcc, 0xcc]);
        const failed: number[] = [];
        list.forEach((address, i) => {
          const { bytes, holes } = space.readPartial(address, size).sync();
          if (holes.length > 0) failed.push(i);
          expect(got.faultOf(i)).toBe(holes[0]?.fault ?? 0);
          expect(got.stateOf(i)).toBe(holes[0]?.state);
          const record = got.at(i);
          expect(record === undefined).toBe(holes.length > 0);
          if (record !== undefined) expect(sameBytes(record, bytes)).toBe(true);
        });
        expect([...got.failed]).toEqual(failed);
      }),
      { numRuns: 200 },
    );
  });

  it("goes on in slices of the high-water mark, and keeps the indices", async () => {
    const { space, io, bytes } = open({ delay: 1 });
    const count = 150_000;
    const column = Float64Array.from({ length: count }, (_, i) => (i * 37) % (BYTES + 10));
    const got = await space.gather(column, 1);
    expect(io.counters.batches).toBe(Math.ceil(count / space.scheduler.highWaterMark));
    const failed = [...column.keys()].filter((i) => (column[i] as number) >= BYTES);
    expect(got.failed).toEqual(Uint32Array.from(failed));
    const right = column.every((address, i) => address >= BYTES || got.bytes[i] === bytes[address]);
    expect(right).toBe(true);
  });

  it("names a record with several holes once, with the first one's fault", () => {
    const { space } = open({
      holes: [
        { start: 1, end: 2 },
        { start: 4, end: 5 },
      ],
    });
    const got = space.gather([0, 8, 4], 8).sync();
    expect([...got.failed]).toEqual([0, 2]);
    expect([0, 1, 2].map((i) => got.stateOf(i))).toEqual(["io", undefined, "io"]);
  });

  it("of nothing, or of no bytes, sends nothing", () => {
    const { space, io } = open();
    expect(space.gather([], 8).sync().failed).toHaveLength(0);
    expect(space.gather([1, 2], 0).sync()).toMatchObject({ count: 2, size: 0 });
    expect(space.gather([1, 2], 4).sync().at(2)).toBeUndefined();
    expect(io.counters.batches).toBe(1);
  });

  it("refuses a bad address before anything is sent, and memory that is too short", () => {
    const { space, io } = open();
    expect(() => space.gather([1, -1], 4)).toThrow(RangeError);
    expect(() => space.gather(Float64Array.of(1, 0.5), 4)).toThrow(RangeError);
    expect(() => space.gather(BigUint64Array.of(2n ** 63n), 4)).toThrow(RangeError);
    expect(() => space.gather([1, 2], 4, new Uint8Array(7))).toThrow(RangeError);
    expect(() => space.gather([1, 2], 2 ** 31 + 1)).toThrow(RangeError);
    expect(() => space.gather([1], -1)).toThrow(RangeError);
    expect(io.counters.fragments).toBe(0);
  });

  it("through a cache asks for each page once", () => {
    const bytes = pattern(BYTES);
    const io = new SourceIo(testSource(bytes));
    const memory = new PhysicalMemory(io, { map: PhysicalMap.single(0, BYTES) });
    const list = Float64Array.from({ length: 1000 }, (_, i) => (i * 97) % 16_000);
    const got = memory.gather(list, 8).sync();
    expect(
      list.every((address, i) => sameBytes(got.at(i) as Uint8Array, bytes.subarray(address, address + 8))),
    ).toBe(true);
    expect(io.counters).toMatchObject({ batches: 1, fragments: 4 });
  });
});

describe("strings in memory", () => {
  it("are read as their bytes say, wherever they lie and end", () => {
    fc.assert(
      fc.property(fc.nat(9000), fc.nat(9000), fc.nat(9000), (start, length, max) => {
        const { space, bytes } = open();
        for (let i = 0; i < length; i++) bytes[start + i] = 97 + (i % 26);
        bytes[start + length] = 0;
        const expected = Buffer.from(bytes.slice(start, start + Math.min(length, max))).toString("latin1");
        expect(space.readString(start, max).sync()).toBe(expected);
      }),
      { numRuns: 100 },
    );
  });

  it("need nothing of the page after the one they end in", () => {
    const { space, bytes } = open({ holes: [{ start: 8192, end: 20_000 }] });
    bytes.fill(97, 4090, 8191);
    bytes[8191] = 0;
    expect(space.readString(4090, 100_000).sync()).toHaveLength(4101);
    bytes[8191] = 97;
    const error = thrown(() => space.readString(4090, 100_000).sync()) as PartialReadError;
    expect(error).toBeInstanceOf(PartialReadError);
    expect(error.good).toEqual([{ start: 0, end: 4102 }]);
    expect(error.holes[0]).toMatchObject({ start: 4102, state: "io" });
    expect(error.bytes.subarray(0, 4102).every((byte) => byte === 97)).toBe(true);
    expect(space.readString(4090, 4102).sync()).toHaveLength(4102);
  });

  it("do not ask for the page after the one they end in", () => {
    const { space, bytes } = open({ holes: [{ start: 8192, end: 20_000 }], wholeRows: true });
    bytes.set([104, 105, 0], 8189);
    expect(space.readString(8189, 100).sync()).toBe("hi");
  });

  it("end before a hole in the same page", () => {
    const { space, bytes } = open({ holes: [{ start: 105, end: 110 }] });
    bytes.set([104, 105, 0, 7, 7], 100);
    expect(space.readString(100, 100).sync()).toBe("hi");
    bytes.fill(97, 90, 105);
    const error = thrown(() => space.readString(90, 100).sync()) as PartialReadError;
    expect(error.holes).toMatchObject([{ start: 15, end: 20 }]);
    expect(error.good[0]).toEqual({ start: 0, end: 15 });
  });

  it("that meet a hole in a later piece tell what was read as one range", () => {
    const { space, bytes } = open({ holes: [{ start: 450, end: 460 }] });
    bytes.fill(97, 100, 500);
    const error = thrown(() => space.readString(100, 1000).sync()) as PartialReadError;
    expect(error.good[0]).toEqual({ start: 0, end: 350 });
    expect(error.holes[0]).toMatchObject({ start: 350, end: 360 });
  });

  it("do not read a page for a few letters", () => {
    const { space, bytes, io } = open();
    bytes.set([104, 105, 0], 4096);
    expect(space.readString(4096, 4096).sync()).toBe("hi");
    expect(io.counters.bytes).toBe(256);
    expect(space.readString(4096, 0).sync()).toBe("");
    expect(space.readString(4096, 4, { encoding: "latin-1" }).sync()).toBe("hi");
    expect(() => space.readString(4096, -1)).toThrow(RangeError);
  });
});

describe("chunks", () => {
  it("cover a range in order, with its holes", async () => {
    const { space, bytes } = open({ holes: [{ start: 5000, end: 9000 }] });
    fc.assert(
      fc.property(fc.nat(BYTES), fc.nat(BYTES), fc.integer({ min: 100, max: 7000 }), (a, b, size) => {
        const [start, end] = a < b ? [a, b] : [b, a];
        let expected = start;
        for (const chunk of space.chunks(start, end, size).sync()) {
          expect(chunk.address).toBe(expected);
          expect(chunk.bytes.length).toBe(Math.min(size, end - expected));
          for (const good of chunk.good) {
            const right = bytes.subarray(expected + good.start, expected + good.end);
            expect(sameBytes(chunk.bytes.subarray(good.start, good.end), right)).toBe(true);
          }
          const missing = chunk.holes.reduce((sum, hole) => sum + hole.end - hole.start, 0);
          const overlap = Math.min(expected + chunk.bytes.length, 9000) - Math.max(expected, 5000);
          expect(missing).toBe(Math.max(0, overlap));
          expected += chunk.bytes.length;
        }
        expect(expected).toBe(end);
      }),
    );
    let count = 0;
    for await (const chunk of space.chunks(0, BYTES)) count += chunk.bytes.length;
    expect(count).toBe(BYTES);
  });

  it("go up to the last byte of the space, and have bigint addresses in virtual ones", () => {
    const wide = new AddressSpace(new MemoryIo(new Uint8Array(0)) as unknown as PacketIo<bigint | number>);
    const end = 2n ** 64n;
    const io: PacketIo<bigint | number> = {
      sendIo: (_address, view) => view.transfer(new Uint8Array(view.length)),
    };
    const space = new AddressSpace(io);
    const list = space
      .chunks(end - 10n, end, 4)
      .toArray()
      .sync();
    expect(list.map(({ address, bytes }) => [address, bytes.length])).toEqual([
      [end - 10n, 4],
      [end - 6n, 4],
      [end - 2n, 2],
    ]);
    expect(space.chunks(5, 6).toArray().sync()[0]?.address).toBe(5n);
    expectTypeOf(space.chunks(0, 1).sync().next().value)
      .extract<{ address: unknown }>()
      .toHaveProperty("address")
      .toEqualTypeOf<bigint>();
    expectTypeOf(open().space.chunks(0, 1).sync().next().value)
      .extract<{ address: unknown }>()
      .toHaveProperty("address")
      .toEqualTypeOf<number>();
    expect(() => wide.chunks(5, 4)).toThrow(RangeError);
    expect(() => wide.chunks(0, end + 1n)).toThrow(RangeError);
    expect(() => wide.chunks(0, 5, 0)).toThrow(RangeError);
    expect(() => open().space.chunks(0, end)).toThrow(RangeError);
    expect(open().space.chunks(0, 0).toArray().sync()).toEqual([]);
  });
});

describe("arguments that can't be", () => {
  it("are a RangeError at the call: addresses", () => {
    const narrow = open().space;
    const wide = new AddressSpace(narrow.io as PacketIo<bigint | number>);
    for (const address of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, -1n, 2n ** 64n]) {
      for (const space of [narrow, wide]) {
        expect(() => space.read(u8, address), String(address)).toThrow(RangeError);
        expect(() => space.read(address, 1)).toThrow(RangeError);
        expect(() => space.readPartial(address, 1)).toThrow(RangeError);
        expect(() => space.readInto(address, new Uint8Array(1))).toThrow(RangeError);
        expect(() => space.write(address, new Uint8Array(1))).toThrow(RangeError);
        expect(() => space.write(u8, address, 1)).toThrow(RangeError);
        expect(() => space.writePartial(address, new Uint8Array(1))).toThrow(RangeError);
        expect(() => space.exchange(address, new Uint8Array(1))).toThrow(RangeError);
        expect(() => space.fragments(address, 1)).toThrow(RangeError);
        expect(() => space.readString(address, 1)).toThrow(RangeError);
      }
    }
    expect(() => narrow.read(u8, 2n ** 53n)).toThrow(RangeError);
    expect(() => wide.read(u8, 2n ** 53n)).not.toThrow();
  });

  it("are a RangeError at the call: lengths, of which the huge ones say what to do", () => {
    const { space } = open();
    for (const length of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(() => space.read(0, length), String(length)).toThrow(RangeError);
      expect(() => space.readPartial(0, length)).toThrow(RangeError);
      expect(() => space.fragments(0, length)).toThrow(RangeError);
    }
    expect(() => space.readPartial(0, MAX_REQUEST + 1)).toThrow(/more than one request moves .* chunks/);
    expect(() => space.readPartial(0, 2 ** 50)).toThrow(/chunks/);
  });

  it("are a TypeError: what is no memory, as a value's type in the wrong place, of which scripts are not told", () => {
    const { space } = open();
    const before = space.read(u32, 0).sync();
    const loose = space as unknown as { write(...args: unknown[]): { sync(): void } };
    expect(() => loose.write(0, u32, 5).sync()).toThrow(/write\(type, address, value\)/);
    for (const memory of [undefined, null, "bytes", {}, 5n]) {
      expect(() => loose.write(0, memory).sync(), String(memory)).toThrow(TypeError);
    }
    expect(space.read(u32, 0).sync()).toBe(before);
  });

  it("of length 0 are fine, and send nothing", () => {
    const { space, io } = open();
    expect(space.read(0, 0).sync()).toHaveLength(0);
    expect(space.read(2 ** 52, 0).sync()).toHaveLength(0);
    expect(space.readPartial(5, 0).sync()).toMatchObject({ good: [], holes: [] });
    expect(space.read(struct({}), 0).sync()).toEqual({});
    space.write(struct({}), 0, {}).sync();
    space.write(0, new Uint8Array(0)).sync();
    expect([...space.fragments(0, 0).sync()]).toEqual([]);
    expect(io.counters.fragments).toBe(0);
  });
});

describe("the end of the address space", () => {
  /** The last page of 64 bits, as a connector for a process would hold it. */
  function last() {
    const page = pattern(4096);
    const source = testSource(page, { live: true, anyOrder: true });
    const run = source.transferSync as NonNullable<typeof source.transferSync>;
    const base = 2n ** 64n - 4096n;
    return new AddressSpace(
      new SourceIo({
        ...source,
        transferSync(batch) {
          for (let row = 0; row < batch.length; row++) {
            batch.addresses[row] = BigInt.asUintN(64, (batch.addresses[row] as bigint) - base);
          }
          run(batch);
        },
      }),
    );
  }

  it("can be read up to its last byte; what is beyond is outside", () => {
    const space = last();
    const end = 2n ** 64n;
    expect(space.read(u64, end - 8n).sync()).toBe(
      new DataView(pattern(4096).buffer).getBigUint64(4088, true),
    );
    expect(space.readPartial(end - 4n, 10).sync()).toMatchObject({
      good: [{ start: 0, end: 4 }],
      holes: [{ start: 4, end: 10, state: "outside" }],
    });
    expect(thrown(() => space.read(u64, end - 4n).sync())).toBeInstanceOf(PartialReadError);
    expect([...space.gather([end - 8n, end - 7n, end - 1n], 8).sync().failed]).toEqual([1, 2]);
    const mixed = BigUint64Array.of(end - 8n, 2n ** 53n);
    expect([...space.gather(mixed, 8).sync().failed]).toEqual([1]);
  });

  it("ends a string that has no NUL, with what was read", () => {
    const space = last();
    const base = 2n ** 64n - 10n;
    space.write(base, new Uint8Array(10).fill(97)).sync();
    expect(space.readString(base, 10).sync()).toBe("a".repeat(10));
    const error = thrown(() => space.readString(base, 100).sync()) as PartialReadError;
    expect(error.holes).toMatchObject([{ start: 10, state: "outside" }]);
    expect(error.good).toEqual([{ start: 0, end: 10 }]);
    expect(error.message).toContain("0xfffffffffffffff6");
  });

  it("fails the members of a struct's write that are beyond it", () => {
    const space = last();
    const type = struct({ a: u8, gap: padding(15), b: u8 });
    const error = thrown(() => space.write(type, 2n ** 64n - 4n, { a: 9, b: 8 }).sync()) as PartialWriteError;
    expect(error.holes).toMatchObject([{ start: 16, end: 17, state: "outside" }]);
    expect(space.read(u8, 2n ** 64n - 4n).sync()).toBe(9);
  });
});

describe("aborting", () => {
  it("fails what was not sent, of a gather as well", async () => {
    const { space, io } = open({ delay: 2 });
    const controller = new AbortController();
    const one = space.readPartial(0, 8, { signal: controller.signal }).promise();
    const many = space.gather([0, 8], 8, undefined, { signal: controller.signal }).promise();
    controller.abort();
    expect((await one).holes).toMatchObject([{ state: "aborted" }]);
    expect([...(await many).failed]).toEqual([0, 1]);
    expect(io.counters.batches).toBe(0);
  });
});

describe("an address space over a struct of every kind", () => {
  it("reads what it wrote", async () => {
    const { space } = open({ delay: 1 });
    const type = struct({
      id: u32,
      name: cString(12),
      next: pointer,
      flags: bits(u8, 2, 3),
      list: array(struct({ a: u8, b: u16 }), 3),
    });
    const value = {
      id: 7,
      name: "tâsk",
      next: 0xffff888000000000n,
      flags: 5,
      list: [1, 2, 3].map((a) => ({ a, b: a * 256 })),
    };
    await space.write(type, 4090, value);
    expect(await space.read(type, 4090)).toEqual(value);
  });
});
