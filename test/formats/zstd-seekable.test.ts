import { expect, it } from "vitest";
import { openDump } from "../../src/formats/index.js";
import { Packet, readInto, readPartial } from "../../src/io/index.js";
import { ByteWriter, pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { writeElf } from "../support/write-elf.js";
import { writeKdump } from "../support/write-kdump.js";
import { writeLime } from "../support/write-lime.js";
import { writeZstdSeekable, zstdFrame } from "../support/write-zstd-seekable.js";

const ram = pattern(40_000, 1);
const elf = writeElf([{ physical: 0x1000, bytes: ram }]);
const file = writeZstdSeekable(elf, { frame: 5000 });

it.each([
  ["elf-core", elf],
  ["lime", writeLime([{ start: 0x1000, bytes: ram }])],
  ["kdump", writeKdump([{ pfn: 1, bytes: ram.subarray(0, 4096) }], { maxPages: 4 })],
])("a dump in it is detected by its own content: %s", (format, content) => {
  const image = openBytes(writeZstdSeekable(content, { frame: 3000 }));
  expect(image.format).toBe(format);
  expect(image.description).toMatch(/, in seekable zstd$/);
  expect(image.details).toMatchObject({ container: "zstd-seekable" });
  expect(readInto(image.io, 0x1000, 4096).sync()).toEqual(ram.subarray(0, 4096));
});

it("of a dump of many frames, opening and a page take a few", () => {
  const inner = testFile(file);
  let bytes = 0;
  const image = openDump(
    {
      ...inner,
      sendIo: (offset, view) => {
        bytes += view.length;
        inner.sendIo(offset, view);
      },
    },
    { decoders: { zstd: rawFrame } },
  ).sync();
  expect(readInto(image.io, 0x1000 + 20_000, 16).sync()).toEqual(ram.subarray(20_000, 20_016));
  expect(bytes).toBeLessThan(20_000);
});

it("of large frames, a few MiB are under way at a time, however many are wanted", () => {
  const MIB = 2 ** 20;
  const count = 24;
  // What the frames hold is the decoder's word here: a page each.
  const table = new ByteWriter().u32(0x184d2a5e).u32(8 * count + 9);
  for (let i = 0; i < count; i++) table.u32(MIB).u32(4096);
  table.u32(count).u8(0).u32(0x8f92eab1);
  const large = new ByteWriter()
    .u32(0xfd2fb528)
    .upTo(count * MIB)
    .bytes(table.done())
    .done();
  const inner = testFile(large);
  const held: (() => void)[] = [];
  let [holds, underWay, most] = [false, 0, 0];
  const { io } = openDump(
    {
      ...inner,
      sendIo: (offset, view) => {
        if (!holds) return inner.sendIo(offset, view);
        view.keep();
        underWay += view.length;
        most = Math.max(most, underWay);
        held.push(() => {
          underWay -= view.length;
          inner.sendIo(offset, view);
        });
      },
    },
    { decoders: { zstd: (_, length) => new Uint8Array(length).fill(7) } },
  ).sync();
  holds = true;
  const packet = Packet.reading(count * 4096);
  io.sendIo(0, packet.view().bind());
  while (held.length > 0) {
    for (const answer of held.splice(0)) answer();
    // Drives what was answered.
    readInto(inner.source, 0, 1).sync();
  }
  expect(packet.firstFault).toBe(0);
  expect(packet.bytes).toEqual(new Uint8Array(count * 4096).fill(7));
  expect(most).toBeGreaterThan(2 * MIB);
  expect(most).toBeLessThan(10 * MIB);
});

/** What the writer wrote, without a check. */
function rawFrame(input: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let at = 9, to = 0; to < length; ) {
    const size = ((input[at] as number) >> 3) | ((input[at + 1] as number) << 5);
    out.set(input.subarray(at + 3, at + 3 + size), to);
    at += 3 + size;
    to += size;
  }
  return out;
}

it("a frame that is damaged is malformed, and the others are read", () => {
  const damaged = file.slice();
  const third = 2 * zstdFrame(elf.subarray(0, 5000)).length;
  damaged[third] = 0x11;
  const { holes, bytes } = readPartial(openBytes(damaged).io, 0x1000, ram.length).sync();
  const start = 10_000 - (elf.length - ram.length);
  expect(holes).toMatchObject([{ start, end: start + 5000, state: "malformed" }]);
  expect(bytes.subarray(start + 5000)).toEqual(ram.subarray(start + 5000));
});

it.each([
  ["without a table", zstdFrame(elf), /this is a zstd file: memtool reads dumps unpacked/],
  ["cut", file.subarray(0, -1), /this is a zstd file: /],
  ["shorter than a table", zstdFrame(Uint8Array.of(1)).subarray(0, 12), /this is a zstd file: /],
  ["with a frame of 4 GiB", lied({ length: 0xffffffff }), /has a frame of 4294967295 bytes, more than/],
  ["with a frame that takes no bytes", lied({ stored: 0 }), /has a frame of 5000 bytes that takes none/],
  ["with a frame that takes 4 GiB", lied({ stored: 0xffffffff }), /has a frame that takes 4294967295 bytes/],
  ["with sizes that do not add up", lied({ stored: 77 }), /says that the frames end at 0x/],
  ["with more frames than there is room for", counted(0xffff), /of 65535 frames does not fit in the file/],
  ["with thousands of millions of frames", counted(0xffff_ffff), /seekable, of 4294967295 frames/],
  ["with another number of frames", counted(2), /does not begin at 0x/],
  ["with reserved bits", described(0x04), /seekable, of an unknown kind/],
])("one %s is refused, with the command that unpacks it", (_, bytes, problem) => {
  expect(() => openBytes(bytes)).toThrow(problem);
  expect(() => openBytes(bytes)).toThrow("run zstd -d -k 'test.dump' -o 'test.dump.unpacked'");
});

it("hands a memory map on to a raw image in it, and to nothing else", () => {
  const memoryMap = [{ start: 0x10_0000, end: 0x10_0000 + ram.length, offset: 0 }];
  const image = openBytes(writeZstdSeekable(ram, { frame: 5000 }), { memoryMap });
  expect(image.format).toBe("raw");
  expect(readInto(image.io, 0x10_0000, 16).sync()).toEqual(ram.subarray(0, 16));
  expect(() => openBytes(file, { memoryMap })).toThrow(/a memory map is for raw images/);
});

it("without a decoder it is refused, with the command that unpacks it", () => {
  expect(() => openDump(testFile(file)).sync()).toThrow(/no decoder for zstd here.*run zstd -d/);
});

function lied(lie: { readonly stored?: number; readonly length?: number }): Uint8Array {
  return writeZstdSeekable(elf, { frame: 5000, lie: { frame: 1, ...lie } });
}

function counted(frames: number): Uint8Array {
  const bytes = file.slice();
  new DataView(bytes.buffer).setUint32(bytes.length - 9, frames, true);
  return bytes;
}

function described(descriptor: number): Uint8Array {
  const bytes = file.slice();
  bytes[bytes.length - 5] = descriptor;
  return bytes;
}
