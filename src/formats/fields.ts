/** Reading header fields of a dump, with bounds and with names for messages. */
import { hex, PartialTransferError, type Routine, readInto, readPartial } from "../io/index.js";
import { FormatError } from "./errors.js";
import { TRUNCATED } from "./pieces.js";
import type { DumpFile } from "./types.js";

/** A structure of a dump's headers, in either byte order; offsets count from its first byte. */
export class Fields {
  readonly bytes: Uint8Array;
  readonly littleEndian: boolean;
  readonly #file: string;
  readonly #at: number;
  readonly #view: DataView;

  /** @param at File offset of the structure. */
  constructor(file: string, at: number, bytes: Uint8Array, littleEndian = true) {
    this.bytes = bytes;
    this.littleEndian = littleEndian;
    this.#file = file;
    this.#at = at;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, this.littleEndian);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, this.littleEndian);
  }

  i32(offset: number): number {
    return this.#view.getInt32(offset, this.littleEndian);
  }

  u64(offset: number): bigint {
    return this.#view.getBigUint64(offset, this.littleEndian);
  }

  i64(offset: number): bigint {
    return this.#view.getBigInt64(offset, this.littleEndian);
  }

  /** A u64 that is an address, offset or size. @returns `undefined` if it is 2^53 or more. */
  safe(offset: number): number | undefined {
    const high = this.u32(this.littleEndian ? offset + 4 : offset);
    const low = this.u32(this.littleEndian ? offset : offset + 4);
    return high >= 0x20_0000 ? undefined : high * 2 ** 32 + low;
  }

  /** As `safe`. @throws {FormatError} `MALFORMED_DUMP`, naming the field. */
  size(offset: number, field: string): number {
    return this.safe(offset) ?? this.malformed(offset, field, `${hex(this.u64(offset))} is beyond 2^53`);
  }

  /** Text up to the first NUL, one character a byte. */
  text(offset: number, length: number): string {
    return latin1(this.bytes, offset, length);
  }

  /** @throws {FormatError} always. */
  malformed(offset: number, field: string, problem: string): never {
    throw new FormatError("MALFORMED_DUMP", { file: this.#file, offset: this.#at + offset, field }, problem);
  }
}

/** Text up to the first NUL or `length`, one character a byte. */
export function latin1(bytes: Uint8Array, offset: number, length: number): string {
  let text = "";
  const end = Math.min(offset + length, bytes.length);
  for (let i = offset; i < end && bytes[i] !== 0; i++) text += String.fromCharCode(bytes[i] as number);
  return text;
}

/** Whether `bytes` has the characters of `text` at `offset`. */
export function hasText(bytes: Uint8Array, text: string, offset = 0): boolean {
  if (offset + text.length > bytes.length) return false;
  for (let i = 0; i < text.length; i++) {
    if (bytes[offset + i] !== text.charCodeAt(i)) return false;
  }
  return true;
}

/**
 * Reads all of a structure.
 *
 * @throws {FormatError} `TRUNCATED_DUMP` if the file ends before it (nothing is allocated then), `UNREADABLE_DUMP`.
 */
export function* readStructure(
  file: DumpFile,
  offset: number,
  length: number,
  what: string,
): Routine<Uint8Array> {
  if (!(offset + length <= file.size)) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: file.name, offset, field: what },
      `${length} bytes are needed and the file ends at ${hex(file.size)}; copy the dump again`,
    );
  }
  try {
    return yield* readInto(file, offset, length);
  } catch (error) {
    if (!(error instanceof PartialTransferError)) throw error;
    if (error.holes[0]?.fault === TRUNCATED) {
      throw new FormatError(
        "TRUNCATED_DUMP",
        { file: file.name, offset, field: what },
        "the file is cut short and lacks these bytes; copy the dump again",
        { cause: error },
      );
    }
    throw new FormatError(
      "UNREADABLE_DUMP",
      { file: file.name, offset, field: what },
      `could not be read: ${error.message}`,
      { cause: error },
    );
  }
}

/** Reads what there is of a structure that the file has room for; what could not be read is zero. */
export function* readLeniently(
  file: DumpFile,
  offset: number,
  length: number,
): Routine<{ bytes: Uint8Array; missing: number }> {
  const wanted = Math.max(0, Math.min(length, file.size - offset));
  const { bytes, holes } = yield* readPartial(file, offset, wanted);
  let missing = length - wanted;
  for (const { start, end } of holes) {
    bytes.fill(0, start, end);
    missing += end - start;
  }
  return { bytes, missing };
}
