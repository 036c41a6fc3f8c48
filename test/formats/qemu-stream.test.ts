import { deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { dumpFile, openDump } from "../../src/formats/index.js";
import { applyXbzrle } from "../../src/formats/qemu/xbzrle.js";
import { all, readInto, readPartial, SourceIo } from "../../src/io/index.js";
import { memorySource } from "../suite/memory-source.js";
import { pattern } from "../support/bytes.js";
import { expectImage, ImageModel, openBytes, testFile } from "../support/dump.js";
import { text } from "../support/formats/text.js";
import {
  encodeXbzrle,
  type StreamOptions,
  type StreamPage,
  writeQemuStream,
} from "../support/write-qemu-stream.js";

const BITS = 10;
const PAGE = 2 ** BITS;
const GIB = 2 ** 30;
const page = (seed: number) => pattern(PAGE, seed);
const sent = (at: number, bytes: Uint8Array, block = "pc.ram"): StreamPage => ({
  block,
  page: at,
  kind: "page",
  bytes,
});
const zero = (at: number, block = "pc.ram"): StreamPage => ({ block, page: at, kind: "zero" });
const write = (options: Partial<StreamOptions>): Uint8Array =>
  writeQemuStream({
    machine: "pc-q35-7.2",
    pageBits: BITS,
    blocks: [{ name: "pc.ram", length: 4 * PAGE }],
    rounds: [[]],
    ...options,
  });

describe("copies of a page", () => {
  it("the last one counts, whatever round and form it was sent in", () => {
    const now = page(9);
    for (const last of [sent(1, now), { block: "pc.ram", page: 1, kind: "compress", bytes: now } as const]) {
      const image = openBytes(
        write({ rounds: [[zero(0), sent(1, page(1)), sent(2, page(2))], [zero(1)], [last]] }),
      );
      expect(readInto(image.io, PAGE, PAGE).sync()).toEqual(now);
      expect(readInto(image.io, 2 * PAGE, PAGE).sync()).toEqual(page(2));
    }
    const image = openBytes(write({ rounds: [[sent(1, now)], [zero(1)]] }));
    expect(readInto(image.io, PAGE, PAGE).sync()).toEqual(new Uint8Array(PAGE));
  });

  it("deltas on deltas, on zeros, on compressed pages and on pages filled with a byte are put together", () => {
    const changed = (bytes: Uint8Array, at: number) => bytes.slice().fill(bytes[at]! ^ 0x55, at, at + 9);
    for (const [kind, start] of [
      ["page", page(3)],
      ["zero", new Uint8Array(PAGE)],
      ["compress", page(4)],
      ["fill", new Uint8Array(PAGE).fill(7)],
    ] as const) {
      const rounds: StreamPage[][] = [
        [{ block: "pc.ram", page: 2, kind, bytes: start, fill: kind === "fill" ? 7 : 0 }],
      ];
      let bytes: Uint8Array = start;
      for (let i = 0; i < 30; i++) {
        const from = bytes;
        bytes = changed(from, (i * 37) % 900);
        rounds.push([{ block: "pc.ram", page: 2, kind: "xbzrle", from, bytes }]);
      }
      const image = openBytes(write({ rounds }));
      expect(readInto(image.io, 2 * PAGE + 5, PAGE - 5).sync()).toEqual(bytes.subarray(5));
    }
  });

  it("a delta without an earlier copy, or one that leaves its page, is malformed, and the rest readable", () => {
    const bad = (encoded: Uint8Array) => ({ block: "pc.ram", page: 1, kind: "xbzrle", encoded }) as const;
    for (const rounds of [
      [[sent(0, page(1)), bad(new Uint8Array([0, 1, 1]))]],
      [[sent(0, page(1)), sent(1, page(2)), bad(new Uint8Array([0xff, 0x07, 5, 1, 2, 3, 4, 5]))]],
      [[sent(0, page(1)), sent(1, page(2)), bad(new Uint8Array([0, 0]))]],
    ]) {
      const { holes, bytes } = readPartial(openBytes(write({ rounds })).io, 0, 2 * PAGE).sync();
      expect(holes).toMatchObject([{ start: PAGE, end: 2 * PAGE, state: "malformed" }]);
      expect(bytes.subarray(0, PAGE)).toEqual(page(1));
    }
  });

  it("ten thousand deltas on one page are a fault, not a wait", () => {
    const delta = { block: "pc.ram", page: 0, kind: "xbzrle", encoded: new Uint8Array([0, 1, 7]) } as const;
    const image = openBytes(
      write({ rounds: [[sent(0, page(1)), ...new Array<StreamPage>(10_000).fill(delta)]] }),
    );
    expect(readPartial(image.io, 0, 8).sync().holes).toMatchObject([{ state: "malformed" }]);
  });

  it("many single pages that are sent again and again leave the last copy of each, and deltas on the right one", () => {
    // More runs than are kept before overwritten ones are dropped are tested on the log itself.
    const model = new ImageModel(64 * PAGE);
    const rounds: StreamPage[][] = [];
    const now: Uint8Array[] = [];
    for (let round = 0; round < 5; round++) {
      const pages: StreamPage[] = [];
      for (let i = 0; i < 64; i++) {
        const at = (i * 29 + round * 7) % 64;
        const from = now[at];
        const bytes =
          from === undefined || round === 3 ? page(at + round) : from.slice().fill(round, 100, 100 + at);
        const delta = from !== undefined && round !== 3 && encodeXbzrle(from, bytes).length > 0;
        pages.push({
          block: "pc.ram",
          page: at,
          kind: delta ? "xbzrle" : "page",
          bytes,
          ...(from ? { from } : {}),
        });
        now[at] = bytes;
      }
      rounds.push(pages);
    }
    for (const [at, bytes] of now.entries()) model.present(at * PAGE, bytes);
    expectImage(openBytes(write({ blocks: [{ name: "pc.ram", length: 64 * PAGE }], rounds })), model);
  });
});

describe("where RAM is", () => {
  const big = (machine: string | undefined, gib: number, name = "pc.ram", more: StreamPage[] = []) => {
    const pages = gib * 2 ** 18;
    const marks = [0, 2 * 2 ** 18, 3 * 2 ** 18].filter((at) => at < pages);
    return openBytes(
      writeQemuStream({
        machine,
        blocks: [{ name, length: gib * GIB }],
        rounds: [
          [
            ...marks.map((at) => ({ ...zero(at, name), kind: "fill" as const, fill: at / 2 ** 18 + 1 })),
            ...more,
          ],
        ],
      }),
    );
  };
  /** Ranges in GiB, those that touch as one. */
  const span = (image: ReturnType<typeof big>) => {
    const out: number[][] = [];
    for (const { start, end } of image.map.ranges()) {
      const last = out.at(-1);
      if (last !== undefined && last[1] === start / GIB) last[1] = end / GIB;
      else out.push([start / GIB, end / GIB]);
    }
    return out;
  };

  it.each([
    [
      "pc-i440fx-7.2",
      4,
      [
        [0, 3],
        [4, 5],
      ],
      3,
    ],
    [
      "pc-i440fx-1.7",
      4,
      [
        [0, 3.5],
        [4, 4.5],
      ],
      undefined,
    ],
    ["pc-i440fx-7.2", 3, [[0, 3]], undefined],
    [
      "pc-q35-1.7",
      4,
      [
        [0, 2.75],
        [4, 5.25],
      ],
      undefined,
    ],
    [
      "pc-q35-8.1",
      4,
      [
        [0, 2],
        [4, 6],
      ],
      2,
    ],
    ["pc-q35-8.1", 2, [[0, 2]], undefined],
    [
      undefined,
      4,
      [
        [0, 3],
        [4, 5],
      ],
      3,
    ],
    ["pseries-7.2", 4, [[0, 4]], undefined],
  ] as const)("of %s with %i GiB is at %j GiB", (machine, gib, where, above) => {
    const image = big(machine, gib);
    expect(span(image)).toEqual(where);
    if (above !== undefined)
      expect(readInto(image.io, 4 * GIB, 2).sync()).toEqual(new Uint8Array(2).fill(above + 1));
    const split = where.length > 1;
    expect(/max-ram-below-4g/.test(image.warnings.join())).toBe(split);
  });

  it("of an arm64 guest begins at 1 GiB", () => {
    const image = big("virt-7.2", 1, "mach-virt.ram");
    expect(span(image)).toEqual([[1, 2]]);
    expect(image.notes.architecture).toBe("aarch64");
    expect(readInto(image.io, GIB, 4).sync()).toEqual(new Uint8Array(4).fill(1));
  });

  it("of a machine that memtool does not know is taken to begin at 0, with a warning", () => {
    const image = big("raspi3b", 1);
    expect(span(image)).toEqual([[0, 1]]);
    expect(image.warnings.join()).toMatch(/does not know where the machine raspi3b has its RAM/);
  });

  it("of NUMA nodes follows in the order of their numbers", () => {
    const image = openBytes(
      write({
        blocks: [
          { name: "ram-node1", length: 2 * PAGE },
          { name: "ram-node0", length: PAGE },
          { name: "0000:00:02.0/vga.vram", length: PAGE },
        ],
        rounds: [
          [sent(0, page(1), "ram-node1"), sent(0, page(2), "ram-node0"), sent(1, page(3), "ram-node1")],
        ],
      }),
    );
    const ram = new Uint8Array([...page(2), ...page(1), ...page(3)]);
    expect(readInto(image.io, 0, 3 * PAGE).sync()).toEqual(ram);
    expect(image.warnings).toEqual([]);
  });

  it("is where a memory map says, in offsets of main RAM", () => {
    const file = write({
      rounds: [[sent(0, page(1)), sent(1, page(2)), sent(2, page(3)), sent(3, page(4))]],
    });
    const image = openBytes(file, {
      memoryMap: [
        { start: 0, end: PAGE, offset: 0 },
        { start: 8 * PAGE, end: 11 * PAGE, offset: PAGE },
        { start: 20 * PAGE, end: 21 * PAGE, offset: 99 * PAGE },
      ],
    });
    expect(readInto(image.io, 8 * PAGE, 3 * PAGE).sync()).toEqual(
      new Uint8Array([...page(2), ...page(3), ...page(4)]),
    );
    expect([...image.map.ranges()].map(({ start, end }) => [start / PAGE, end / PAGE])).toEqual([
      [0, 1],
      [8, 11],
    ]);
    expect(image.warnings.join()).toMatch(/no RAM of the stream is at physical address 0x5000/);
  });

  it("is checked where a map says so: no overlaps, no bounds that are no addresses, and a word about what is left out", () => {
    const file = write({ rounds: [[sent(0, page(1)), sent(1, page(2))]] });
    const open = (...memoryMap: { start: number; end: number; offset: number }[]) =>
      openBytes(file, { memoryMap });
    for (const bad of [Number.NaN, -PAGE, 0.5, 2 ** 53]) {
      expect(() => open({ start: bad, end: 2 ** 40, offset: 0 })).toThrow(
        expect.objectContaining({ code: "BAD_MEMORY_MAP" }),
      );
    }
    expect(() =>
      open({ start: 0, end: 2 * PAGE, offset: 0 }, { start: PAGE, end: 3 * PAGE, offset: 2 * PAGE }),
    ).toThrow(/0x0-0x800@0x0 and 0x400-0xc00@0x800 overlap/);
    expect(() => open()).toThrow(/the memory map has no ranges/);
    const beyond = open({ start: 8 * PAGE, end: 20 * PAGE, offset: 0 });
    expect(beyond.warnings.join()).toMatch(
      /beyond the RAM of the stream, which has 0x1000 bytes: there is none from physical address 0x3000 to 0x5000/,
    );
    expect(open({ start: 0, end: PAGE, offset: 0 }).warnings.join()).toMatch(
      /3072 bytes of RAM are in no range of the memory map/,
    );
  });

  it("of blocks whose names say nothing is taken to be the largest one, with a warning if there are more", () => {
    const blocks = [
      { name: "/objects/m0", length: PAGE },
      { name: "/objects/m1", length: 2 * PAGE },
    ];
    const image = openBytes(write({ blocks, rounds: [[sent(0, page(1), "/objects/m1")]] }));
    expect(readInto(image.io, 0, PAGE).sync()).toEqual(page(1));
    expect(image.warnings.join()).toMatch(
      /the largest, \/objects\/m1, is taken for all of it; if the guest has/,
    );
    const alone = openBytes(write({ blocks: [blocks[1]!], rounds: [[zero(0, "/objects/m1")]] }));
    expect(alone.warnings.join()).not.toMatch(/taken for all of it/);
  });

  it("sixty thousand RAM blocks are put in their order, and a few dozen of them named", () => {
    const blocks = Array.from({ length: 60_000 }, (_, i) => ({
      name: `ram-node${59_999 - i}`,
      length: PAGE,
    }));
    const image = openBytes(
      write({ blocks, rounds: [[sent(0, page(1), "ram-node2"), zero(0, "ram-node59999")]] }),
    );
    expect(readInto(image.io, 2 * PAGE, PAGE).sync()).toEqual(page(1));
    expect(image.map.end).toBe(60_000 * PAGE);
    expect(image.details.ramBlocks).toMatch(/^ram-node59999 0x400, .* and 59936 more$/);
  });

  it("the first flash ends at 4 GiB, the second one below it", () => {
    const flash = (i: number) => ({ name: `system.flash${i}`, length: (i + 1) * PAGE });
    const blocks = [{ name: "pc.ram", length: 4 * PAGE }, flash(1), flash(0)];
    const pages = [sent(0, page(5), "system.flash0"), sent(1, page(6), "system.flash1")];
    const image = openBytes(write({ blocks, rounds: [pages] }));
    expect(readInto(image.io, 4 * GIB - PAGE, PAGE).sync()).toEqual(page(5));
    expect(readInto(image.io, 4 * GIB - 2 * PAGE, PAGE).sync()).toEqual(page(6));
  });

  it("the firmware's ROM ends at 4 GiB, and a DIMM whose address nobody knows is named in a warning", () => {
    const image = openBytes(
      write({
        blocks: [
          { name: "pc.ram", length: 4 * PAGE },
          { name: "pc.bios", length: 2 * PAGE },
          { name: "/objects/dimm1", length: PAGE },
        ],
        rounds: [[sent(1, page(5), "pc.bios")]],
      }),
    );
    expect(readInto(image.io, 4 * GIB - PAGE, PAGE).sync()).toEqual(page(5));
    expect(image.warnings.join()).toMatch(
      /RAM block \/objects\/dimm1 \(0x400 bytes\) is no part of main RAM/,
    );
  });
});

describe("what else is in a stream", () => {
  const pages = [sent(0, page(1)), zero(1), sent(2, page(2)), zero(3)];

  it("machine, UUID and capabilities of its configuration are shown or obeyed", () => {
    const uuid = Uint8Array.from({ length: 16 }, (_, i) => i);
    const image = openBytes(
      write({
        uuid,
        capabilities: ["x-ignore-shared"],
        blocks: [{ name: "pc.ram", length: 4 * PAGE, address: 0x4000_0000 }],
        rounds: [pages],
      }),
    );
    expect(image.details).toMatchObject({
      machine: "pc-q35-7.2",
      uuid: "00010203-0405-0607-0809-0a0b0c0d0e0f",
      complete: true,
      pageSize: PAGE,
    });
    expect(image.warnings.join()).toMatch(/x-ignore-shared/);
    expect(readInto(image.io, 2 * PAGE, PAGE).sync()).toEqual(page(2));
  });

  it("a stream of an old machine, without configuration and footers, is read", () => {
    const image = openBytes(
      writeQemuStream({
        machine: undefined,
        footers: false,
        blocks: [{ name: "pc.ram", length: 2 * 4096 }],
        rounds: [[sent(0, pattern(4096, 1)), zero(1)]],
      }),
    );
    expect(readInto(image.io, 0, 4096).sync()).toEqual(pattern(4096, 1));
    expect(image.warnings).toEqual([]);
  });

  it("the page size of a block in huge pages (postcopy) is passed over", () => {
    const blocks = [
      { name: "pc.ram", length: 4 * PAGE, hugePageSize: 2 ** 21 },
      { name: "vga.vram", length: PAGE, hugePageSize: 2 ** 21 },
    ];
    expect(readInto(openBytes(write({ blocks, rounds: [pages] })).io, 0, PAGE).sync()).toEqual(page(1));
  });

  it("sections of other devices between those of RAM are skipped by their footers, also long ones", () => {
    const content = new Uint8Array(3_000_000).fill(0x7e);
    content.set(text("\x7e\0\0\0\x09\x09"), 1_048_500);
    const image = openBytes(
      write({
        before: [{ type: "start", id: 9, name: "block", content: new Uint8Array(3) }],
        between: [{ type: "part", id: 9, name: "block", content }],
        rounds: [pages.slice(0, 2), pages.slice(2)],
        devices: [{ type: "full", id: 12, name: "timer", content: pattern(30, 1) }],
      }),
    );
    expect(image.details.complete).toBe(true);
    expect(image.warnings).toEqual([
      expect.stringMatching(/skipped before the end of RAM: the sections block/),
    ]);
    expect(readInto(image.io, 2 * PAGE, PAGE).sync()).toEqual(page(2));
  });

  it("more sections than any guest has end the stream with a warning", () => {
    const before = Array.from({ length: 65_540 }, (_, i) => ({
      type: "start" as const,
      id: 100 + i,
      name: `d${i % 30}`,
      content: new Uint8Array(0),
    }));
    expect(() => openBytes(write({ before, rounds: [pages] }))).toThrow(
      /more than 65536 sections before the end of RAM/,
    );
  });

  it("a section that can't be skipped ends the stream, and what came before is readable", () => {
    const image = openBytes(
      write({
        footers: false,
        between: [{ type: "part", id: 9, name: "block", content: text("what nobody knows") }],
        rounds: [pages.slice(0, 2), pages.slice(2)],
      }),
    );
    expect(image.warnings.join()).toMatch(
      /the section number 9 before the end of RAM can't be skipped: .*, at file offset 0x/,
    );
    const { holes } = readPartial(image.io, 0, 4 * PAGE).sync();
    expect(holes).toMatchObject([{ start: 2 * PAGE, end: 4 * PAGE, state: "excluded" }]);
    expect(image.map.reasonOf(2 * PAGE)).toBe("incomplete");
  });

  it("a background snapshot, whose RAM has no last section, is complete where the devices end", () => {
    const image = openBytes(
      write({
        rounds: [pages],
        noEnd: true,
        devices: [{ type: "full", id: 12, name: "timer", content: pattern(30, 1) }],
      }),
    );
    expect(image.details.complete).toBe(true);
  });

  it("zeros behind RAM instead of its last section are a file that was not written to its end", () => {
    const whole = write({ rounds: [[sent(0, page(1))], []], noEnd: true, endAfterRam: true });
    const image = openBytes(new Uint8Array([...whole, 0x7e, 0, 0, 0, 2, ...new Uint8Array(5000)]));
    expect(image.details.complete).toBe(false);
    expect(image.map.reasonOf(PAGE)).toBe("incomplete");
    expect(image.warnings.join()).toMatch(
      /end of the stream before the last section of RAM, at file offset 0x/,
    );
  });

  it("RAM that begins a second time ends the stream there: its pages would be those of other blocks", () => {
    const again = write({ blocks: [{ name: "pc.ram", length: 8 * PAGE }], rounds: [[sent(6, page(9))]] });
    const start = again.indexOf(1, 8 + 5 + "pc-q35-7.2".length + 6 + 30);
    const first = write({ rounds: [[sent(0, page(1))], []], noEnd: true, endAfterRam: true });
    const image = openBytes(new Uint8Array([...first, 0x7e, 0, 0, 0, 2, ...again.subarray(start)]));
    expect(image.warnings.join()).toMatch(/RAM begins a second time, at file offset 0x/);
    expect(image.map.end).toBe(4 * PAGE);
    expect(readInto(image.io, 0, PAGE).sync()).toEqual(page(1));
    expect(image.map.reasonOf(PAGE)).toBe("incomplete");
  });

  it("pages that a complete stream never sent are excluded, and counted in a warning", () => {
    const image = openBytes(write({ rounds: [[sent(1, page(1))]] }));
    expect(image.map.reasonOf(0)).toBe("unknown");
    expect(image.warnings).toEqual([expect.stringMatching(/^3072 bytes of RAM are not in the stream/)]);
  });

  it("multifd streams say that their pages are elsewhere", () => {
    const image = openBytes(write({ rounds: [[zero(3)]], marks: [0x200, 0x80] }));
    expect(image.warnings.join("\n")).toMatch(
      /through other channels \(multifd\), which are not in this file/,
    );
    expect(image.map.bytesPresent).toBe(PAGE);
  });

  it("zeros are told apart in the map that does", () => {
    const image = openBytes(write({ rounds: [pages] }));
    expect([...image.map.ranges()]).toEqual([{ start: 0, end: 4 * PAGE, state: "present" }]);
    expect([...(image.mapWithZeros?.().sync().ranges() ?? [])]).toEqual([
      { start: 0, end: PAGE, state: "present" },
      { start: PAGE, end: 2 * PAGE, state: "present", zero: true },
      { start: 2 * PAGE, end: 3 * PAGE, state: "present" },
      { start: 3 * PAGE, end: 4 * PAGE, state: "present", zero: true },
    ]);
  });

  it("compressed pages without a decoder are unsupported, others readable", () => {
    const file = write({
      rounds: [[{ block: "pc.ram", page: 0, kind: "compress", bytes: page(1) }, sent(1, page(2))]],
    });
    const image = openDump(testFile(file)).sync();
    expect(image.warnings.join()).toMatch(/no decoder/);
    const { holes } = readPartial(image.io, 0, 2 * PAGE).sync();
    expect(holes).toMatchObject([{ start: 0, end: PAGE, state: "unsupported" }]);
  });

  it("a compressed page that is garbage, too short or too long is malformed", () => {
    for (const bytes of [new Uint8Array([1, 2, 3]), undefined]) {
      for (const length of [PAGE - 1, PAGE + 1]) {
        const spoilt = {
          block: "pc.ram",
          page: 1,
          kind: "compress",
          bytes: pattern(length, 2),
          ...(bytes && { encoded: bytes }),
        } as const;
        const { holes } = readPartial(
          openBytes(write({ rounds: [[sent(0, page(1)), spoilt]] })).io,
          0,
          2 * PAGE,
        ).sync();
        expect(holes).toMatchObject([{ start: PAGE, end: 2 * PAGE, state: "malformed" }]);
      }
    }
  });
});

describe("what can't be read is said", () => {
  it.each([
    [{ version: 2 }, /version at file offset 0x4: migration streams of version 2 are not read/],
    [
      { subsection: "configuration/new" },
      /"configuration\/new" is a part of the configuration that memtool does not know/,
    ],
    [{ pageBits: 30 }, /target-page-bits at file offset 0x[0-9a-f]+: pages of 2\^30 bytes/],
    [
      { blocks: [{ name: "pc.ram", length: 2 ** 53 }] },
      /used_length at file offset 0x[0-9a-f]+: a RAM block of 0x20000000000000 bytes/,
    ],
  ] as const)("%j", (options, message) => {
    expect(() => openBytes(write(options))).toThrow(message);
  });

  it("a list of blocks that does not add up is a warning", () => {
    const pages = [sent(0, page(1))];
    expect(openBytes(write({ total: 9 * PAGE, rounds: [pages] })).warnings.join()).toMatch(
      /the list of RAM blocks ends/,
    );
    const blocks = [{ name: "pc.ram", length: 4 * PAGE }];
    const image = openBytes(write({ total: 3 * PAGE, blocks, rounds: [pages] }));
    expect(image.warnings.join()).toMatch(/have 0x400 bytes more than the 0xc00/);
    expect(readInto(image.io, 0, PAGE).sync()).toEqual(page(1));
  });

  it("a file that can't be read on is no stream that ends: the place and the fault are named", () => {
    const bytes = write({ rounds: [[sent(0, page(1)), sent(1, page(2)), sent(2, page(3))]] });
    const open = (start: number) => {
      const source = new SourceIo(memorySource(bytes, { broken: [{ start, end: bytes.length }] }));
      return openDump(dumpFile(source, bytes.length, "bad-disk"), { format: "qemu-stream" }).sync();
    };
    const third = bytes.length - 100 - PAGE;
    const image = open(third);
    const [, at, why] =
      /^the file can't be read at offset (0x\w+) \((\w+)\): pages/.exec(image.warnings.join()) ?? [];
    expect(why).toBe("io");
    expect(Number(at)).toBeGreaterThanOrEqual(third);
    expect(Number(at)).toBeLessThan(third + PAGE);
    expect(image.map.reasonOf(3 * PAGE)).toBe("unknown");
    expect(readInto(image.io, 0, PAGE).sync()).toEqual(page(1));
    for (const at of [2, 20, 70]) {
      expect(() => open(at)).toThrow(expect.objectContaining({ code: "UNREADABLE_DUMP" }));
    }
  });

  it("a page of a block that is in no list, or beyond its end, ends the stream there", () => {
    for (const [bad, message] of [
      [sent(0, page(2), "pc.rom"), /RAM block is in no list, at file offset/],
      [sent(4, page(2)), /beyond the end of its RAM block pc\.ram/],
    ] as const) {
      const image = openBytes(write({ rounds: [[sent(0, page(1)), bad, sent(1, page(3))]] }));
      expect(image.warnings.join()).toMatch(message);
      expect(image.map.bytesPresent).toBe(PAGE);
    }
  });
});

it("pages sent one after another are read with the file's reads side by side: two batches for compressed ones too", () => {
  const pages = Array.from(
    { length: 200 },
    (_, i): StreamPage => ({
      block: "pc.ram",
      page: i,
      kind: i % 2 === 0 ? "page" : "compress",
      bytes: page(i),
    }),
  );
  const file = testFile(write({ blocks: [{ name: "pc.ram", length: 200 * PAGE }], rounds: [pages] }));
  const image = openDump(file, { decoders: { inflate: () => new Uint8Array(PAGE) } }).sync();
  const before = file.source.counters.batches;
  all(Array.from({ length: 20 }, (_, i) => readInto(image.io, i * 10 * PAGE, 10 * PAGE))).sync();
  expect(file.source.counters.batches - before).toBeLessThanOrEqual(2);
});

it("more compressed pages than are read at once wait, and each is answered, whatever comes first", async () => {
  // 1,500 pages of 64 KiB: half again as much as is under way at most.
  const count = 1500;
  const encoded = deflateSync(new Uint8Array(65_536).fill(3));
  const pages = Array.from(
    { length: count },
    (_, i): StreamPage => ({ block: "pc.ram", page: i, kind: "compress", encoded }),
  );
  const bytes = writeQemuStream({
    machine: "pc-q35-7.2",
    pageBits: 16,
    blocks: [{ name: "pc.ram", length: count * 65_536 }],
    rounds: [pages],
  });
  for (const cacheBytes of [0, 2 ** 20]) {
    const image = await openDump(testFile(bytes, "async"), { decoders: nodeDecoders, cacheBytes });
    const stops = pages.map(() => new AbortController());
    const results = pages.map((_, i) =>
      readPartial(image.io, i * 65_536 + 9, 4, i % 3 === 0 ? { signal: stops[i]?.signal } : {}).promise(),
    );
    for (const stop of stops) stop.abort();
    for (const [i, { bytes: read, holes }] of (await Promise.all(results)).entries()) {
      if (i % 3 !== 0 && (holes.length > 0 || String(read) !== "3,3,3,3"))
        expect([i, read, holes]).toBe("3s");
    }
    expect(await readInto(image.io, 0, 4)).toEqual(new Uint8Array(4).fill(3));
  }
});

describe("mapped-ram", () => {
  const capabilities = ["mapped-ram"];
  const pages = new Map([1, 2, 7].map((i) => [i, page(i)]));
  const blocks = [{ name: "pc.ram", length: 9 * PAGE, pages }];

  it("pages are where the bitmap says, and what it lacks is zero, or unknown in a file that was cut", () => {
    const file = write({ capabilities, blocks, rounds: [[]], endAfterRam: true });
    const image = openBytes(file);
    expect(readInto(image.io, 6 * PAGE, 2 * PAGE).sync()).toEqual(
      new Uint8Array([...new Uint8Array(PAGE), ...page(7)]),
    );
    const cut = openBytes(file.subarray(0, file.length - 9));
    expect(readInto(cut.io, 7 * PAGE, PAGE).sync()).toEqual(page(7));
    expect(cut.map.reasonOf(6 * PAGE)).toBe("incomplete");
  });

  it("a file whose end was never written, and reads as zeros, has no zero pages for all that its bitmap lacks", () => {
    const file = write({
      capabilities,
      blocks: [{ ...blocks[0]!, pages: new Map() }],
      rounds: [[]],
      noEnd: true,
    });
    // The list of blocks is whole, with the end of its section; the bitmap is written last.
    const image = openBytes(file.subarray(0, file.length - 64).slice());
    expect(image.map.reasonOf(0)).toBe("incomplete");
    const snapshot = write({
      capabilities,
      blocks: [{ ...blocks[0]!, pages: new Map() }],
      rounds: [[]],
      noEnd: true,
      devices: [{ type: "full", id: 12, name: "timer", content: pattern(30, 1) }],
    });
    expect(openBytes(snapshot).map.bytesPresent).toBe(0);
  });

  it("a header of another version is refused", () => {
    const bad = [{ name: "pc.ram", length: 9 * PAGE, pages, mappedVersion: 2 }];
    expect(() => openBytes(write({ capabilities, blocks: bad }))).toThrow(
      /mapped-ram header at file offset 0x/,
    );
  });
});

describe("XBZRLE", () => {
  it("gives back what was encoded, for changes of any length and place", () => {
    for (let i = 0; i < 200; i++) {
      const from = pattern(4096, i);
      const to = from.slice();
      for (let k = 0; k < i % 7; k++) to.set(pattern((i * 13) % 300, i + k), (i * 541 + k * 977) % 3700);
      const page = from.slice();
      expect(applyXbzrle(page, encodeXbzrle(from, to))).toBe(true);
      expect(Buffer.compare(page, to)).toBe(0);
    }
  });

  it.each([
    ["a length without its second byte", [0x80]],
    ["a length of three bytes", [0x80, 0x80, 1]],
    ["a run that is not there", [0]],
    ["bytes that are not there", [0, 5, 1]],
    ["an empty run of changes", [3, 0]],
    ["an empty run in the middle", [1, 1, 7, 0, 1, 7]],
    ["a run beyond the page", [0xff, 0x7f, 1, 1]],
  ])("refuses %s", (_, delta) => {
    expect(applyXbzrle(new Uint8Array(4096), new Uint8Array(delta))).toBe(false);
  });
});
