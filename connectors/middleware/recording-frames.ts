/** The frames of a recording, to and from a file. docs/recordings.md has the format. */
import { closeSync, openSync, readSync, writevSync } from "node:fs";
import { crc32 } from "node:zlib";
import { MalformedError } from "../byte-code.js";
import { deflateRaw, inflateRaw } from "../deflate-streams.js";
import { ConnectorError, errnoName } from "../errors.js";
import { openRegular } from "../file.js";

/** The first bytes of every recording: as PNG's, they tell a file that was changed as if it were text. Then the version. */
const MAGIC = Uint8Array.of(0x89, 0x4d, 0x54, 0x52, 0x45, 0x43, 0x0d, 0x0a, 1, 0, 0, 0);
const HEADER = 16;

/** What a frame holds. */
export const FRAME = { facts: 1, ranges: 2, maps: 3, notes: 4, reads: 5, bytes: 6, end: 7 } as const;

/** Bytes that a frame holds at most, compressed or not. */
export const MAX_FRAME = 64 * 2 ** 20;
/** Shorter frames are not worth compressing. */
const LEAST = 128;

/** Appends frames to a new file. */
export class FrameWriter {
  readonly #path: string;
  #fd: number | undefined;
  #problem: ConnectorError | undefined;

  /** @throws {ConnectorError} `RECORD_FAILED` for a file that is there already, or can't be made. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, "wx");
    } catch (cause) {
      const why =
        errnoName(cause) === "EEXIST"
          ? "there is such a file already: give another name, or remove it"
          : `could not be made (${errnoName(cause)})`;
      throw new ConnectorError("RECORD_FAILED", `record=${path}`, why, { cause });
    }
    this.#append([MAGIC]);
    if (this.#problem !== undefined) {
      this.#close();
      throw this.#problem;
    }
  }

  /** Appends a frame at once, so that what was recorded survives however the program ends. */
  add(type: number, body: Uint8Array, compress: boolean): void {
    const packed = compress && body.length >= LEAST ? deflateRaw(body) : body;
    const isPacked = packed.length < body.length * 0.9;
    const stored = isPacked ? packed : body;
    const header = new DataView(new ArrayBuffer(HEADER));
    header.setUint8(0, type);
    header.setUint8(1, isPacked ? 1 : 0);
    header.setUint32(4, stored.length, true);
    header.setUint32(8, body.length, true);
    header.setUint32(12, crc32(stored), true);
    this.#append([new Uint8Array(header.buffer), stored]);
  }

  addText(type: number, value: unknown): void {
    this.add(type, new TextEncoder().encode(JSON.stringify(value)), true);
  }

  #append(parts: Uint8Array[]): void {
    if (this.#fd === undefined || this.#problem !== undefined) return;
    try {
      let left = parts;
      while (left.length > 0) {
        let count = writevSync(this.#fd, left);
        left = left.flatMap((part) => {
          const rest = part.subarray(Math.min(count, part.length));
          count -= part.length - rest.length;
          return rest.length === 0 ? [] : [rest];
        });
      }
    } catch (cause) {
      const why = `could not be written (${errnoName(cause)}): what was read since then is not recorded`;
      this.#problem = new ConnectorError("RECORD_FAILED", `record=${this.#path}`, why, { cause });
    }
  }

  /** @throws {ConnectorError} `RECORD_FAILED` if not everything could be written. */
  close(): void {
    this.#close();
    if (this.#problem !== undefined) throw this.#problem;
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** Where a frame is, and what its header says. */
export interface FramePlace {
  readonly type: number;
  readonly packed: boolean;
  /** Of its body, in the file. */
  readonly position: number;
  readonly stored: number;
  /** Bytes once it is decompressed. */
  readonly length: number;
  readonly crc: number;
}

/** Reads frames of a file, whatever is in it. */
export class FrameReader {
  readonly name: string;
  readonly #fd: number;
  readonly #size: number;

  /** @throws {ConnectorError} for what can't be read, or is no recording. */
  constructor(path: string) {
    const { fd, size } = openRegular(path, false);
    this.name = `replay=${path}`;
    this.#fd = fd;
    this.#size = size;
    try {
      const magic = this.#read(0, Math.min(MAGIC.length, size));
      const isRecording =
        magic.length === MAGIC.length && magic.every((byte, i) => i >= 8 || byte === MAGIC[i]);
      const version = isRecording ? new DataView(magic.buffer, magic.byteOffset).getUint32(8, true) : 0;
      if (isRecording && version === 1) return;
      throw new ConnectorError(
        "BAD_RECORDING",
        this.name,
        isRecording
          ? `it is a recording of version ${version}; this memtool reads version 1`
          : "this is no recording: record=FILE makes one",
      );
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** The frames in their order. Ends at the end of the file, with the position where something is wrong if anything is. */
  *frames(): Generator<FramePlace, number | undefined, void> {
    let position = MAGIC.length;
    while (position < this.#size) {
      if (position + HEADER > this.#size) return position;
      const bytes = this.#read(position, HEADER);
      if (bytes.length < HEADER) return position;
      const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER);
      const type = header.getUint8(0);
      const packed = header.getUint8(1);
      const stored = header.getUint32(4, true);
      const length = header.getUint32(8, true);
      const crc = header.getUint32(12, true);
      const isFrame =
        type >= 1 &&
        type <= 7 &&
        packed <= 1 &&
        header.getUint16(2, true) === 0 &&
        stored <= MAX_FRAME &&
        length <= MAX_FRAME &&
        (packed === 1 || stored === length);
      if (!isFrame || position + HEADER + stored > this.#size) return position;
      yield { type, packed: packed === 1, position: position + HEADER, stored, length, crc };
      position += HEADER + stored;
    }
    return undefined;
  }

  /** A frame's bytes. @throws {MalformedError} if they are not what was written. */
  body({ packed, position, stored, length, crc }: FramePlace): Uint8Array {
    const bytes = this.#read(position, stored);
    if (bytes.length !== stored || crc32(bytes) !== crc) throw new MalformedError("a checksum is wrong");
    if (!packed) return bytes;
    let plain: Uint8Array;
    try {
      plain = inflateRaw(bytes, length);
    } catch {
      throw new MalformedError("it does not decompress");
    }
    if (plain.length !== length) throw new MalformedError("it decompresses to another length");
    return plain;
  }

  #read(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let got = 0;
    while (got < length) {
      const count = readSync(this.#fd, bytes, got, length - got, position + got);
      if (count === 0) break;
      got += count;
    }
    return bytes.subarray(0, got);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
