/** The file of an image, as far as the image has it: bytes by their offsets in the file. */
import { hole } from "../../io/errors.js";
import { type Hole, OUTSIDE, type Routine } from "../../io/index.js";
import type { ByteSource, ElfBytes, SourceBytes } from "./byte-source.js";
import type { ElfImage } from "./elf-image.js";
import { compare, greater } from "./order.js";

const PAGE = 4096n;

/** A part of a file that is in memory. */
export interface FilePart {
  /** Offsets in the file, `end` exclusive. */
  readonly start: bigint;
  readonly end: bigint;
  /** Where the first byte lies. */
  readonly address: bigint;
}

/**
 * The parts of the file that an image's segments hold, ascending. Whole pages are mapped, so there is more of the file than the segments
 * name; behind the file's part of a segment with zeros at its end, there are those.
 */
export function filePartsOf(image: ElfImage): FilePart[] {
  // (What is to be linked has no segments: its memory is that of who reads it.)
  if (image.layout === "file" || image.loads.length === 0)
    return [{ start: 0n, end: fileEnd(image), address: image.base }];
  const parts = image.loads
    .filter(({ fileBytes }) => fileBytes > 0n)
    .map(({ offset, address, fileBytes, memoryBytes }) => {
      const before = address % PAGE < offset ? address % PAGE : offset;
      const last = offset + fileBytes;
      const after = fileBytes === memoryBytes ? (PAGE - (last % PAGE)) % PAGE : 0n;
      return {
        start: offset - before,
        end: last + after,
        address: image.wrap(image.bias + address - before),
      };
    })
    .sort((a, b) => compare(a.start, b.start));
  return parts;
}

/** Where the file ends, as far as its headers tell: behind its last segment, or its section headers. */
export function fileEnd({ header, segments }: ElfImage): bigint {
  const { sectionHeaders, sectionCount, sectionHeaderBytes } = header;
  const sections = sectionHeaders === 0n ? 0n : sectionHeaders + BigInt(sectionCount * sectionHeaderBytes);
  return segments.map(({ offset, fileBytes }) => offset + fileBytes).reduce(greater, sections);
}

/** See the module's comment. */
export class ImageFile implements ElfBytes {
  readonly #source: ByteSource;
  readonly #parts: readonly FilePart[];

  constructor(source: ByteSource, image: ElfImage) {
    this.#source = source;
    this.#parts = filePartsOf(image);
  }

  *read(at: bigint, length: number): Routine<SourceBytes> {
    const bytes = new Uint8Array(length);
    const holes: Hole[] = [];
    let next = 0;
    while (next < length) {
      const offset = at + BigInt(next);
      const part = this.#parts.find(({ start, end }) => offset >= start && offset < end);
      if (part === undefined) {
        const ahead = this.#parts.find(({ start }) => start > offset)?.start;
        const gap = ahead === undefined ? BigInt(length - next) : ahead - offset;
        const end = gap < BigInt(length - next) ? next + Number(gap) : length;
        holes.push(hole(next, end, OUTSIDE));
        next = end;
        continue;
      }
      const left = part.end - offset;
      const count = left < BigInt(length - next) ? Number(left) : length - next;
      const read = yield* this.#source.read(BigInt.asUintN(64, part.address + offset - part.start), count);
      bytes.set(read.bytes, next);
      for (const each of read.holes) holes.push(hole(next + each.start, next + each.end, each.fault));
      next += count;
    }
    return { bytes, holes };
  }
}
