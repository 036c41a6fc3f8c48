/** Headers of Zstandard frames (RFC 8878, 3.1.1), to know what a frame claims before anything is decompressed. */
import { CodecError } from "./errors.js";

const CODEC = "zstd";

const MAGIC = 0xfd2fb528;
/** Frames to be skipped have 16 of them, from this on. */
const SKIPPABLE = 0x184d2a50;
const MAGIC_BYTES = 4;

/** The longest header: magic, descriptor, window, dictionary, content size. */
export const ZSTD_HEADER_BYTES = 18;

/** What the header of a frame says. */
export interface ZstdFrame {
  /** Bytes that it decompresses to, as it claims (inexact from 2^53 on); `undefined` if it doesn't say. */
  readonly contentSize: number | undefined;
  /** Bytes that a decompressor of streams must keep, as it claims: up to 3.75 TiB. */
  readonly windowSize: number;
  /** 0: none. */
  readonly dictionary: number;
  /** Whether a checksum of the content follows it. */
  readonly hasChecksum: boolean;
  /** Bytes of the header, the magic number among them. */
  readonly headerSize: number;
}

/**
 * Parses the header of the frame at the start of `input`.
 *
 * @throws {CodecError} if it is none, or a skippable frame, or is cut, or has the reserved bit set.
 */
export function parseZstdFrame(input: Uint8Array): ZstdFrame {
  if (input.length < MAGIC_BYTES + 1) throw cut();
  const magic = readLittle(input, 0, MAGIC_BYTES);
  if (magic - SKIPPABLE >= 0 && magic - SKIPPABLE < 16) {
    throw new CodecError("BAD_CODE", CODEC, "a skippable frame, which holds no data");
  }
  if (magic !== MAGIC) {
    throw new CodecError("BAD_CODE", CODEC, `0x${magic.toString(16)} is not the magic number of a frame`);
  }
  const descriptor = input[MAGIC_BYTES] as number;
  if ((descriptor & 0x08) !== 0) throw new CodecError("BAD_CODE", CODEC, "the frame's reserved bit is set");
  const isSingle = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  const windowBytes = isSingle ? 0 : 1;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const sizeBytes = sizeFlag === 0 ? (isSingle ? 1 : 0) : 2 ** sizeFlag;
  const windowAt = MAGIC_BYTES + 1;
  const dictionaryAt = windowAt + windowBytes;
  const sizeAt = dictionaryAt + dictionaryBytes;
  const headerSize = sizeAt + sizeBytes;
  if (headerSize > input.length) throw cut();
  const contentSize =
    sizeBytes === 0 ? undefined : readLittle(input, sizeAt, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  return {
    contentSize,
    windowSize: isSingle ? (contentSize as number) : windowSizeOf(input[windowAt] as number),
    dictionary: readLittle(input, dictionaryAt, dictionaryBytes),
    hasChecksum: (descriptor & 0x04) !== 0,
    headerSize,
  };
}

function windowSizeOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** A frame that can be decompressed to just `outputLength` bytes, as far as its header says. @throws {CodecError} */
export function checkZstdFrame(input: Uint8Array, outputLength: number): ZstdFrame {
  const frame = parseZstdFrame(input);
  const { contentSize, dictionary } = frame;
  if (contentSize !== undefined && contentSize !== outputLength) {
    const code = contentSize < outputLength ? "OUTPUT_TOO_SHORT" : "OUTPUT_TOO_LONG";
    const problem = `the frame says that it decompresses to ${contentSize} bytes, not to ${outputLength}`;
    throw new CodecError(code, CODEC, problem);
  }
  if (dictionary !== 0) {
    throw new CodecError("UNSUPPORTED_CODE", CODEC, `the frame needs the dictionary ${dictionary}`);
  }
  return frame;
}

function readLittle(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] as number);
  return value;
}

function cut(): CodecError {
  return new CodecError("CODE_TRUNCATED", CODEC, "ends within the header of its frame");
}
