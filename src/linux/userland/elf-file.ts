/** The file of an ELF image, put together again from memory: the parts of it that are there, at their offsets. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import { isWhole, MemoryBytes, readTable } from "./byte-source.js";
import type { FoundElf } from "./elf.js";
import { type ElfHeader, HEADER_BYTES, PT_DYNAMIC } from "./elf-header.js";
import type { ElfImage } from "./elf-image.js";
import { fileEnd, filePartsOf, ImageFile } from "./image-file.js";
import { greater, lesser } from "./order.js";

/** Bytes of a file that are put together: programs are smaller; what says that it is larger has holes behind. */
const MAX_FILE = 1n << 32n;
/** Bytes of a piece. */
const CHUNK = 1n << 20n;

/** A piece of a file that is there. */
export interface ElfFilePiece {
  /** In the file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Whether they are not as in memory: the header without its section headers, the dynamic section without the load bias. */
  readonly changed?: true;
}

/** A file that is put together. */
export interface ElfFile {
  /** Bytes of the file, as far as its headers tell; at most 4 GiB. */
  readonly size: number;
  /** Ascending by offset; those that were changed come last, over what they replace. */
  readonly pieces: IoSequence<ElfFilePiece>;
}

/**
 * The file of an image, as far as its segments are in memory: pieces of up to 1 MiB; what lies between them is not there. Where the section
 * headers are not there, the header is given without them, so that others read the file by its segments; and the dynamic section without the
 * load bias, which the linker added to its addresses. (Else memory is what became of the file: data has changed, and holds addresses.)
 *
 * @returns `undefined` for what was found in physical memory, where the pages behind the header are not known.
 */
export function elfFile({ memory, image }: FoundElf): ElfFile | undefined {
  if (memory === undefined) return undefined;
  const end = fileEnd(image);
  const segments = image.segments.reduce((most, each) => greater(most, each.offset + each.fileBytes), 0n);
  // (Section headers lie far behind the segments, and are not loaded.)
  const there = filePartsOf(image).some((part) => part.end >= end);
  const size = there ? end : segments;
  return {
    size: Number(lesser(size, MAX_FILE)),
    pieces: IoSequence.of(memory.scheduler, piecesRoutine, memory, image, lesser(size, MAX_FILE)),
  };
}

function* piecesRoutine(
  sink: Sink<ElfFilePiece>,
  memory: VirtualMemory,
  image: ElfImage,
  size: bigint,
): Routine<void> {
  let done = 0n;
  for (const part of filePartsOf(image)) {
    const from = greater(part.start, done);
    const to = lesser(part.end, size);
    if (from >= to) continue;
    done = to;
    const start = part.address + from - part.start;
    if (start + (to - from) > 1n << 64n) continue;
    // What is mapped of it: a file that lies about its size has nothing there.
    const areas = memory.areas({ start, end: start + (to - from) }).cursor();
    for (;;) {
      const next = yield* areas.next();
      if (next.done === true) break;
      const area = next.value;
      if (area.state !== undefined && area.state !== "swapped") continue;
      const first = greater(area.start, start);
      const last = lesser(area.end, start + (to - from));
      for (let at = first; at < last; at += CHUNK) {
        const length = Number(lesser(last - at, CHUNK));
        const { bytes, good } = yield* memory.readPartial(at, length);
        const offset = Number(from + (at - start));
        for (const each of good)
          yield sink.emit({ offset: offset + each.start, bytes: bytes.subarray(each.start, each.end) });
      }
    }
  }
  const { header } = image;
  const source = new MemoryBytes(memory);
  const dynamic = dynamicWithoutBias(image);
  if (dynamic !== undefined && BigInt(dynamic.offset + dynamic.bytes.length) <= size)
    yield sink.emit(dynamic);
  if (header.sectionHeaders === 0n) return;
  const length = header.sectionCount * header.sectionHeaderBytes;
  const sections = yield* readTable(new ImageFile(source, image), header.sectionHeaders, length);
  if (isWhole(sections, 0, length)) return;
  const head = yield* source.read(image.base, HEADER_BYTES);
  if (isWhole(head, 0, HEADER_BYTES)) {
    yield sink.emit({ offset: 0, bytes: withoutSections(head.bytes, header), changed: true });
  }
}

/** The header with no section headers: their offset, their number, and the one of their names are zero. */
function withoutSections(bytes: Uint8Array, { bits }: ElfHeader): Uint8Array {
  const wide = bits === 64;
  const header = bytes.slice(0, wide ? 64 : 52);
  header.fill(0, wide ? 40 : 32, wide ? 48 : 36);
  header.fill(0, wide ? 60 : 48, wide ? 64 : 52);
  return header;
}

/** Entries of the dynamic section that are addresses: DT_PLTGOT, DT_HASH, DT_STRTAB and so on. */
const POINTERS: ReadonlySet<bigint> = new Set([
  ...[3n, 4n, 5n, 6n, 7n, 12n, 13n, 17n, 23n, 25n, 26n, 32n],
  ...[0x6fff_fef5n, 0x6fff_fff0n, 0x6fff_fffcn, 0x6fff_fffen],
]);
const DT_DEBUG = 21n;

/** The entries of the dynamic section as in the file; `undefined` where they are so in memory. */
function dynamicWithoutBias(image: ElfImage): ElfFilePiece | undefined {
  const segment = image.segments.find(({ type }) => type === PT_DYNAMIC);
  const entries = image.dynamic?.entries ?? [];
  if (segment === undefined || image.layout === "file") return undefined;
  let changed = false;
  const { bits, littleEndian } = image.header;
  const width = bits / 8;
  const bytes = new Uint8Array(2 * width * entries.length);
  const view = new DataView(bytes.buffer);
  const put = (at: number, value: bigint) =>
    bits === 64
      ? view.setBigUint64(at, value, littleEndian)
      : view.setUint32(at, Number(value), littleEndian);
  for (const [i, { tag, value }] of entries.entries()) {
    const linked = tag === DT_DEBUG ? 0n : POINTERS.has(tag) ? (image.linkedOf(value) ?? value) : value;
    changed ||= linked !== value;
    put(2 * width * i, tag);
    put(2 * width * i + width, linked);
  }
  return changed ? { offset: Number(segment.offset), bytes, changed: true } : undefined;
}
