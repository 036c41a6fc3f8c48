/**
 * Chunks of a stream in snappy's framing format, found by their headers and decompressed one by one.
 *
 * Layout: google/snappy's framing_format.txt: each chunk has a type (u8) and a length (24 bits), and those with data a
 * masked CRC-32C of it; how much a compressed chunk decompresses to (at most 64 KiB) stands at its beginning.
 */
import { decompressSnappy, SNAPPY_LENGTH_BYTES } from "../../codecs/snappy.js";
import {
  isSnappyIdentifier,
  maskedCrc32c,
  parseSnappyChunk,
  SNAPPY_CHECKSUM,
  SNAPPY_CHUNK,
  SNAPPY_CHUNK_DATA,
  SNAPPY_CHUNK_HEADER,
  SNAPPY_IDENTIFIER_BYTES,
  snappyChunkLength,
} from "../../codecs/snappy-frames.js";
import { hex, type Routine } from "../../io/index.js";
import { ChunkTableBuilder } from "../containers/chunk-table.js";
import type { Decoder, DumpFile } from "../types.js";
import { HeaderWindow } from "./header-window.js";

/** What of a chunk tells all but its data. */
const HEAD = SNAPPY_CHUNK_HEADER + SNAPPY_CHECKSUM + SNAPPY_LENGTH_BYTES;
/** Headers that are looked at in one stream: enough for a TiB in one. */
const MAX_HEADERS = 2 ** 24;

/** The chunks of a stream, as far as it goes. */
export interface SnappyWalk {
  readonly chunks: ChunkTableBuilder;
  /**
   * `whole`: they add up to what was expected. `cut`: the file ends before. `damaged`: what follows the last one is no
   * chunk, or one too many.
   */
  readonly state: "whole" | "cut" | "damaged";
  /**
   * Number of the first chunks whose place is certain. Unless all add up, any header may be wrong: a place is certain
   * only behind chunks of 64 KiB, as writers make all but the last, with nothing to skip between them.
   */
  readonly certain: number;
  /** File offset behind the last chunk that was looked at. */
  readonly end: number;
  /** What is wrong, for people. */
  readonly problem: string;
}

/** Where a stream lies and what it holds. */
export interface SnappyStream {
  readonly offset: number;
  /** File offset that it does not reach beyond. */
  readonly limit: number;
  /** Whether it ends just there; else when it has all its data. */
  readonly exact: boolean;
  /** Position of its first byte, for the table. */
  readonly position: number;
  /** Bytes that it decompresses to. */
  readonly length: number;
}

/** Goes through the headers of a stream's chunks. @throws {FormatError} only if the file can't be read. */
export function* walkSnappy(file: DumpFile, stream: SnappyStream): Routine<SnappyWalk> {
  const { offset, limit, exact, position, length } = stream;
  const window = new HeaderWindow(file, "snappy chunk");
  const chunks = new ChunkTableBuilder(position);
  const needed = position + length;
  /** Chunks up to the first that is not full, or that something to skip comes before. */
  let regular = -1;
  let at = offset;
  const ends = (state: SnappyWalk["state"], problem: string): SnappyWalk => {
    const certain = state === "whole" || regular < 0 ? chunks.length : regular;
    return { chunks, state, certain, end: at, problem };
  };
  for (let headers = 0; exact ? at < limit : chunks.end < needed; headers++) {
    if (at + SNAPPY_CHUNK_HEADER > limit) return ends("cut", `the chunk at ${hex(at)} is cut`);
    if (headers === MAX_HEADERS) return ends("damaged", `more than ${MAX_HEADERS} chunks`);
    const length = Math.min(HEAD, limit - at);
    const index = yield* window.load(at, length);
    const head = window.bytes.subarray(index, index + length);
    if (headers === 0 && !isSnappyIdentifier(head)) {
      if (length < SNAPPY_IDENTIFIER_BYTES) return ends("cut", "the stream is cut");
      return ends("damaged", "no snappy stream begins there");
    }
    const chunk = parseSnappyChunk(head);
    const size = SNAPPY_CHUNK_HEADER + chunk.length;
    if (chunk.kind === "unknown") return ends("damaged", `no chunk at ${hex(at)}: its type is ${chunk.type}`);
    let data = 0;
    try {
      data = snappyChunkLength(chunk, head.subarray(SNAPPY_CHUNK_HEADER));
    } catch (error) {
      if (at + size > limit) return ends("cut", `the chunk at ${hex(at)} is cut`);
      return ends("damaged", `the chunk at ${hex(at)}: ${error instanceof Error ? error.message : error}`);
    }
    if (at + size > limit) return ends("cut", `the chunk at ${hex(at)} is cut`);
    if (chunks.end + data > needed) return ends("damaged", `the chunk at ${hex(at)} is one too many`);
    if (data > 0) chunks.push(data, at, size);
    if (regular < 0 && headers > 0 && data < SNAPPY_CHUNK_DATA) regular = chunks.length;
    at += size;
  }
  if (chunks.end < needed) {
    return ends("damaged", `its chunks hold ${chunks.end - position} bytes, not ${length}`);
  }
  return ends("whole", "");
}

/**
 * The data of a chunk that `walkSnappy` found.
 *
 * @param stored The whole chunk. @param decode Decompresses snappy's raw blocks.
 * @throws if it does not decompress to that length, or has another sum.
 */
export function decodeChunk(
  stored: Uint8Array,
  length: number,
  decode: Decoder = decompressSnappy,
): Uint8Array {
  const block = stored.subarray(SNAPPY_CHUNK_HEADER + SNAPPY_CHECKSUM);
  const data = stored[0] === SNAPPY_CHUNK.compressed ? decode(block, length) : block.slice();
  const sum = new DataView(stored.buffer, stored.byteOffset).getUint32(SNAPPY_CHUNK_HEADER, true);
  if (maskedCrc32c(data) !== sum) throw new Error("snappy: the data of a chunk has another sum than it says");
  return data;
}
