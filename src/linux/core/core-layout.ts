/**
 * The layout of a core file: where the bytes of each segment go, and the headers that say so.
 *
 * Facts: System V ABI, "ELF Header" and "Program Header"; elf(5) for PN_XNUM. A segment's memory size is never more than what the
 * file has of it: debuggers take the difference for zeros, and what a dump lacks is none. So a hole is what no segment covers.
 */
import { MemtoolError } from "../../io/index.js";
import { FieldBytes } from "./bytes.js";
import type { CoreAbi } from "./core-abi.js";

const SIZES = {
  4: { header: 52, program: 32, section: 40 },
  8: { header: 64, program: 56, section: 64 },
} as const;
const ET_CORE = 4;
const PT_LOAD = 1;
const PT_NOTE = 4;
const PN_XNUM = 0xffff;
/** Segments of which the headers fit in front; those of more go to the end of the file. */
const SPARE_SEGMENTS = 1024;
/** Columns of this many take 128 MB. */
const MAX_SEGMENTS = 4_000_000;
/** Program headers that are made at once. */
const TABLE_ROWS = 16_384;

/** Bytes, and where in the file they belong. */
export interface FilePiece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** See the module's comment. @internal */
export class CoreLayout {
  readonly #abi: CoreAbi;
  readonly #notes: Uint8Array;
  readonly #alignment: number;
  /** Program headers that there is room for in front. */
  readonly #room: number;
  readonly #notesAt: number;
  #at: number;
  #count = 0;
  // A row a segment.
  #addresses = new BigUint64Array(64);
  #offsets = new Float64Array(64);
  #sizes = new Float64Array(64);
  #flags = new Uint8Array(64);
  #last = -1;

  /** @param alignment Bytes lie in the file as in memory, modulo this: the kernel's page size. */
  constructor(abi: CoreAbi, notes: Uint8Array, ranges: number, alignment: number) {
    this.#abi = abi;
    this.#notes = notes;
    this.#alignment = alignment;
    this.#room = 1 + 2 * ranges + SPARE_SEGMENTS;
    const { header, program, section } = SIZES[abi.word];
    this.#notesAt = header + this.#room * program + section;
    this.#at = this.#notesAt + notes.length;
  }

  /** Segments with memory, so far. */
  get segments(): number {
    return this.#count;
  }

  /** Bytes of the file, so far. */
  get size(): number {
    return this.#at;
  }

  /**
   * Where bytes of memory go. They ascend by address.
   *
   * @param range Number of the mapped range: a segment is of one.
   * @param flags PF_R is 4, PF_W 2, PF_X 1.
   */
  place(range: number, address: bigint, length: number, flags: number): number {
    const last = this.#count - 1;
    const goesOn =
      last >= 0 &&
      this.#last === range &&
      (this.#addresses[last] as bigint) + BigInt(this.#sizes[last] as number) === address;
    if (!goesOn) this.#push(address, flags);
    this.#last = range;
    const row = this.#count - 1;
    const offset = (this.#offsets[row] as number) + (this.#sizes[row] as number);
    if (this.#abi.word === 4 && offset + length > 2 ** 32) {
      throw new MemtoolError("TOO_LARGE", "a 32-bit core has at most 4 GiB: write fewer ranges");
    }
    (this.#sizes[row] as number) += length;
    this.#at = offset + length;
    return offset;
  }

  #push(address: bigint, flags: number): void {
    if (this.#count === MAX_SEGMENTS) {
      throw new MemtoolError(
        "TOO_MANY_RANGES",
        `more than ${MAX_SEGMENTS} pieces: a core has a header for each; write fewer ranges`,
      );
    }
    if (this.#count === this.#offsets.length) this.#grow();
    const within = Number(address % BigInt(this.#alignment));
    const ahead = (within - (this.#at % this.#alignment) + this.#alignment) % this.#alignment;
    this.#addresses[this.#count] = address;
    this.#offsets[this.#count] = this.#at + ahead;
    this.#flags[this.#count] = flags;
    this.#count++;
  }

  #grow(): void {
    const rows = 2 * this.#offsets.length;
    const grown = <T extends { set(from: T): void }>(column: T, larger: T): T => {
      larger.set(column);
      return larger;
    };
    this.#addresses = grown(this.#addresses, new BigUint64Array(rows));
    this.#offsets = grown(this.#offsets, new Float64Array(rows));
    this.#sizes = grown(this.#sizes, new Float64Array(rows));
    this.#flags = grown(this.#flags, new Uint8Array(rows));
  }

  /** Everything but the memory: notes, program headers, the file's header. To be called once, at the end. */
  *finish(): Generator<FilePiece, void, void> {
    const { word } = this.#abi;
    const { header, program, section } = SIZES[word];
    const count = 1 + this.#count;
    let tableAt: number = header;
    if (count > this.#room) {
      tableAt = Math.ceil(this.#at / 8) * 8;
      this.#at = tableAt + count * program;
    }
    yield { offset: this.#notesAt, bytes: this.#notes };
    for (let first = 0; first < count; first += TABLE_ROWS) {
      const rows = Math.min(TABLE_ROWS, count - first);
      const out = new FieldBytes(rows * program);
      for (let i = 0; i < rows; i++) this.#programHeader(out, i * program, first + i);
      yield { offset: tableAt + first * program, bytes: out.bytes };
    }
    const sectionAt = this.#notesAt - section;
    const extended = count >= PN_XNUM;
    if (extended) {
      // sh_info of the first section: the number of segments.
      yield { offset: sectionAt, bytes: new FieldBytes(section).u32(word === 8 ? 44 : 28, count).bytes };
    }
    yield { offset: 0, bytes: this.#header(tableAt, extended ? sectionAt : 0, extended ? PN_XNUM : count) };
  }

  #header(tableAt: number, sectionAt: number, count: number): Uint8Array {
    const { word, machine, flags } = this.#abi;
    const sizes = SIZES[word];
    const out = new FieldBytes(sizes.header);
    // e_ident: magic, class, little-endian, version.
    out.put(0, Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, word === 8 ? 2 : 1, 1, 1));
    out.u16(16, ET_CORE).u16(18, machine).u32(20, 1);
    // e_entry; e_phoff, e_shoff.
    out.word(24 + word, BigInt(tableAt), word).word(24 + 2 * word, BigInt(sectionAt), word);
    const at = 24 + 3 * word;
    out.u32(at, flags).u16(at + 4, sizes.header);
    out.u16(at + 6, sizes.program).u16(at + 8, count);
    return out.u16(at + 10, sectionAt === 0 ? 0 : sizes.section).u16(at + 12, sectionAt === 0 ? 0 : 1).bytes;
  }

  /** Segment 0 is the notes. */
  #programHeader(out: FieldBytes, at: number, segment: number): void {
    const { word } = this.#abi;
    const isNotes = segment === 0;
    const row = segment - 1;
    const offset = BigInt(isNotes ? this.#notesAt : (this.#offsets[row] as number));
    const address = isNotes ? 0n : (this.#addresses[row] as bigint);
    const size = BigInt(isNotes ? this.#notes.length : (this.#sizes[row] as number));
    const memory = isNotes ? 0n : size;
    const flags = isNotes ? 0 : (this.#flags[row] as number);
    const alignment = BigInt(isNotes ? 4 : this.#alignment);
    out.u32(at, isNotes ? PT_NOTE : PT_LOAD);
    if (word === 8) {
      out
        .u32(at + 4, flags)
        .word(at + 8, offset)
        .word(at + 16, address);
      out
        .word(at + 32, size)
        .word(at + 40, memory)
        .word(at + 48, alignment);
    } else {
      out.word(at + 4, offset, 4).word(at + 8, address, 4);
      out
        .word(at + 16, size, 4)
        .word(at + 20, memory, 4)
        .u32(at + 24, flags)
        .word(at + 28, alignment, 4);
    }
  }
}
