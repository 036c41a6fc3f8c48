import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Damage } from "../../../src/linux/index.js";
import { type ElfImage, readElfImage } from "../../../src/linux/userland/elf-image.js";
import { readDynamicSymbols } from "../../../src/linux/userland/elf-symbols.js";
import {
  PieceSource,
  runNow,
  type WrittenElf,
  type WrittenUserSymbol,
  writeUserElf,
} from "../../support/write-user-elf.js";

const BASE = 0x7f00_0000_0000n;

interface Read {
  readonly image: ElfImage | undefined;
  readonly names: string[];
  readonly damage: Damage[];
  readonly asked: number;
}

/** Reads an image at an address, after what `spoil` does to its bytes. */
function read(
  elf: WrittenElf,
  base = BASE,
  spoil: (bytes: Uint8Array, view: DataView, at: ReturnType<typeof writeUserElf>["at"]) => void = () => {},
): Read {
  const { bytes, at } = writeUserElf(elf);
  spoil(bytes, new DataView(bytes.buffer), at);
  const source = new PieceSource({ at: base, bytes });
  const damage: Damage[] = [];
  const report = (each: Damage) => void damage.push(each);
  const image = runNow(readElfImage(source, base, "of a test", report));
  const symbols = image === undefined ? [] : runNow(readDynamicSymbols(source, image, "a test", report));
  const names = symbols.map(({ name, value, size }) => `${name} ${value} ${size}`);
  return { image, names, damage, asked: source.asked };
}

const TWO: readonly WrittenUserSymbol[] = [
  { name: "outside", value: 0, size: 0, section: 0 },
  { name: "first", value: 0x1000, size: 16 },
  { name: "second", value: 0x1100, size: 8, type: 1 },
];

describe("an ELF image in memory", () => {
  it.each([
    [64, true],
    [64, false],
    [32, true],
    [32, false],
  ] as const)("is read with %i bits, little-endian %s", (bits, littleEndian) => {
    const base = bits === 64 ? BASE : 0xb7e0_0000n;
    const buildId = Uint8Array.of(1, 2, 3, 0xff);
    const { image, names, damage } = read(
      {
        bits,
        littleEndian,
        symbols: TWO,
        soname: "libtest.so.1",
        needed: ["libc.so.6", "libm.so.6"],
        buildId,
        interpreter: "/lib/ld.so",
        relocated: base,
      },
      base,
    );
    expect(image).toMatchObject({
      base,
      bias: base,
      start: base,
      end: base + 16_384n,
      layout: "loaded",
      soname: "libtest.so.1",
      needed: ["libc.so.6", "libm.so.6"],
      buildId: "010203ff",
      interpreter: "/lib/ld.so",
    });
    expect(names).toEqual(["first 4096 16", "second 4352 8"]);
    expect(damage).toEqual([]);
  });

  it("has its symbols where they are linked, whether the linker added the bias to its tables or not", () => {
    for (const relocated of [0n, BASE]) {
      expect(read({ symbols: TWO, relocated }).names).toEqual(["first 4096 16", "second 4352 8"]);
    }
  });

  it("of a program at a fixed address has no bias", () => {
    const { image, names } = read({ linked: 0x40_0000n, type: 2, symbols: TWO }, 0x40_0000n);
    expect(image?.bias).toBe(0n);
    expect(names).toEqual([`first ${0x40_1000} 16`, `second ${0x40_1100} 8`]);
  });

  it("has as many symbols as any hash table says, or, without one, as there is room before the names", () => {
    const name = fc.string({ unit: fc.constantFrom(..."abcdeé_$.@"), minLength: 1, maxLength: 12 });
    const symbol = fc.record({
      name,
      value: fc.nat(0x3000),
      size: fc.nat(64),
      section: fc.constantFrom(0, 1, 1, 1),
    });
    const hash = fc.constantFrom("gnu", "sysv", "none");
    fc.assert(
      fc.property(
        fc.array(symbol, { maxLength: 60 }),
        hash,
        fc.constantFrom(32, 64),
        fc.boolean(),
        (symbols, kind, bits, littleEndian) => {
          const base = 0x1000_0000n;
          const { names, damage } = read({ symbols, hash: kind, bits, littleEndian, relocated: base }, base);
          const expected = symbols
            .filter(({ section }) => section !== 0)
            .map((each) => `${each.name} ${each.value} ${each.size}`);
          expect([...names].sort()).toEqual(expected.sort());
          expect(damage).toEqual([]);
        },
      ),
    );
  });
});

describe("an ELF image that lies", () => {
  it("about 65,535 program headers is read by those that are there", () => {
    const { image, damage } = read({ symbols: TWO, size: 0x2000 }, BASE, (_, view) =>
      view.setUint16(56, 65_535, true),
    );
    expect(image?.segments.length).toBeLessThan(4096);
    expect(damage.map(({ reason }) => reason)).toContain("too long");
  });

  it("about a segment beyond the end of memory is read without it", () => {
    const { image, damage } = read({ symbols: TWO }, BASE, (_, view) =>
      view.setBigUint64(64 + 16, (1n << 64n) - 4096n, true),
    );
    expect(image?.loads).toEqual([]);
    expect(damage.map(({ message }) => message).join()).toContain("beyond the end of memory");
  });

  it("about its strings has no names, and says so", () => {
    const { names, damage } = read({ symbols: TWO, soname: "x" }, BASE, (_, view, at) => {
      for (let i = at.dynamic; i < at.dynamic + 0x100; i += 16) {
        if (view.getBigUint64(i, true) === 5n) view.setBigUint64(i + 8, 0x1234_5678_9000n, true);
      }
    });
    expect(names).toEqual([]);
    expect(
      damage.every(({ message }) => message.includes("DT_STRTAB is 0x123456789000, in no segment")),
    ).toBe(true);
    expect(damage.length).toBe(2);
  });

  it("with a chain of hashes that does not end is read by where the names begin", () => {
    const { names, damage } = read({ symbols: TWO }, BASE, (bytes, view, at) => {
      // Every word behind the buckets is even.
      for (let i = at.hash + 16 + 8 + 12; i + 4 <= bytes.length; i += 4) view.setUint32(i, 2, true);
    });
    expect(names).toEqual(["first 4096 16", "second 4352 8"]);
    expect(damage.map(({ message }) => message).join()).toContain("does not end");
  });

  it("about two thousand million symbols allocates for those that are there", () => {
    const { names, asked, damage } = read({ symbols: TWO, hash: "sysv" }, BASE, (_, view, at) =>
      view.setUint32(at.hash + 4, 0x7fff_ffff, true),
    );
    expect(names.slice(0, 2)).toEqual(["first 4096 16", "second 4352 8"]);
    expect(asked).toBeLessThan(1 << 20);
    expect(damage.map(({ reason }) => reason)).toContain("too long");
  });

  it("about how large its hash table is, is not believed", () => {
    const { names, asked, damage } = read({ symbols: TWO }, BASE, (_, view, at) =>
      view.setUint32(at.hash, 0xffff_ffff, true),
    );
    expect(names).toEqual(["first 4096 16", "second 4352 8"]);
    expect(asked).toBeLessThan(1 << 20);
    expect(damage.map(({ message }) => message).join()).toContain("larger than its segment");
  });

  it("with names that have no end, loses those", () => {
    const { names, damage } = read({ symbols: TWO, size: 0x1000 }, BASE, (bytes, _, at) =>
      bytes.fill(0x41, at.strings + 1),
    );
    expect(names).toEqual([]);
    expect(damage.length).toBeGreaterThan(0);
  });

  it("in any of its bytes ends all the same, without reading more than there is many times over", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(0x1000), fc.nat(255)), { minLength: 1, maxLength: 40 }),
        (changes) => {
          const { asked } = read({ symbols: TWO, soname: "libx.so", needed: ["a"] }, BASE, (bytes) => {
            for (const [at, value] of changes) if (at >= 7) bytes[at] = value;
          });
          expect(asked).toBeLessThan(64 << 20);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("is none where its header can't be one", () => {
    for (const [at, value] of [
      [4, 3],
      [5, 0],
      [6, 9],
      [16, 77],
      [52, 1],
      [54, 9],
    ] as const) {
      expect(read({}, BASE, (bytes) => bytes.fill(value, at, at + 1)).image, `byte ${at}`).toBeUndefined();
    }
  });
});
