/**
 * The headers of /proc/kcore: an ELF core of the running kernel's own memory, by virtual address (fs/proc/kcore.c).
 *
 * Since Linux 4.11 segments of RAM (the direct map) and of the kernel's image say where they are in physical memory; all
 * others (vmalloc, modules, vmemmap) have -1 there. What is in those is reached through page tables.
 */
import { elfLayoutOf, isMinusOne, wordAt } from "../../src/formats/elf/elf-header.js";
import { Fields } from "../../src/formats/fields.js";
import type { Architecture } from "../../src/formats/index.js";
import { eachNote } from "../../src/formats/notes/note-list.js";
import type { FilePiece } from "../physical-file.js";

const ET_CORE = 4;
const PT_LOAD = 1;
const PT_NOTE = 4;
/** Headers of any kernel: at most 65,535 program headers of 56 bytes, and notes of a page or two. */
const MAX_HEADERS = 8 * 2 ** 20;

const MACHINES: Readonly<Record<number, Architecture>> = {
  3: "i386",
  40: "arm",
  62: "x86_64",
  183: "aarch64",
  243: "riscv64",
};

/** What the headers say. */
export interface KcoreHeaders {
  readonly architecture: Architecture | undefined;
  /** Physical memory, ascending and disjoint. */
  readonly pieces: readonly FilePiece[];
  /** Segments without a physical address. */
  readonly virtualOnly: number;
  /** The VMCOREINFO text (since Linux 4.19). */
  readonly vmcoreinfo: Uint8Array | undefined;
  /** The headers as they were read: other ones mean that segments may be elsewhere. */
  readonly bytes: Uint8Array;
}

/** Why a file is none, in words that go on after its name. */
export class KcoreProblem extends Error {}

/** How many bytes of a file its headers need. @param head Its first 64 bytes. @throws {KcoreProblem} */
export function headersEnd(head: Uint8Array): number {
  const { fields, layout } = open(head);
  const end =
    (wordAt(fields, layout, layout.phoff) ?? Number.NaN) + fields.u16(layout.phnum) * layout.program.size;
  if (!(end <= MAX_HEADERS)) throw new KcoreProblem("its program headers are not where a kernel puts them");
  return end;
}

/**
 * Parses the headers.
 *
 * @param bytes As many as {@link headersEnd} asks for.
 * @param notes Reads the notes; fewer bytes where there are no more.
 * @param size  Of a file that is a copy; what lies behind it is not there.
 * @throws {KcoreProblem} for what is no such file.
 */
export function parseKcore(
  bytes: Uint8Array,
  notes: (offset: number, length: number) => Uint8Array,
  size = Number.POSITIVE_INFINITY,
): KcoreHeaders {
  const { fields, layout } = open(bytes);
  const { program } = layout;
  const count = fields.u16(layout.phnum);
  const phoff = wordAt(fields, layout, layout.phoff) ?? 0;
  const found: FilePiece[] = [];
  let virtualOnly = 0;
  let atZero = 0;
  let vmcoreinfo: Uint8Array | undefined;
  // In all: a kernel has one header of notes, and a file that claims to be its may have thousands.
  let noteBytes = MAX_HEADERS;
  for (let i = 0; i < count; i++) {
    const at = phoff + i * program.size;
    if (at + program.size > bytes.length) break;
    const type = fields.u32(at);
    const offset = wordAt(fields, layout, at + program.offset);
    const length = wordAt(fields, layout, at + program.filesz);
    if (offset === undefined || length === undefined) continue;
    if (type === PT_NOTE && vmcoreinfo === undefined && noteBytes > 0) {
      vmcoreinfo = findVmcoreinfo(notes(offset, Math.min(length, noteBytes)));
      noteBytes -= length;
    }
    if (type !== PT_LOAD) continue;
    const start = wordAt(fields, layout, at + program.paddr);
    if (isMinusOne(fields, layout, at + program.paddr) || start === undefined) {
      virtualOnly++;
      continue;
    }
    if (start === 0) atZero++;
    const end = start + Math.min(length, size - offset);
    if (end > start && end <= 2 ** 52) found.push({ start, end, offset });
  }
  // Before Linux 4.11 all of them claim to be at 0.
  const pieces = atZero > 1 && atZero === found.length ? [] : layPieces(found);
  return { architecture: MACHINES[fields.u16(18)], pieces, virtualOnly, vmcoreinfo, bytes };
}

function open(bytes: Uint8Array) {
  const layout = elfLayoutOf(bytes);
  if (layout === undefined || bytes.length < layout.headerSize)
    throw new KcoreProblem("it is no ELF file, as /proc/kcore is");
  if (bytes[5] !== 1) throw new KcoreProblem("it is of a big-endian machine, which is not supported");
  const fields = new Fields("kcore", 0, bytes);
  if (fields.u16(16) !== ET_CORE) throw new KcoreProblem("it is an ELF file, but no core of a kernel");
  if (fields.u16(layout.phentsize) !== layout.program.size) {
    throw new KcoreProblem("its program headers have another size than a kernel gives them");
  }
  return { fields, layout };
}

function findVmcoreinfo(bytes: Uint8Array): Uint8Array | undefined {
  let found: Uint8Array | undefined;
  eachNote(new Fields("kcore", 0, bytes), 4, (nameAt, nameSize, _type, start, end) => {
    const name = String.fromCharCode(...bytes.subarray(nameAt, nameAt + Math.min(nameSize, 10)));
    if (name === "VMCOREINFO") found ??= bytes.slice(start, end);
  });
  return found;
}

/** The kernel's image lies in RAM as well: of what overlaps, that is taken which begins first, and of those the larger. */
function layPieces(found: readonly FilePiece[]): FilePiece[] {
  const laid: FilePiece[] = [];
  let covered = 0;
  for (const { start, end, offset } of [...found].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const from = Math.max(start, covered);
    if (from >= end) continue;
    laid.push({ start: from, end, offset: offset + from - start });
    covered = end;
  }
  return laid;
}
