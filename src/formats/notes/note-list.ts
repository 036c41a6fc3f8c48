/**
 * Lists of ELF notes.
 *
 * Layout: System V ABI, "Note Section" (namesz, descsz, type, then name and description). It wants them padded to 4
 * bytes in files of 32 bits and to 8 in those of 64; nearly everybody pads to 4 in both, and those who don't say so in
 * `p_align`. Some say 8 there and pad to 4 all the same, so the list itself decides.
 */
import type { Fields } from "../fields.js";

const HEADER = 12;
/** Notes that are looked at to see how they are padded. */
const PROBED = 64;

/**
 * Takes one note.
 *
 * @param nameAt, nameSize Its name, in the list; may end with a NUL, or not.
 * @param start, end Its description, in the list.
 */
export type UseNote = (nameAt: number, nameSize: number, type: number, start: number, end: number) => void;

/**
 * Goes through a list of notes.
 *
 * @param align `p_align` of its segment.
 * @returns the offset of a note that reaches beyond the end of the list; `undefined` if there is none. Those before it
 * were given to `use`.
 */
export function eachNote(fields: Fields, align: number, use: UseNote): number | undefined {
  const first = align === 8 ? 8 : 4;
  const padding = isList(fields, first) || !isList(fields, 12 - first) ? first : 12 - first;
  return walk(fields, padding, Number.POSITIVE_INFINITY, (nameAt, nameSize, type, start, end) => {
    use(nameAt, nameSize, type, start, end);
    return true;
  });
}

/** Whether the first notes of a list, padded so, have names of printable characters and end where it does. */
function isList(fields: Fields, padding: number): boolean {
  let plain = true;
  const bad = walk(fields, padding, PROBED, (nameAt, nameSize) => {
    for (let i = nameAt; i < nameAt + nameSize && plain; i++) {
      const byte = fields.bytes[i] as number;
      plain = byte === 0 ? i > nameAt : byte >= 0x20 && byte < 0x7f;
    }
    plain &&= nameSize > 0;
    return plain;
  });
  return bad === undefined && plain;
}

function walk(
  fields: Fields,
  padding: number,
  limit: number,
  use: (...note: Parameters<UseNote>) => boolean,
): number | undefined {
  const { length } = fields.bytes;
  let offset = 0;
  for (let count = 0; offset + HEADER <= length && count < limit; ) {
    const nameSize = fields.u32(offset);
    const size = fields.u32(offset + 4);
    const type = fields.u32(offset + 8);
    // Padding between notes (/proc/vmcore reserves room for CPUs that are not there), of any length: notes have names.
    if (nameSize === 0 && size === 0) {
      do offset += padding;
      while (offset + HEADER <= length && fields.u32(offset) === 0);
      continue;
    }
    const nameAt = offset + HEADER;
    const start = padded(nameAt + nameSize, padding);
    const end = start + size;
    if (end > length) return offset;
    if (!use(nameAt, nameSize, type, start, end)) return undefined;
    offset = padded(end, padding);
    count++;
  }
  return undefined;
}

function padded(size: number, padding: number): number {
  return Math.ceil(size / padding) * padding;
}
