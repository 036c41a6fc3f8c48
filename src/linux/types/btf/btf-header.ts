/**
 * The header of BTF, and its kinds.
 *
 * Facts: include/uapi/linux/btf.h (`struct btf_header`, `btf_type`, BTF_KIND_…), Documentation/bpf/btf.rst, kernel/bpf/btf.c
 * (`btf_parse_hdr`, `btf_check_sec_info`).
 */
import { hex } from "../../../io/index.js";
import { TypesError } from "../type-table.js";

/** First two bytes, in the byte order of everything behind. */
export const BTF_MAGIC = 0xeb9f;
/** `sizeof(struct btf_header)`: magic, version, flags, its own length, and where types and strings are. */
export const HEADER_SIZE = 24;
/** More bytes than any BTF has (a kernel's with all its options has some 20 MiB). */
export const MAX_BTF = 256 * 1024 * 1024;

/** BTF_KIND_… */
export const KIND = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  function: 12,
  prototype: 13,
  variable: 14,
  section: 15,
  float: 16,
  /** Since 5.16 (b5ea834dde6b): a note about a declaration. */
  declarationTag: 17,
  /** Since 5.17 (8c42d2fa4eee): a note about the type below it. */
  typeTag: 18,
  /** Since 6.0 (6089fb325cf7). */
  enum64: 19,
} as const;

/** Bytes behind the 12 that every type has, of each kind: `[always, for each of vlen]`; none for what is no kind. */
export const KIND_SIZES: readonly (readonly [number, number] | undefined)[] = [
  undefined,
  [4, 0],
  [0, 0],
  [12, 0],
  [0, 12],
  [0, 12],
  [0, 8],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 0],
  [0, 8],
  [4, 0],
  [0, 12],
  [0, 0],
  [4, 0],
  [0, 0],
  [0, 12],
];

/** What a header says: offsets from the beginning of the bytes. */
export interface BtfHeader {
  readonly littleEndian: boolean;
  readonly typesStart: number;
  readonly typesEnd: number;
  readonly stringsStart: number;
  readonly stringsEnd: number;
}

/**
 * Reads a header and checks it against the bytes that are there.
 *
 * @throws {TypesError} `BTF`, saying what is wrong where.
 */
export function parseBtfHeader(bytes: Uint8Array): BtfHeader {
  if (bytes.length < HEADER_SIZE) throw damaged("header", `${bytes.length} bytes are too few for a header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const littleEndian = view.getUint16(0, true) === BTF_MAGIC;
  if (!littleEndian && view.getUint16(0, false) !== BTF_MAGIC) {
    throw damaged("magic", `begins with ${hex(view.getUint16(0, true))}, not with ${hex(BTF_MAGIC)}`);
  }
  const version = view.getUint8(2);
  if (version !== 1) throw damaged("version", `has version ${version}; 1 is known`);
  const u32 = (at: number) => view.getUint32(at, littleEndian);
  const length = u32(4);
  if (length < HEADER_SIZE)
    throw damaged("hdr_len", `has a header of ${length} bytes, of at least ${HEADER_SIZE}`);
  const typesStart = length + u32(8);
  const typesEnd = typesStart + u32(12);
  const stringsStart = length + u32(16);
  const stringsEnd = stringsStart + u32(20);
  for (const [part, end] of [
    ["types", typesEnd],
    ["strings", stringsEnd],
  ] as const) {
    if (end > bytes.length) {
      throw damaged(part, `says that its ${part} end at ${hex(end)}, but has ${hex(bytes.length)} bytes`);
    }
  }
  if (typesStart % 4 !== 0)
    throw damaged("types", `begins its types at ${hex(typesStart)}, no multiple of 4`);
  return { littleEndian, typesStart, typesEnd, stringsStart, stringsEnd };
}

/** Bytes that a BTF has by its header, which needs 24 of them. @throws {TypesError} as {@link parseBtfHeader}. */
export function btfSize(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const littleEndian = view.getUint16(0, true) === BTF_MAGIC;
  const u32 = (at: number) => view.getUint32(at, littleEndian);
  const size = u32(4) + Math.max(u32(8) + u32(12), u32(16) + u32(20));
  if (size > MAX_BTF) throw damaged("header", `says that it has ${size} bytes; ${MAX_BTF} are believed`);
  return size;
}

/** An error about BTF. @internal */
export function damaged(part: string, what: string): TypesError {
  return new TypesError("BTF", part, `the BTF ${what}`);
}
