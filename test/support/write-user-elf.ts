/** ELF images by hand: one loaded segment with a dynamic section, symbols, hash table, versions and notes, of any class and byte order. */

import { hole } from "../../src/io/errors.js";
import { fault, type Routine } from "../../src/io/index.js";
import type { ByteSource, SourceBytes } from "../../src/linux/userland/byte-source.js";

/** A symbol to be written. */
export interface WrittenUserSymbol {
  readonly name: string;
  /** From the beginning of the image. */
  readonly value: number;
  readonly size: number;
  /** `STT_…`; default a function. */
  readonly type?: number;
  /** `STB_…`; default global. */
  readonly binding?: number;
  /** `st_shndx`; default 1, of what is defined. */
  readonly section?: number;
}

/** What an image is to be like. */
export interface WrittenElf {
  readonly bits?: 32 | 64;
  readonly littleEndian?: boolean;
  /** The address that it is linked at; default 0. */
  readonly linked?: bigint;
  /** What is added to addresses in the dynamic section, as glibc's linker does. */
  readonly relocated?: bigint;
  readonly hash?: "sysv" | "gnu" | "none";
  readonly symbols?: readonly WrittenUserSymbol[];
  readonly soname?: string;
  readonly needed?: readonly string[];
  readonly buildId?: Uint8Array;
  readonly interpreter?: string;
  readonly debug?: bigint;
  /** `e_type`; default a library. */
  readonly type?: number;
  /** Bytes of the image; default 16 KiB. */
  readonly size?: number;
}

/** An image, and where its parts are in it. */
export interface ElfBytesWritten {
  readonly bytes: Uint8Array;
  readonly at: {
    readonly dynamic: number;
    readonly symbols: number;
    readonly strings: number;
    readonly hash: number;
  };
}

/** Bytes of an image as its segment has them, from its header on. */
export function writeUserElf(elf: WrittenElf): ElfBytesWritten {
  const { bits = 64, littleEndian = true, linked = 0n, relocated = 0n, hash = "gnu" } = elf;
  const bytes = new Uint8Array(elf.size ?? 16_384);
  const view = new DataView(bytes.buffer);
  const width = bits / 8;
  const u16 = (at: number, value: number) => view.setUint16(at, value, littleEndian);
  const u32 = (at: number, value: number) => view.setUint32(at, value, littleEndian);
  const word = (at: number, value: bigint) =>
    bits === 64
      ? view.setBigUint64(at, value, littleEndian)
      : view.setUint32(at, Number(value), littleEndian);
  const encoder = new TextEncoder();
  const text = (at: number, value: string) => bytes.set(encoder.encode(`${value}\0`), at);

  const given = elf.symbols ?? [];
  const buckets = 3;
  const bucketOf = (name: string) => gnuHash(name) % buckets;
  // What is not defined comes first, and the others by their bucket.
  const outside = given.filter(({ section }) => section === 0);
  const inside = given.filter(({ section }) => section !== 0);
  if (hash === "gnu") inside.sort((a, b) => bucketOf(a.name) - bucketOf(b.name));
  const symbols = [...outside, ...inside];

  const strings = ["", ...(elf.needed ?? []), elf.soname ?? "", ...symbols.map(({ name }) => name)];
  const offsets: number[] = [];
  let length = 0;
  for (const each of strings) {
    offsets.push(length);
    length += encoder.encode(each).length + 1;
  }
  const neededCount = elf.needed?.length ?? 0;
  const symbolSize = bits === 64 ? 24 : 16;
  const at = { dynamic: 0x400, symbols: 0x800, strings: 0, hash: 0 };
  at.strings = at.symbols + symbolSize * (symbols.length + 1);
  at.hash = Math.ceil((at.strings + length) / 8) * 8;

  // Header.
  bytes.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, littleEndian ? 1 : 2, 1]);
  u16(16, elf.type ?? 3);
  u16(18, bits === 64 ? 62 : 3);
  u32(20, 1);
  word(24, linked + 0x1000n);
  const headers = bits === 64 ? 64 : 52;
  word(bits === 64 ? 32 : 28, BigInt(headers));
  const rest = bits === 64 ? 48 : 36;
  const headerSize = bits === 64 ? 56 : 32;
  u16(rest + 4, headers);
  u16(rest + 6, headerSize);
  u16(rest + 8, 4);
  const segment = (i: number, type: number, flags: number, offset: number, size: number) => {
    const start = headers + i * headerSize;
    u32(start, type);
    if (bits === 64) u32(start + 4, flags);
    else u32(start + 24, flags);
    const fields = [
      BigInt(offset),
      linked + BigInt(offset),
      linked + BigInt(offset),
      BigInt(size),
      BigInt(size),
    ];
    fields.forEach((value, k) => {
      word(start + (bits === 64 ? 8 : 4) + k * width, value);
    });
  };
  segment(0, 1, 5, 0, bytes.length);
  segment(1, 2, 6, at.dynamic, 0x300);
  segment(2, elf.buildId === undefined ? 0 : 4, 4, 0x240, 16 + (elf.buildId?.length ?? 0));
  segment(3, elf.interpreter === undefined ? 0 : 3, 4, 0x300, (elf.interpreter?.length ?? 0) + 1);
  if (elf.buildId !== undefined) {
    u32(0x240, 4);
    u32(0x244, elf.buildId.length);
    u32(0x248, 3);
    text(0x24c, "GNU");
    bytes.set(elf.buildId, 0x250);
  }
  if (elf.interpreter !== undefined) text(0x300, elf.interpreter);

  strings.forEach((each, i) => {
    text(at.strings + (offsets[i] as number), each);
  });
  symbols.forEach(({ value, size, type = 2, binding = 1, section = 1 }, i) => {
    const start = at.symbols + (i + 1) * symbolSize;
    u32(start, offsets[i + neededCount + 2] as number);
    word(start + (bits === 64 ? 8 : 4), linked + BigInt(value));
    word(start + (bits === 64 ? 16 : 8), BigInt(size));
    view.setUint8(start + (bits === 64 ? 4 : 12), (binding << 4) | type);
    u16(start + (bits === 64 ? 6 : 14), section);
  });
  if (hash === "sysv") {
    u32(at.hash, 1);
    u32(at.hash + 4, symbols.length + 1);
  } else if (hash === "gnu") {
    const first = outside.length + 1;
    u32(at.hash, buckets);
    u32(at.hash + 4, first);
    u32(at.hash + 8, 1);
    const bucketsAt = at.hash + 16 + width;
    const chains = bucketsAt + 4 * buckets;
    inside.forEach(({ name }, i) => {
      const bucket = bucketOf(name);
      if (view.getUint32(bucketsAt + 4 * bucket, littleEndian) === 0) u32(bucketsAt + 4 * bucket, first + i);
      const next = inside[i + 1];
      const isLast = next === undefined || bucketOf(next.name) !== bucket;
      u32(chains + 4 * i, ((gnuHash(name) & ~1) | (isLast ? 1 : 0)) >>> 0);
    });
  }
  const place = (offset: number) => linked + relocated + BigInt(offset);
  const entries: [number, bigint][] = [
    ...(elf.needed ?? []).map((_, i): [number, bigint] => [1, BigInt(offsets[i + 1] as number)]),
    ...(elf.soname === undefined
      ? []
      : [[14, BigInt(offsets[neededCount + 1] as number)] as [number, bigint]]),
    [5, place(at.strings)],
    [6, place(at.symbols)],
    [10, BigInt(length)],
    ...(hash === "none" ? [] : [[hash === "gnu" ? 0x6ffffef5 : 4, place(at.hash)] as [number, bigint]]),
    ...(elf.debug === undefined ? [] : [[21, elf.debug] as [number, bigint]]),
    [0, 0n],
  ];
  entries.forEach(([tag, value], i) => {
    word(at.dynamic + 2 * width * i, BigInt(tag));
    word(at.dynamic + 2 * width * i + width, value);
  });
  return { bytes, at };
}

/** glibc's elf/dl-lookup.c, `dl_new_hash`. */
export function gnuHash(name: string): number {
  let hash = 5381;
  for (const each of new TextEncoder().encode(name)) hash = (Math.imul(hash, 33) + each) >>> 0;
  return hash;
}

const NOTHING = fault("not-present", "address", "paging");

/** Memory that is some pieces, and nothing else; it counts what it gives. */
export class PieceSource implements ByteSource {
  readonly pieces: { readonly at: bigint; readonly bytes: Uint8Array }[];
  /** Bytes that were asked for. */
  asked = 0;

  constructor(...pieces: { readonly at: bigint; readonly bytes: Uint8Array }[]) {
    this.pieces = pieces;
  }

  // biome-ignore lint/correctness/useYield: nothing here has to wait
  *read(at: bigint, length: number): Routine<SourceBytes> {
    this.asked += length;
    const bytes = new Uint8Array(length);
    const there = new Uint8Array(length);
    for (const piece of this.pieces) {
      const from = Number(piece.at - at);
      const start = Math.max(0, from);
      const end = Math.min(length, from + piece.bytes.length);
      if (start >= end) continue;
      bytes.set(piece.bytes.subarray(start - from, end - from), start);
      there.fill(1, start, end);
    }
    const holes: ReturnType<typeof hole>[] = [];
    for (let i = there.indexOf(0); i >= 0 && i < length; ) {
      const next = there.indexOf(1, i);
      const end = next < 0 ? length : next;
      holes.push(hole(i, end, NOTHING));
      i = end === length ? -1 : there.indexOf(0, end);
    }
    return { bytes, holes };
  }
}

/** Runs a routine that never waits. */
export function runNow<T>(routine: Routine<T>): T {
  const result = routine.next();
  if (result.done !== true) throw new Error("the routine waits");
  return result.value;
}
