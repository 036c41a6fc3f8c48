/**
 * Writes ELF64 core dumps by physical address, as QEMU's `dump-guest-memory` and /proc/vmcore are: a PT_NOTE segment,
 * then a PT_LOAD segment for each range of RAM.
 *
 * Layout: System V ABI, chapters "ELF Header" and "Program Header"; PN_XNUM as in elf(5). Program headers lie right
 * behind the ELF header, where crash expects them; what a segment has in memory but not in the file is RAM that is
 * left out. (makedumpfile and crash read that as zeros: the format has no other way to say it.)
 */
import { type ExcludedReason, MemtoolError } from "../../io/index.js";
import { type DumpFacts, notesOf } from "./dump-facts.js";
import { type DumpSink, StructWriter, writeSparse } from "./sink.js";
import type { DumpWriter, WrittenDump } from "./writer.js";

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const SECTION_HEADER_SIZE = 64;
const ET_CORE = 4;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PN_XNUM = 0xffff;
/** Bytes lie in the file as in memory, modulo this. */
const ALIGNMENT = 4096;
/** Room for segments that are split since a part of them can't be read. */
const SPARE_SEGMENTS = 256;
/** As many as our reader takes; the columns of this many take 130 MB. */
const MAX_SEGMENTS = 4_000_000;
/** Program headers written at once. */
const TABLE_CHUNK = 16_384;

/** See the module's comment. */
export class ElfWriter implements DumpWriter {
  readonly #sink: DumpSink;
  readonly #facts: DumpFacts;
  readonly #notes: Uint8Array;
  /** Program headers for which there is room in front of the notes. */
  readonly #room: number;
  readonly #notesAt: number;
  /** File offset behind everything so far. */
  #at: number;
  // A row a segment.
  #starts = new Float64Array(64);
  #offsets = new Float64Array(64);
  #stored = new Float64Array(64);
  #sizes = new Float64Array(64);
  #count = 0;

  /** @param ranges How many ranges will come, as far as is known. @throws {MemtoolError} `TOO_MANY_RANGES` */
  constructor(sink: DumpSink, facts: DumpFacts, ranges: number) {
    if (ranges > MAX_SEGMENTS) throw tooMany();
    this.#sink = sink;
    this.#facts = facts;
    this.#notes = notesOf(facts).bytes;
    this.#room = 1 + ranges + SPARE_SEGMENTS;
    this.#notesAt = HEADER_SIZE + this.#room * PROGRAM_HEADER_SIZE + SECTION_HEADER_SIZE;
    this.#at = this.#notesAt + this.#notes.length;
  }

  present(start: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    let last = this.#count - 1;
    if (last < 0 || this.#stored[last] !== this.#sizes[last] || this.#end(last) !== start) {
      const ahead = (start - this.#at) % ALIGNMENT;
      last = this.#push(start, this.#at + (ahead < 0 ? ahead + ALIGNMENT : ahead));
    }
    this.#at = (this.#offsets[last] as number) + (this.#stored[last] as number);
    writeSparse(this.#sink, this.#at, bytes);
    this.#at += bytes.length;
    (this.#stored[last] as number) += bytes.length;
    (this.#sizes[last] as number) += bytes.length;
  }

  excluded(start: number, end: number, reason: ExcludedReason): void {
    // Nobody knows whether it is RAM: a segment would claim so.
    if (reason === "or outside") return;
    let last = this.#count - 1;
    if (last < 0 || this.#end(last) !== start) last = this.#push(start, this.#at);
    (this.#sizes[last] as number) += end - start;
  }

  #end(segment: number): number {
    return (this.#starts[segment] as number) + (this.#sizes[segment] as number);
  }

  #push(start: number, offset: number): number {
    if (this.#count === MAX_SEGMENTS) throw tooMany();
    if (this.#count === this.#starts.length) {
      this.#starts = doubled(this.#starts);
      this.#offsets = doubled(this.#offsets);
      this.#stored = doubled(this.#stored);
      this.#sizes = doubled(this.#sizes);
    }
    this.#starts[this.#count] = start;
    this.#offsets[this.#count] = offset;
    return this.#count++;
  }

  flush(): void {}

  finish(): WrittenDump {
    const { littleEndian, elfMachine } = this.#facts;
    const count = 1 + this.#count;
    let tableAt = HEADER_SIZE;
    if (count > this.#room) {
      tableAt = Math.ceil(this.#at / 8) * 8;
      this.#at = tableAt + count * PROGRAM_HEADER_SIZE;
    }
    const extended = count >= PN_XNUM;
    const sectionAt = this.#notesAt - SECTION_HEADER_SIZE;
    this.#sink.write(this.#notesAt, this.#notes);
    this.#writeTable(tableAt, count);
    if (extended) {
      const section = new StructWriter(SECTION_HEADER_SIZE, littleEndian);
      // sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link; then sh_info: the number of segments.
      section.u32(0).u32(0).u64(0).u64(0).u64(0).u64(0).u32(0).u32(count);
      this.#sink.write(sectionAt, section.bytes);
    }
    const header = new StructWriter(HEADER_SIZE, littleEndian);
    // e_ident: magic, ELFCLASS64, byte order, version.
    header.append(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, littleEndian ? 1 : 2, 1)).upTo(16);
    header.u16(ET_CORE).u16(elfMachine).u32(1).u64(0);
    header
      .u64(tableAt)
      .u64(extended ? sectionAt : 0)
      .u32(0);
    header
      .u16(HEADER_SIZE)
      .u16(PROGRAM_HEADER_SIZE)
      .u16(extended ? PN_XNUM : count);
    header
      .u16(extended ? SECTION_HEADER_SIZE : 0)
      .u16(extended ? 1 : 0)
      .u16(0);
    this.#sink.write(0, header.bytes);
    return { size: this.#at, zeroExcluded: 0, padded: 0, dropped: 0 };
  }

  #writeTable(tableAt: number, count: number): void {
    for (let first = 0; first < count; first += TABLE_CHUNK) {
      const last = Math.min(count, first + TABLE_CHUNK);
      const table = new StructWriter((last - first) * PROGRAM_HEADER_SIZE, this.#facts.littleEndian);
      for (let i = first; i < last; i++) {
        if (i === 0) {
          const { length } = this.#notes;
          table.u32(PT_NOTE).u32(0).u64(this.#notesAt).u64(0).u64(0).u64(length).u64(length).u64(0);
          continue;
        }
        const start = this.#starts[i - 1] as number;
        // p_vaddr 0, as QEMU: kernel addresses are not known here, and physical ones would be taken for some.
        table
          .u32(PT_LOAD)
          .u32(0)
          .u64(this.#offsets[i - 1] as number)
          .u64(0)
          .u64(start)
          .u64(this.#stored[i - 1] as number)
          .u64(this.#sizes[i - 1] as number)
          .u64(0);
      }
      this.#sink.write(tableAt + first * PROGRAM_HEADER_SIZE, table.bytes);
    }
  }
}

function tooMany(): MemtoolError {
  return new MemtoolError(
    "TOO_MANY_RANGES",
    `more than ${MAX_SEGMENTS} ranges: an ELF core has a header for each; write kdump instead`,
  );
}

function doubled(column: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * column.length);
  larger.set(column);
  return larger;
}
