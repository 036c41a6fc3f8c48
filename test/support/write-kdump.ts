/** kdump-compressed files for tests, written from makedumpfile's structures; shares nothing with the reader. */
import { deflateSync } from "node:zlib";
import { ByteWriter } from "./bytes.js";

/**
 * How a page is stored: decimal codecs are flags of its descriptor with made-up bytes; `zero` shares one body of zeros,
 * which lies in front of all others.
 */
export type Stored = "zlib" | "raw" | "zero" | { readonly flags: number; readonly bytes: Uint8Array };

export interface KdumpPage {
  readonly pfn: number;
  readonly bytes: Uint8Array;
  readonly stored?: Stored;
}

export interface KdumpOptions {
  readonly signature?: string;
  readonly version?: number;
  readonly blockSize?: number;
  readonly maxPages: number;
  /** `max_mapnr` of the header, where it is not `maxPages`: version 6 has a wider field. */
  readonly narrowMaxPages?: number;
  /** Pages that are RAM but not in the file. */
  readonly leftOut?: readonly number[];
  readonly dumpLevel?: number;
  readonly status?: number;
  /** As QEMU: both bitmaps mark what is stored. */
  readonly sameBitmaps?: boolean;
  /** As old diskdump: one bitmap. */
  readonly oneBitmap?: boolean;
  readonly machine?: string;
  /** `utsname.release`. */
  readonly release?: string;
  readonly vmcoreinfo?: Uint8Array;
  readonly notes?: Uint8Array;
  /** Pages of a split dump that this file holds. */
  readonly part?: { readonly start: number; readonly end: number };
  /** Pages whose descriptors stay zero, as makedumpfile leaves them when it runs out of space. */
  readonly unwritten?: readonly number[];
  /** Room for more descriptors, left between those that there are and the data; zeros. */
  readonly spareDescriptors?: number;
  readonly physBase?: number;
  /** Of the machine's compiler; default `lp64`. `…-time64`: with a `time_t` of 64 bits. */
  readonly abi?: "lp64" | "i386" | "arm" | "i386-time64" | "arm-time64";
  readonly bigEndian?: boolean;
  /** Seconds. */
  readonly timestamp?: number;
}

export function writeKdump(pages: readonly KdumpPage[], options: KdumpOptions): Uint8Array {
  const { maxPages, part } = options;
  const version = options.version ?? 6;
  const block = options.blockSize ?? 4096;
  const vmcoreinfo = options.vmcoreinfo ?? new Uint8Array(0);
  const notes = options.notes ?? new Uint8Array(0);
  const inFile = [...pages]
    .sort((a, b) => a.pfn - b.pfn)
    .filter(({ pfn }) => part === undefined || (pfn >= part.start && pfn < part.end));

  const extras = 104 + vmcoreinfo.length + notes.length;
  const subBlocks = Math.ceil(extras / block);
  const perBitmap = Math.max(1, Math.ceil(maxPages / 8 / block));
  const out = new ByteWriter(options.bigEndian);
  const abi = options.abi ?? "lp64";
  const isNarrow = abi !== "lp64";
  /** A `long`. */
  const long = (value: number | bigint) =>
    isNarrow ? out.u32(Number(BigInt.asUintN(32, BigInt(value)))) : out.u64(value);
  /** An `off_t` or `unsigned long long`: i386 has them where four bytes fit. */
  const wide = (value: number | bigint) => (abi.startsWith("i386") ? out : out.alignTo(8)).u64(value);
  /** What a `struct timeval` holds. */
  const time = (value: number) => (abi.endsWith("-time64") ? wide(value) : long(value));
  // struct disk_dump_header
  out.text(options.signature ?? "KDUMP   ", 8).u32(version);
  const release = options.release ?? "6.1.0-test";
  const machine = options.machine ?? "x86_64";
  const utsname =
    release === "" ? ["", "", "", "", machine, ""] : ["Linux", "guest", release, "#1", machine, "(none)"];
  for (const text of utsname) out.text(text, 65);
  out.alignTo(isNarrow ? 4 : 8);
  time(options.timestamp ?? 1700000000);
  time(0);
  out
    .u32(options.status ?? 1)
    .u32(block)
    .u32(subBlocks)
    .u32(options.oneBitmap ? perBitmap : 2 * perBitmap);
  // total_ram_blocks and what follows: QEMU and makedumpfile leave all but nr_cpus zero.
  out
    .u32(options.narrowMaxPages ?? Math.min(maxPages, 0xffffffff))
    .u32(0)
    .u32(0)
    .u32(0)
    .u32(0)
    .u32(1);
  // struct kdump_sub_header
  out.upTo(block);
  const infoAt = block + 104;
  // Fields that a version does not have, and those that version 6 replaces, hold garbage.
  const garbage = 0xdead_beef_dead_beefn;
  const since = (first: number, value: number) => (version >= first ? value : garbage);
  const until6 = (value: number) => (version >= 2 && version < 6 ? value : garbage);
  long(options.physBase ?? 0).u32(version >= 1 ? (options.dumpLevel ?? 1) : 0xdeadbeef);
  out.u32(version < 2 ? 0xdeadbeef : part === undefined ? 0 : 1);
  long(until6(part?.start ?? 0));
  long(until6(part?.end ?? 0));
  wide(since(3, vmcoreinfo.length === 0 ? 0 : infoAt));
  long(since(3, vmcoreinfo.length));
  wide(since(4, notes.length === 0 ? 0 : infoAt + vmcoreinfo.length));
  long(since(4, notes.length));
  wide(since(5, 0)); // eraseinfo
  long(since(5, 0));
  wide(since(6, part?.start ?? 0));
  wide(since(6, part?.end ?? 0));
  wide(since(6, maxPages));
  out.upTo(infoAt).bytes(vmcoreinfo).bytes(notes);
  // bitmaps
  out.upTo(block * (1 + subBlocks));
  const stored = bitmap(
    pages.map((page) => page.pfn),
    perBitmap * block,
  );
  const ram = bitmap([...pages.map((page) => page.pfn), ...(options.leftOut ?? [])], perBitmap * block);
  if (!options.oneBitmap) out.bytes(options.sameBitmaps ? stored : ram);
  out.bytes(stored);
  // descriptors, then data
  const bodies = inFile.map(({ bytes, stored: how }) => body(bytes, how ?? "zlib"));
  const zeros = bodies.includes(undefined) ? new Uint8Array(block) : new Uint8Array(0);
  const zerosAt = out.length + 24 * (bodies.length + (options.spareDescriptors ?? 0));
  let at = zerosAt + zeros.length;
  const isWritten = (i: number) => options.unwritten?.includes((inFile[i] as KdumpPage).pfn) !== true;
  for (const [i, written] of bodies.entries()) {
    if (!isWritten(i)) {
      out.u64(0).u32(0).u32(0).u64(0);
    } else if (written === undefined) {
      out.u64(zerosAt).u32(block).u32(0).u64(0);
    } else {
      out.u64(at).u32(written.bytes.length).u32(written.flags).u64(0);
      at += written.bytes.length;
    }
  }
  out.upTo(zerosAt).bytes(zeros);
  for (const [i, written] of bodies.entries()) {
    if (written !== undefined && isWritten(i)) out.bytes(written.bytes);
  }
  return out.done();
}

/** @returns `undefined` for the shared zeros. */
function body(bytes: Uint8Array, how: Stored): { bytes: Uint8Array; flags: number } | undefined {
  if (how === "zero") return undefined;
  if (how === "raw") return { bytes, flags: 0 };
  if (how !== "zlib") return how;
  const deflated = new Uint8Array(deflateSync(bytes));
  return deflated.length < bytes.length ? { bytes: deflated, flags: 1 } : { bytes, flags: 0 };
}

function bitmap(pfns: readonly number[], length: number): Uint8Array {
  const bits = new Uint8Array(length);
  for (const pfn of pfns) bits[pfn >> 3] = (bits[pfn >> 3] as number) | (1 << (pfn & 7));
  return bits;
}
