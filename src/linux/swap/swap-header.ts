/**
 * The header of a swap area: its first page. include/linux/swap.h, `union swap_header`; mm/swapfile.c, `read_swap_header`;
 * util-linux's mkswap. Fields from byte 1024 on, in the byte order of the machine that made it:
 *
 * | offset | bytes | |
 * |---|---|---|
 * | 1024 | 4 | version: 1 |
 * | 1028 | 4 | last page; page 0 is the header |
 * | 1032 | 4 | number of bad pages |
 * | 1036 | 16 | UUID |
 * | 1052 | 16 | label |
 * | 1536 | 4 each | bad pages |
 * | page size - 10 | 10 | "SWAPSPACE2" |
 *
 * A hibernated machine has its image in the area: the last ten bytes are "S1SUSPEND" then, and the ten before those of the area
 * (kernel/power/swap.c, `struct swsusp_header`). Pages that were swapped out before stay where they are.
 */
import { type FaultState, hex, MemtoolError } from "../../io/index.js";
import { decodeLatin1 } from "../../memory/index.js";

/** What a swap area's header says. */
export interface SwapHeader {
  /** Bytes of a page, by where the header ends. */
  readonly pageSize: number;
  /** The last page; page 0 is the header. */
  readonly lastPage: number;
  /** "" if it has none. */
  readonly uuid: string;
  /** "" if it has none. */
  readonly label: string;
  /** Pages that are never used, ascending, without repeats. */
  readonly badPages: Uint32Array;
  readonly littleEndian: boolean;
  /** A hibernated machine's image is in it. */
  readonly hibernated: boolean;
}

/** Why a file can't be used as a swap area. */
export type SwapFileErrorCode =
  | "NOT_A_SWAP_AREA"
  | "UNSUPPORTED_SWAP_AREA"
  | "MALFORMED_SWAP_AREA"
  | "UNREADABLE_SWAP_AREA";

/** A file that can't be used as a swap area: which, why, and what to try. */
export class SwapFileError extends MemtoolError {
  declare readonly code: SwapFileErrorCode;
  readonly file: string;
  /** What became of the read of its header, where that failed. */
  readonly state: FaultState | undefined;

  constructor(code: SwapFileErrorCode, file: string, problem: string, state?: FaultState) {
    super(code, `${file}: ${problem}`);
    this.file = file;
    this.state = state;
  }
}

/** Page sizes of Linux's architectures. */
const PAGE_SIZES = [4096, 8192, 16_384, 32_768, 65_536] as const;
/** Bytes of a file that its header can lie in: the largest page. */
export const MAX_HEADER_BYTES = 65_536;
const FIRST_BAD_PAGE = 1536;

/**
 * Parses the beginning of a swap area.
 *
 * @param bytes    Its first `MAX_HEADER_BYTES` bytes, or all of it if it is shorter.
 * @param pageSize That of the machine, if it is known; otherwise the smallest that fits.
 * @throws {SwapFileError} naming what is wrong.
 */
export function parseSwapHeader(file: string, bytes: Uint8Array, pageSize?: number): SwapHeader {
  const sizes = pageSize === undefined ? PAGE_SIZES : [pageSize];
  const found = sizes.find((size) => size <= bytes.length && signatureAt(bytes, size) !== "");
  if (found === undefined) throw notOne(file, bytes, pageSize);
  const hibernated = signatureAt(bytes, found) === "S1SUSPEND";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const littleEndian = view.getUint32(1024, true) === 1;
  const version = littleEndian ? 1 : view.getUint32(1024, false);
  if (version !== 1) {
    const number = Math.min(version, view.getUint32(1024, true));
    throw new SwapFileError(
      "UNSUPPORTED_SWAP_AREA",
      file,
      `a swap area of version ${number}; Linux has version 1 only`,
    );
  }
  const u32 = (offset: number) => view.getUint32(offset, littleEndian);
  const lastPage = u32(1028);
  if (lastPage === 0)
    throw new SwapFileError("MALFORMED_SWAP_AREA", file, "a swap area without pages: its last one is 0");
  const count = u32(1032);
  const room = Math.floor((found - 10 - FIRST_BAD_PAGE) / 4);
  if (count > room) {
    const problem = `${count} bad pages, and its header has room for ${room}: damaged, or no swap area`;
    throw new SwapFileError("MALFORMED_SWAP_AREA", file, problem);
  }
  const bad = new Set<number>();
  for (let i = 0; i < count; i++) {
    const page = u32(FIRST_BAD_PAGE + 4 * i);
    if (page === 0 || page > lastPage) {
      const problem = `bad page ${page} of an area whose last page is ${lastPage}: damaged, or no swap area`;
      throw new SwapFileError("MALFORMED_SWAP_AREA", file, problem);
    }
    bad.add(page);
  }
  return {
    pageSize: found,
    lastPage,
    uuid: uuidText(bytes.subarray(1036, 1052)),
    label: decodeLatin1(bytes, 1052, 1068).split("\0", 1)[0] as string,
    badPages: Uint32Array.from(bad).sort(),
    littleEndian,
    hibernated,
  };
}

/** What the end of the page says that it is; "" for no swap area. */
function signatureAt(bytes: Uint8Array, pageSize: number): "" | "SWAPSPACE2" | "S1SUSPEND" {
  const text = decodeLatin1(bytes, pageSize - 10, pageSize);
  if (text === "SWAPSPACE2") return text;
  const before = decodeLatin1(bytes, pageSize - 20, pageSize - 10);
  return text === "S1SUSPEND\0" && before === "SWAPSPACE2" ? "S1SUSPEND" : "";
}

/** The error for a file that is something else, as far as it says what. */
function notOne(file: string, bytes: Uint8Array, pageSize: number | undefined): SwapFileError {
  const other = PAGE_SIZES.find((size) => size <= bytes.length && signatureAt(bytes, size) !== "");
  if (other !== undefined) {
    const problem = `a swap area of a machine with pages of ${other} bytes; this one's have ${pageSize}`;
    return new SwapFileError("UNSUPPORTED_SWAP_AREA", file, problem);
  }
  if (
    PAGE_SIZES.some((size) => size <= bytes.length && decodeLatin1(bytes, size - 10, size) === "SWAP-SPACE")
  ) {
    const problem = "a swap area of version 0, of before Linux 2.6; there is only version 1 since";
    return new SwapFileError("UNSUPPORTED_SWAP_AREA", file, problem);
  }
  if (decodeLatin1(bytes, 0, 4) === "LUKS") {
    return new SwapFileError("UNSUPPORTED_SWAP_AREA", file, "encrypted (LUKS): give the decrypted swap area");
  }
  const size = pageSize ?? PAGE_SIZES[0];
  return new SwapFileError(
    "NOT_A_SWAP_AREA",
    file,
    `no swap area: it has no "SWAPSPACE2" at ${hex(size - 10)}` +
      (pageSize === undefined ? ", nor where the first page ends if pages are larger" : "") +
      " (of a disk, give the partition alone; encrypted, decrypt it; zram has no file)",
  );
}

function uuidText(bytes: Uint8Array): string {
  if (bytes.every((byte) => byte === 0)) return "";
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
