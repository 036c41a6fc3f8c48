/** Dumps of a guest whose pages are stored as they are. */
import { writeElf } from "../../support/write-elf.js";
import { writeLime } from "../../support/write-lime.js";
import { writeQemuStream } from "../../support/write-qemu-stream.js";
import { memoryGroup, writeSnapshot } from "../../support/write-vmware.js";
import { writeWindowsDump } from "../../support/write-windows-dump.js";
import { type Guest, type GuestRange, PAGE } from "./guest.js";
import { FileSink } from "./sink.js";

const NOTHING = new Uint8Array(0);

function all(guest: Guest, sink: FileSink, { from, start, end }: GuestRange): void {
  for (const piece of guest.pieces(from, from + end - start)) sink.write(piece);
}

/** Physical address = offset; a hole between the ranges. */
export function writeRaw(guest: Guest, path: string): void {
  const sink = new FileSink(path);
  for (const range of guest.ranges) all(guest, sink.skipTo(range.start), range);
  sink.close();
}

/** One segment a range; or as many as hold `pages` each, the last first. */
export function writeElfCore(guest: Guest, path: string, pages?: number): void {
  const parts: GuestRange[] = [];
  for (const { start, end, from } of guest.ranges) {
    const step = pages === undefined ? end - start : pages * PAGE;
    for (let at = start; at < end; at += step) {
      parts.push({ start: at, end: Math.min(end, at + step), from: from + at - start });
    }
  }
  if (pages !== undefined) parts.reverse();
  const head = (dataAt: number) => {
    let offset = dataAt;
    const segments = parts.map(({ start, end }) => {
      offset += end - start;
      const size = end - start;
      return { physical: start, bytes: NOTHING, fileSize: size, memorySize: size, offset: offset - size };
    });
    return writeElf(segments, { extended: parts.length > 65_533 });
  };
  const sink = new FileSink(path);
  sink.write(head(head(0).length));
  for (const part of parts) all(guest, sink, part);
  sink.close();
}

export function writeLimeFile(guest: Guest, path: string): void {
  const sink = new FileSink(path);
  for (const range of guest.ranges) {
    sink.write(writeLime([{ start: range.start, bytes: NOTHING, last: range.end - 1 }]));
    all(guest, sink, range);
  }
  sink.close();
}

/** The descriptor of a Windows dump: its RAM. */
const runsOf = (guest: Guest) =>
  guest.ranges.map(({ start, end }) => ({ page: start / PAGE, count: (end - start) / PAGE }));

export function writeWindowsFull(guest: Guest, path: string): void {
  const sink = new FileSink(path);
  sink.write(writeWindowsDump([], { descriptor: runsOf(guest), requiredDumpSpace: 0x2000 + guest.bytes }));
  for (const range of guest.ranges) all(guest, sink, range);
  sink.close();
}

/** Pages of RAM that {@link writeWindowsBitmap} has, of each 32: the others are 8 side by side, somewhere. */
export const GROUP_PAGES = 32;
const MISSING = 8;

/** The first of a group's pages that are missing. */
function missingFrom(group: number): number {
  return (Math.imul(group, 0x9e3779b1) >>> 16) % (GROUP_PAGES - MISSING);
}

/** Whether the bitmap dump has a page of RAM. */
export function isInBitmap(page: number): boolean {
  const from = missingFrom(Math.floor(page / GROUP_PAGES));
  const at = page % GROUP_PAGES;
  return at < from || at >= from + MISSING;
}

/** A dump with a bitmap that leaves out a quarter of the pages. */
export function writeWindowsBitmap(guest: Guest, path: string): void {
  const bits = guest.end / PAGE;
  const present = (guest.bytes / PAGE / GROUP_PAGES) * (GROUP_PAGES - MISSING);
  const size = 0x2000 + Math.ceil((0x38 + bits / 8) / PAGE) * PAGE;
  const head = writeWindowsDump([], {
    type: 6,
    descriptor: runsOf(guest),
    bitmapPages: bits,
    presentPages: present,
    requiredDumpSpace: size + present * PAGE,
  });
  const bitmapAt = 0x2000 + 0x38;
  const sink = new FileSink(path);
  const groups = (use: (page: number, byte: number) => void) => {
    for (const { start, end, from } of guest.ranges) {
      for (let at = start; at < end; at += PAGE) {
        const byte = from + at - start;
        if (isInBitmap(byte / PAGE)) use(at / PAGE, byte);
      }
    }
  };
  groups((page) => {
    const at = bitmapAt + (page >>> 3);
    head[at] = (head[at] as number) | (1 << (page & 7));
  });
  sink.write(head);
  groups((_, byte) => {
    const at = byte % guest.tile.length;
    sink.write(guest.tile.subarray(at, at + PAGE));
  });
  sink.close();
}

/** `.vmem`, and the snapshot's state beside it. @returns the latter. */
export function writeVmware(guest: Guest, path: string): Uint8Array {
  const sink = new FileSink(path);
  for (const range of guest.ranges) all(guest, sink, range);
  sink.close();
  return writeSnapshot([
    memoryGroup(
      guest.ranges.map(({ start, end, from }) => ({
        ppn: start / PAGE,
        pageNum: from / PAGE,
        size: (end - start) / PAGE,
      })),
    ),
  ]);
}

/** Bytes of RAM in a section of the stream. */
const SECTION = 2 ** 24;

/** A stream of a guest that stood still, as `virsh save` sends it: every page once, zeros as such. */
export function writeStream(guest: Guest, path: string): void {
  const sink = new FileSink(path);
  const name = "pc.ram";
  sink.write(
    writeQemuStream({
      machine: "pc-i440fx-7.2",
      blocks: [{ name, length: guest.bytes }],
      rounds: [],
      endAfterRam: true,
    }),
  );
  const isZero = guest.chunks(PAGE, (page) => page.every((byte) => byte === 0));
  const head = Buffer.alloc(16);
  /** The flags of a record, and the block's name where it is a section's first. */
  const record = (byte: number, flags: number, first: boolean) => {
    head.writeBigUInt64BE(BigInt(byte + flags + (first ? 0 : 0x20)));
    sink.write(head.subarray(0, 8));
    if (first) sink.write(Buffer.from(`\x06${name}`, "latin1"));
  };
  for (let start = 0; start < guest.bytes; start += SECTION) {
    const isLast = start + SECTION >= guest.bytes;
    sink.write(Buffer.from([isLast ? 3 : 2, 0, 0, 0, 2]));
    for (let byte = start; byte < start + SECTION; byte += PAGE) {
      if (isZero(byte)) {
        record(byte, 0x02, byte === start);
        sink.write(Buffer.from([0]));
      } else {
        const at = byte % guest.tile.length;
        record(byte, 0x08, byte === start);
        sink.write(guest.tile.subarray(at, at + PAGE));
      }
    }
    head.writeBigUInt64BE(0x10n);
    sink.write(head.subarray(0, 8)).write(Buffer.from([0x7e, 0, 0, 0, 2]));
  }
  sink.write(Buffer.from([0]));
  sink.close();
}
