/**
 * QEMU's `dump-guest-memory` with paging, as dump/dump.c writes it: blocks of RAM one after the other, and a segment
 * for each mapping of the guest, cut at the end of its block; what is mapped and no RAM has p_offset -1.
 */
import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { type ElfSegment, prstatus, qemuState, writeElf } from "../write-elf.js";

interface Block {
  readonly start: number;
  readonly bytes: Uint8Array;
}

interface Mapping {
  readonly physical: number;
  readonly length: number;
}

const PAGE = 512;
const KERNEL = 0xffff888000000000n;
const notes = [prstatus(1, 100), qemuState(100, 0x1000)];

/** @param blocks Ascending and disjoint. */
function writePaging(blocks: readonly Block[], mappings: readonly Mapping[], extended: boolean): Uint8Array {
  // What QEMU calls memory_offset: the data lie behind all headers and notes, which a file without data ends with.
  const headersOnly = (segments: readonly ElfSegment[]) =>
    writeElf(segments, { notes, likeQemu: true, extended });
  const empty = new Uint8Array(0);
  const memoryAt = headersOnly(mappings.map(() => ({ physical: 0, bytes: empty }))).length;
  const segments = mappings.map(({ physical, length }, i): ElfSegment => {
    const virtual = KERNEL + BigInt(0x100000 * i + physical);
    let offset = memoryAt;
    for (const { start, bytes } of blocks) {
      const room = start + bytes.length - physical;
      if (physical >= start && room > 0) {
        const fileSize = Math.min(length, room);
        return {
          physical,
          virtual,
          bytes: empty,
          offset: offset + physical - start,
          fileSize,
          memorySize: length,
        };
      }
      offset += bytes.length;
    }
    return { physical, virtual, bytes: empty, offset: -1n, fileSize: 0, memorySize: length };
  });
  const head = headersOnly(segments);
  const file = new Uint8Array(memoryAt + blocks.reduce((sum, { bytes }) => sum + bytes.length, 0));
  file.set(head);
  let at = memoryAt;
  for (const { bytes } of blocks) {
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}

const samples = fc
  .record({
    /** RAM and gaps, in turns, in pages. */
    sizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 }),
    mappings: fc.array(fc.record({ page: fc.nat(19), pages: fc.integer({ min: 1, max: 8 }) }), {
      minLength: 1,
      maxLength: 40,
    }),
    seed: fc.nat(),
    extended: fc.boolean(),
  })
  .map(({ sizes, mappings, seed, extended }): DumpSample => {
    const blocks: Block[] = [];
    let page = 0;
    sizes.forEach((size, i) => {
      if (i % 2 === 0) blocks.push({ start: page * PAGE, bytes: pattern(size * PAGE, seed + i) });
      page += size;
    });
    // The first page of RAM is always mapped: a dump of nothing is none.
    const all = [{ page: 0, pages: 1 }, ...mappings].map((each) => ({
      physical: each.page * PAGE,
      length: each.pages * PAGE,
    }));
    const present = new ImageModel(40 * PAGE);
    for (const { physical, length } of all) {
      const block = blocks.find(({ start, bytes }) => physical >= start && physical < start + bytes.length);
      if (block === undefined) continue;
      const end = physical + length;
      const blockEnd = block.start + block.bytes.length;
      for (let at = blockEnd; at < end; at++) {
        if (present.states[at] === "outside") present.states[at] = "excluded";
      }
      present.present(physical, block.bytes.subarray(physical - block.start, end - block.start));
    }
    const model = new ImageModel(present.states.findLastIndex((state) => state !== "outside") + 1);
    model.bytes.set(present.bytes.subarray(0, model.size));
    model.states.splice(0, model.size, ...present.states.slice(0, model.size));
    return { file: writePaging(blocks, all, extended), model };
  });

const blocks = [
  { start: 0, bytes: pattern(2 * PAGE, 1) },
  { start: 4 * PAGE, bytes: pattern(3 * PAGE, 2) },
];
const small = writePaging(
  blocks,
  [
    { physical: 0, length: 4 * PAGE },
    { physical: 4 * PAGE, length: 3 * PAGE },
    { physical: PAGE, length: PAGE },
    { physical: 0xfec00000, length: 4096 },
    { physical: 5 * PAGE, length: PAGE },
  ],
  false,
);

const ram = pattern(3 * 4096, 7);
const base = 16 * 4096;

export const elfCorePaging: FormatCase = {
  name: "an ELF core of QEMU's paging variant",
  small: { file: small },
  size: 0x2000,
  fields: [{ start: 0, end: 500 }],
  cut: /the file ends|missing/,
  samples,
  packets: {
    file: writePaging(
      [{ start: base, bytes: ram }],
      [
        { physical: base + 4096, length: 4096 },
        { physical: base, length: ram.length + 4096 },
        { physical: base + 8192, length: 4096 },
      ],
      true,
    ),
    base,
    ram,
    missing: { bytes: 50, state: "excluded" },
  },
};

export { writePaging };
