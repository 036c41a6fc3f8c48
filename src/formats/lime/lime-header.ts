/**
 * The header before each range of memory in a LiME file, which AVML uses too.
 *
 * Layout: LiME's docs/README.md ("LiME Memory Range Header Version 1 Specification") and src/lime.h
 * (`lime_mem_range_header`): magic (u32), version (u32), first address (u64), last address (u64, inclusive), 8 bytes
 * that are 0. AVML's src/image.rs (`Header::encode`): the same, with a magic and version of its own where what follows
 * is compressed.
 */

/** Bytes of a header. */
export const RANGE_HEADER = 32;
/** LiME's magic: 0x4C694D45, the bytes "EMiL" of a little-endian machine. */
export const LIME_MAGIC = 0x4c694d45;
export const LIME_VERSION = 1;
/** AVML's magic: 0x4C4D5641, the bytes "AVML". */
export const AVML_MAGIC = 0x4c4d5641;
export const AVML_VERSION = 2;
/** AVML writes ranges in blocks of at most this many bytes (`MAX_BLOCK_SIZE`), and leaves out those that are zero. */
export const AVML_BLOCK = 16 * 2 ** 20;

/** Which headers a file has. */
export interface HeaderKind {
  readonly magic: number;
  readonly version: number;
  readonly littleEndian: boolean;
}

/** A range of physical addresses, `end` exclusive: no more than `start` in a header that makes no sense. */
export interface HeaderRange {
  readonly start: number;
  readonly end: number;
}

/** Whether the bytes from `at` on are a header of that kind, by magic and version. */
export function isRangeHeader(bytes: Uint8Array, at: number, kind: HeaderKind): boolean {
  if (at + RANGE_HEADER > bytes.length) return false;
  return u32(bytes, at, kind) === kind.magic && u32(bytes, at + 4, kind) === kind.version;
}

/** The range of a header at `at`; `undefined` if it reaches to 2^53 or beyond. */
export function parseRange(bytes: Uint8Array, at: number, kind: HeaderKind): HeaderRange | undefined {
  const start = u64(bytes, at + 8, kind);
  const last = u64(bytes, at + 16, kind);
  return start < Number.MAX_SAFE_INTEGER && last < Number.MAX_SAFE_INTEGER
    ? { start, end: last + 1 }
    : undefined;
}

// Byte by byte: a DataView for each of millions of headers costs more than all else.
function u32(bytes: Uint8Array, at: number, { littleEndian }: HeaderKind): number {
  const first = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  const second = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  const value = first * 0x10000 + second;
  return littleEndian ? swapped(value) : value;
}

function swapped(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

/** Inexact from 2^53 on. */
function u64(bytes: Uint8Array, at: number, kind: HeaderKind): number {
  const first = u32(bytes, at, kind);
  const second = u32(bytes, at + 4, kind);
  return kind.littleEndian ? second * 2 ** 32 + first : first * 2 ** 32 + second;
}
