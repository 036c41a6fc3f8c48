/**
 * One section of an ELF file, by name, without reading the rest: of a kernel with debug information that is most of a gigabyte.
 *
 * Layout: System V ABI, chapters "ELF Header" and "Sections".
 */

/** Bytes of a file: those from `offset` on, fewer where it ends. */
export type ReadAt = (offset: number, length: number) => Uint8Array;

/** Section headers that are looked at: kernels have below a hundred. */
const MAX_SECTIONS = 4096;
/** Bytes of section names. */
const MAX_NAMES = 1 << 20;

/** `SHF_COMPRESSED`. */
const COMPRESSED = 0x800n;

/** Whether bytes begin as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/**
 * The bytes of a section.
 *
 * @param limit Largest section that is read.
 * @returns a text that says why it can't be had, where it can't.
 */
export function readElfSection(read: ReadAt, wanted: string, limit: number): Uint8Array | string {
  const header = read(0, 64);
  if (!isElf(header) || header.length < 52) return "it is no whole ELF file";
  const is64 = header[4] === 2;
  if ((!is64 && header[4] !== 1) || (header[5] !== 1 && header[5] !== 2)) return "its ELF header is damaged";
  const little = header[5] === 1;
  if (is64 && header.length < 64) return "it is no whole ELF file";
  const fields = view(header);
  const u16 = (at: number) => fields.getUint16(at, little);
  const word = (of: DataView, at: number) =>
    is64 ? Number(of.getBigUint64(at, little)) : of.getUint32(at, little);
  const tableAt = word(fields, is64 ? 0x28 : 0x20);
  const entrySize = u16(is64 ? 0x3a : 0x2e);
  const count = u16(is64 ? 0x3c : 0x30);
  const namesIndex = u16(is64 ? 0x3e : 0x32);
  const least = is64 ? 64 : 40;
  if (count === 0 || count > MAX_SECTIONS || entrySize < least || entrySize > 256) {
    return "it has no table of sections (a stripped kernel, or a memory dump)";
  }
  const bytes = read(tableAt, count * entrySize);
  if (bytes.length < count * entrySize) return "it ends before its table of sections does";
  const table = view(bytes);
  const section = (index: number) => {
    const at = index * entrySize;
    return {
      name: table.getUint32(at, little),
      type: table.getUint32(at + 4, little),
      flags: is64 ? table.getBigUint64(at + 8, little) : BigInt(table.getUint32(at + 8, little)),
      offset: word(table, at + (is64 ? 0x18 : 0x10)),
      size: word(table, at + (is64 ? 0x20 : 0x14)),
    };
  };
  if (namesIndex >= count) return "its sections have no names";
  const strings = section(namesIndex);
  const names = read(strings.offset, Math.min(strings.size, MAX_NAMES));
  for (let index = 1; index < count; index++) {
    const { name, type, flags, offset, size } = section(index);
    if (!isName(names, name, wanted)) continue;
    // SHT_NOBITS: debug files have the sections of what they belong to without their bytes.
    if (type === 8) return `its section ${wanted} is empty: it is a file of debug information only`;
    if ((flags & COMPRESSED) !== 0n)
      return `its section ${wanted} is compressed (objcopy --decompress-debug-sections)`;
    if (size > limit) return `its section ${wanted} has ${size} bytes; ${limit} are believed`;
    const content = read(offset, size);
    return content.length < size ? `it ends within its section ${wanted}` : content;
  }
  return `it has no section ${wanted}`;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function isName(names: Uint8Array, at: number, wanted: string): boolean {
  for (let i = 0; i < wanted.length; i++) if (names[at + i] !== wanted.charCodeAt(i)) return false;
  return names[at + wanted.length] === 0;
}
