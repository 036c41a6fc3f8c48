/**
 * Snappy's framing format, of google/snappy's framing_format.txt: a stream of chunks, each with its type (a byte) and
 * its length (three bytes, least significant first), of which those with data hold at most 64 KiB decompressed.
 *
 * Only the pieces: whoever reads a file goes through its chunks. Chunks are independent of each other, so any may be
 * decompressed alone.
 */
import { crc32c } from "./crc32c.hot.js";
import { CodecError, checkResult } from "./errors.js";
import { runSnappy } from "./snappy.hot.js";
import { parseSnappyLength } from "./snappy.js";

const CODEC = "snappy";

/** Bytes of a chunk's type and length. */
export const SNAPPY_CHUNK_HEADER = 4;
/** Bytes that the data of one chunk decompresses to at most. */
export const SNAPPY_CHUNK_DATA = 65_536;
/** Bytes of the sum before a chunk's data. */
export const SNAPPY_CHECKSUM = 4;
/** Bytes of a stream identifier with its header. */
export const SNAPPY_IDENTIFIER_BYTES = 10;

/** What the types of chunks mean. */
export const SNAPPY_CHUNK = {
  compressed: 0x00,
  uncompressed: 0x01,
  padding: 0xfe,
  identifier: 0xff,
} as const;

/**
 * What to do with a chunk: `compressed` and `uncompressed` hold data, `identifier` begins a stream (any number of them
 * may follow), `skippable` is padding or reserved for what a reader need not know, `unknown` must not be skipped.
 */
export type SnappyChunkKind = "compressed" | "uncompressed" | "identifier" | "skippable" | "unknown";

/** A chunk's header. */
export interface SnappyChunk {
  readonly kind: SnappyChunkKind;
  /** The first byte. */
  readonly type: number;
  /** Bytes behind the header: sum and data. What the file claims. */
  readonly length: number;
}

const IDENTIFIER = [0xff, 6, 0, 0, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59];

/** Whether a stream identifier, with its header, begins at `at`. */
export function isSnappyIdentifier(bytes: Uint8Array, at = 0): boolean {
  return IDENTIFIER.every((byte, i) => bytes[at + i] === byte);
}

function kindOf(type: number): SnappyChunkKind {
  if (type === SNAPPY_CHUNK.compressed) return "compressed";
  if (type === SNAPPY_CHUNK.uncompressed) return "uncompressed";
  if (type === SNAPPY_CHUNK.identifier) return "identifier";
  return type >= 0x80 ? "skippable" : "unknown";
}

/** Parses the header of a chunk at `at`. @throws {CodecError} if the bytes end within it. */
export function parseSnappyChunk(bytes: Uint8Array, at = 0): SnappyChunk {
  if (at + SNAPPY_CHUNK_HEADER > bytes.length) {
    throw new CodecError("CODE_TRUNCATED", CODEC, "ends within the header of a chunk");
  }
  const type = bytes[at] as number;
  const length =
    (bytes[at + 1] as number) | ((bytes[at + 2] as number) << 8) | ((bytes[at + 3] as number) << 16);
  return { kind: kindOf(type), type, length };
}

/**
 * What a chunk decompresses to, without decompressing it.
 *
 * @param chunk Its header.
 * @param body  What follows the header, or its first 9 bytes: the sum, and the block's length.
 * @returns     Bytes, as the chunk claims: at most 64 KiB. 0 for chunks without data.
 * @throws {CodecError} for one that claims more, or is shorter than its sum.
 */
export function snappyChunkLength(chunk: SnappyChunk, body: Uint8Array): number {
  const { kind, length } = chunk;
  if (kind !== "compressed" && kind !== "uncompressed") return 0;
  if (length < SNAPPY_CHECKSUM) {
    throw new CodecError("BAD_CODE", CODEC, `a chunk of ${length} bytes has no room for its sum`);
  }
  const data =
    kind === "uncompressed"
      ? length - SNAPPY_CHECKSUM
      : parseSnappyLength(body, SNAPPY_CHECKSUM, Math.min(length, body.length)).length;
  if (data > SNAPPY_CHUNK_DATA) {
    throw new CodecError(
      "BAD_CODE",
      CODEC,
      `a chunk says that it holds ${data} bytes, which is more than 64 KiB`,
    );
  }
  return data;
}

/** CRC-32C of the data as chunks hold it: masked, since sums of what holds sums are weak. */
export function maskedCrc32c(bytes: Uint8Array, start = 0, end = bytes.length): number {
  const sum = crc32c(bytes, start, end);
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}

/**
 * The data of a `compressed` or `uncompressed` chunk.
 *
 * @param chunk Its header.
 * @param body  All that follows the header: `chunk.length` bytes.
 * @returns     A fresh array of at most 64 KiB.
 * @throws {CodecError} if the chunk has no data, is cut or damaged, or its data has another sum.
 */
export function decodeSnappyChunk(chunk: SnappyChunk, body: Uint8Array): Uint8Array {
  if (chunk.kind !== "compressed" && chunk.kind !== "uncompressed") {
    throw new CodecError("BAD_CODE", CODEC, `a chunk of type ${chunk.type} has no data`);
  }
  if (body.length !== chunk.length) {
    throw new CodecError(
      "CODE_TRUNCATED",
      CODEC,
      `of a chunk of ${chunk.length} bytes ${body.length} are there`,
    );
  }
  const length = snappyChunkLength(chunk, body);
  const data = new Uint8Array(length);
  if (chunk.kind === "uncompressed") {
    data.set(body.subarray(SNAPPY_CHECKSUM));
  } else {
    const { start } = parseSnappyLength(body, SNAPPY_CHECKSUM);
    checkResult(CODEC, runSnappy(body, start, body.length, data), length, body.length);
  }
  const sum =
    ((body[0] as number) |
      ((body[1] as number) << 8) |
      ((body[2] as number) << 16) |
      ((body[3] as number) << 24)) >>>
    0;
  if (maskedCrc32c(data) !== sum) {
    throw new CodecError("BAD_CODE", CODEC, "the data of a chunk has another checksum than it says");
  }
  return data;
}
