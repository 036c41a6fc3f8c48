/**
 * Compressed files and archives, by their first bytes: memtool reads dumps unpacked, and says how to unpack them.
 *
 * Sources of the magic numbers: RFC 1952 (gzip), RFC 1950 (zlib; LiME's src/deflate.c writes it with `compress=1`), RFC 8878
 * (zstd), the specifications of .xz and .lzma in XZ Utils, bzip2's and lzop's sources, lz4_Frame_format.md, snappy's
 * framing_format.txt, PKWARE's APPNOTE, 7zFormat.txt, POSIX (ustar).
 */
import { FormatError } from "../errors.js";
import { hasText } from "../fields.js";
import type { DumpFile } from "../types.js";

/** A kind of compressed file. */
export interface Compression {
  readonly name: string;
  /** Ends of names that unpacking takes away. */
  readonly suffixes: readonly string[];
  /** The command that unpacks it. @param from, to The files' names, quoted. */
  command(from: string, to: string): string;
}

const GZIP: Compression = {
  name: "gzip",
  suffixes: [".gz"],
  command: (from, to) => `gzip -dc ${from} > ${to}`,
};
const ZLIB: Compression = {
  name: "zlib",
  suffixes: [".zlib", ".zz", ".z"],
  command: (from, to) => `pigz -dc < ${from} > ${to}`,
};
const XZ: Compression = {
  name: "xz",
  suffixes: [".xz"],
  command: (from, to) => `xz -dc ${from} > ${to}`,
};
const LZMA: Compression = {
  name: "lzma",
  suffixes: [".lzma"],
  command: (from, to) => `xz --format=lzma -dc ${from} > ${to}`,
};
/** Also what a seekable file is unpacked with that can't be read as such. */
export const ZSTD: Compression = {
  name: "zstd",
  suffixes: [".zst", ".zstd"],
  command: (from, to) => `zstd -d -k ${from} -o ${to}`,
};
const BZIP2: Compression = {
  name: "bzip2",
  suffixes: [".bz2"],
  command: (from, to) => `bzip2 -dc ${from} > ${to}`,
};
const LZ4: Compression = {
  name: "lz4",
  suffixes: [".lz4"],
  command: (from, to) => `lz4 -d -k ${from} ${to}`,
};
const LZOP: Compression = {
  name: "lzop",
  suffixes: [".lzo"],
  command: (from, to) => `lzop -dc ${from} > ${to}`,
};
const SNAPPY: Compression = {
  name: "snappy",
  suffixes: [".sz", ".snappy"],
  command: (from, to) => `snzip -dc ${from} > ${to}`,
};
const ZIP: Compression = {
  name: "zip",
  suffixes: [".zip"],
  command: (from, to) => `unzip -p ${from} > ${to}`,
};
const SEVEN_ZIP: Compression = {
  name: "7z",
  suffixes: [".7z"],
  command: (from, to) => `7z e -so ${from} > ${to}`,
};
const TAR: Compression = {
  name: "tar",
  suffixes: [".tar"],
  command: (from, to) => `tar -xOf ${from} > ${to}`,
};

const BY_MAGIC: readonly (readonly [magic: string, kind: Compression])[] = [
  ["\x1f\x8b\x08", GZIP],
  ["\xfd7zXZ\0", XZ],
  ["\x28\xb5\x2f\xfd", ZSTD],
  ["\x04\x22\x4d\x18", LZ4],
  ["\x02\x21\x4c\x18", LZ4],
  ["\x89LZO\0\r\n\x1a\n", LZOP],
  ["\xff\x06\0\0sNaPpY", SNAPPY],
  ["PK\x03\x04", ZIP],
  ["7z\xbc\xaf\x27\x1c", SEVEN_ZIP],
];

/** The kind of a file that begins like this; `undefined` if it is none of them. */
export function compressionOf(head: Uint8Array): Compression | undefined {
  for (const [magic, kind] of BY_MAGIC) if (hasText(head, magic)) return kind;
  // "BZh", the block size, and the digits of pi that begin a block.
  if (hasText(head, "BZh") && hasText(head, "1AY&SY", 4)) return BZIP2;
  // pzstd begins with a skippable frame of 4 bytes.
  if (hasText(head, "\x50\x2a\x4d\x18\x04\0\0\0") && hasText(head, "\x28\xb5\x2f\xfd", 12)) return ZSTD;
  if (hasText(head, "ustar", 257)) return TAR;
  if (isLzma(head)) return LZMA;
  if (isZlib(head)) return ZLIB;
  return undefined;
}

/**
 * The older .lzma has no magic: a byte of properties (nearly always 0x5d), the dictionary's size (xz: 2^n or 2^n + 2^(n-1)),
 * the size of what is packed (or all ones), and then a byte that is 0.
 */
function isLzma(head: Uint8Array): boolean {
  if (head.length < 14 || head[0] !== 0x5d || head[13] !== 0) return false;
  const view = new DataView(head.buffer, head.byteOffset);
  const dictionary = view.getUint32(1, true);
  const top = 2 ** (31 - Math.clz32(dictionary));
  const low = view.getUint32(5, true);
  const high = view.getUint32(9, true);
  const known = high === 0xffff_ffff ? low === 0xffff_ffff : high < 0x1000 && high + low > 0;
  return known && dictionary >= 4096 && (dictionary === top || dictionary === top + top / 2);
}

/** A zlib header of the levels that are the default, and a first block that is none of the impossible kind. */
function isZlib(head: Uint8Array): boolean {
  const first = ["\x78\x9c", "\x78\xda", "\x38\x8d"].some((magic) => hasText(head, magic));
  // Bits 1 and 2: 1 or 2 for Huffman codes. Bit 0: it is not the last one of the stream.
  return first && [2, 4].includes((head[2] ?? 0) & 7);
}

const RAW = "; to read the file as raw memory all the same, force the format raw";

/** Refuses a file of that kind. @throws {FormatError} `UNSUPPORTED_FORMAT`, with the command that unpacks it. */
export function refuseCompressed(file: DumpFile, kind: Compression, why = ""): never {
  const command = kind.command(quoted(file.name), quoted(unpackedName(file.name, kind)));
  throw new FormatError(
    "UNSUPPORTED_FORMAT",
    { file: file.name },
    `this is a ${kind.name} file${why}: memtool reads dumps unpacked: run ${command}${RAW}`,
  );
}

/** What the unpacked file may be called: without the suffix that tells of packing, else with one that tells of unpacking. */
function unpackedName(name: string, { suffixes }: Compression): string {
  const lower = name.toLowerCase();
  const suffix = suffixes.find((end) => lower.endsWith(end) && !/(^|\/)$/.test(name.slice(0, -end.length)));
  return suffix === undefined ? `${name}.unpacked` : name.slice(0, -suffix.length);
}

/** A file's name for a shell, whatever characters it has; one with control characters as bash, zsh and ksh quote them. */
export function quoted(name: string): string {
  const path = name.startsWith("-") ? `./${name}` : name;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: names of files may have them.
  const control = /[\x00-\x1f\x7f]/g;
  if (!control.test(path)) return `'${path.replaceAll("'", "'\\''")}'`;
  const escaped = path
    .replaceAll(/['\\]/g, "\\$&")
    .replaceAll(control, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `$'${escaped}'`;
}
