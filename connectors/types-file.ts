/** Types of a kernel from a file: BTF, an ELF file with BTF in it (vmlinux), or ISF. The file's content says which. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { Btf, parseIsf, TypesError, type TypeTable } from "../src/linux/index.js";
import { BTF_MAGIC, MAX_BTF } from "../src/linux/types/btf/btf-header.js";
import { isJson } from "../src/linux/types/isf/isf-document.js";
import { isElf, type ReadAt, readElfSection } from "./elf-section.js";
import { errnoName } from "./errors.js";

/** Bytes of a file that is read whole, and of what is unpacked: ISF files of kernels have 10 to 60 MB. */
const MAX_FILE = 512 * 2 ** 20;
const PIECE = 1 << 20;

/** What a beginning says of a file that we don't unpack. */
const PACKED: readonly (readonly [string, readonly number[], string])[] = [
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a], "xz -d"],
  ["bzip2", [0x42, 0x5a, 0x68], "bzip2 -d"],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd], "zstd -d"],
];

/**
 * Reads types: BTF (such as /sys/kernel/btf/vmlinux), an ELF file that has a section .BTF (vmlinux), or Volatility's ISF;
 * each also packed by gzip.
 *
 * @throws {TypesError} `NO_TYPES` for a file that can't be read or has none, `BTF` or `ISF` where they are damaged.
 */
export function readTypesFile(path: string): TypeTable {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    throw refused(path, `can't be opened${why(cause)}`, cause);
  }
  try {
    return typesIn(path, (offset, length) => readAt(fd, offset, length), fstatSync(fd).isFile());
  } catch (cause) {
    throw cause instanceof TypesError ? cause : refused(path, `can't be read${why(cause)}`, cause);
  } finally {
    closeSync(fd);
  }
}

function typesIn(path: string, read: ReadAt, isFile: boolean): TypeTable {
  if (!isFile) throw refused(path, "is no file");
  const head = read(0, 64);
  if (head[0] === 0x1f && head[1] === 0x8b) {
    const unpacked = unpack(path, whole(path, read));
    return typesOf(path, unpacked.subarray(0, 64), (offset, length) =>
      unpacked.subarray(Math.min(offset, unpacked.length), offset + length),
    );
  }
  return typesOf(path, head, read);
}

function typesOf(path: string, head: Uint8Array, read: ReadAt): TypeTable {
  if (isBtf(head)) return new Btf(whole(path, read), { name: path });
  if (isElf(head)) {
    const section = readElfSection(read, ".BTF", MAX_BTF);
    if (typeof section === "string") throw refused(path, `can't be used: ${section}`);
    return new Btf(section, { name: path, pointerSize: head[4] === 1 ? 4 : 8 });
  }
  if (isJson(head)) {
    const bytes = whole(path, read);
    return parseIsf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"), {
      name: path,
    });
  }
  for (const [name, magic, command] of PACKED) {
    if (magic.every((byte, i) => head[i] === byte)) {
      throw refused(path, `is packed by ${name}: unpack it first (${command})`);
    }
  }
  throw refused(path, "is neither BTF, nor ELF (vmlinux), nor ISF (JSON), nor one of these packed by gzip");
}

function isBtf(head: Uint8Array): boolean {
  const low = BTF_MAGIC & 0xff;
  const high = BTF_MAGIC >> 8;
  return (head[0] === low && head[1] === high) || (head[0] === high && head[1] === low);
}

function unpack(path: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_FILE });
  } catch (cause) {
    throw refused(path, `can't be unpacked (${(cause as Error).message})`, cause);
  }
}

/** All bytes, in pieces that grow with what is there: files below /sys have no length. */
function whole(path: string, read: ReadAt): Uint8Array {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const piece = read(length, PIECE);
    pieces.push(piece);
    length += piece.length;
    if (length > MAX_FILE) throw refused(path, `has more than ${MAX_FILE} bytes: too many for types`);
    if (piece.length < PIECE) break;
  }
  return pieces.length === 1 ? (pieces[0] as Uint8Array) : new Uint8Array(Buffer.concat(pieces, length));
}

/** Reads until there is no more: `/sys` gives at most a page at a time. Nothing is allocated beyond what is there. */
function readAt(fd: number, offset: number, length: number): Uint8Array {
  if (!Number.isSafeInteger(offset)) return new Uint8Array(0);
  const pieces: Uint8Array[] = [];
  let got = 0;
  while (got < length) {
    const piece = new Uint8Array(Math.min(PIECE, length - got));
    const count = readSync(fd, piece, 0, piece.length, offset + got);
    if (count === 0) break;
    pieces.push(piece.subarray(0, count));
    got += count;
  }
  return pieces.length === 1 ? (pieces[0] as Uint8Array) : new Uint8Array(Buffer.concat(pieces, got));
}

function refused(path: string, problem: string, cause?: unknown): TypesError {
  return new TypesError("NO_TYPES", path, `${path} ${problem}`, cause === undefined ? undefined : { cause });
}

function why(cause: unknown): string {
  const name = errnoName(cause);
  return name === undefined ? "" : ` (${name})`;
}
