import type { Io, PacketIo, Routine } from "../io/index.js";
import type { PageSlab } from "../io/page-slab.hot.js";
import type { PhysicalMap } from "../memory/physical-map.js";

/** A dump file: its bytes by file offset. */
export interface DumpFile extends PacketIo<number> {
  /** Bytes. */
  readonly size: number;
  /** For messages: its path. */
  readonly name: string;
  /**
   * Ranges of it that are known to be zero without reading them (holes of the file system), ascending; `end` exclusive.
   * May be costly: ask once.
   */
  readonly zeroRanges?: (() => Iterable<{ readonly start: number; readonly end: number }>) | undefined;
}

/**
 * Decompresses one page.
 *
 * @param input        The compressed bytes; valid only during the call.
 * @param outputLength What the page must decompress to; must not allocate much more than that.
 * @returns            The page, in memory that no later call changes: several may wait for a page, and the first may read
 *                     others from within its answer. Another length than `outputLength` makes the page `malformed`.
 * @throws             anything for input that does not decompress.
 */
export type Decoder = (input: Uint8Array, outputLength: number) => Uint8Array;

/** A codec, as {@link Decoders} calls it. */
export type CodecName = "inflate" | "lzo" | "snappy" | "zstd";

/**
 * Takes the pages that a {@link PagesDecoder} decompressed. Page `i` begins at `i` times the output's length; where
 * `valid[i]` is 0 it did not decompress, or was not got to. Both arrays are the caller's only during the call.
 */
export type UsePages = (output: Uint8Array, valid: Uint8Array) => void;

/** Decompresses many pages together, faster than one by one: with the help of other threads. */
export interface PagesDecoder {
  /** Compressed bytes from which on it pays. */
  readonly worthwhile: number;
  /** Told how many compressed bytes have come while that much was under way; says whether anybody helps with them. Without help it is a detour. */
  helps(bytes: number): boolean;
  /** Decompressed bytes that it takes at once; compressed pages are no larger. */
  readonly bytes: number;
  /** Decompresses, and calls `use` before it returns. Pages that stay invalid are then decompressed by the codec. */
  decode(codec: CodecName, inputs: readonly Uint8Array[], outputLength: number, use: UsePages): void;
}

/** The codecs that dumps use; one that is absent makes the pages in it `unsupported`. */
export interface Decoders {
  /** zlib streams (RFC 1950). */
  readonly inflate?: Decoder | undefined;
  /** LZO1X. */
  readonly lzo?: Decoder | undefined;
  /** Snappy, raw blocks. */
  readonly snappy?: Decoder | undefined;
  /** Zstandard frames. */
  readonly zstd?: Decoder | undefined;
  /** For many pages together, in codecs that are here too. */
  readonly many?: PagesDecoder | undefined;
}

/**
 * Compresses one page, for a dump that is being written.
 *
 * @param page Valid only during the call.
 * @returns    The compressed bytes, in memory that no later call changes; they may be longer than the page.
 */
export type Encoder = (page: Uint8Array) => Uint8Array;

/** The codecs that dumps can be written with. */
export interface Encoders {
  /** zlib streams (RFC 1950). */
  readonly deflate?: Encoder | undefined;
  /** Zstandard frames that say how long their content is. */
  readonly zstd?: Encoder | undefined;
}

/** Registers of one CPU when the dump was made. */
export interface CpuState {
  /** Process (or QEMU: CPU) number of the NT_PRSTATUS note. */
  readonly pid?: number | undefined;
  /**
   * By their lower-case names, unsigned: `rip`, `rsp`, `rflags` … (x86-64), `eip`, `esp` … (i386), `x0` … `sp`, `pc`,
   * `pstate` (arm64), `r0` … `sp`, `lr`, `pc`, `cpsr` (arm), `r0` … `nip`, `msr`, `link` (ppc64), `psw_mask`,
   * `psw_addr`, `r0` … `r15`, `a0` … (s390x; also `cr0` … `cr15` and `prefix`), `pc`, `ra`, `sp` … (riscv64).
   * Of x86, where the hypervisor's own note is there (QEMU, VirtualBox, Xen), also `cr0`, `cr2`, `cr3`, `cr4`, segment
   * bases such as `gs_base`, `idt_base`, and `kernel_gs_base` (QEMU: since 3.0).
   */
  readonly registers: Readonly<Record<string, bigint>>;
}

/** An ELF note as it stands in the dump. */
export interface RawNote {
  /** Without its NUL: `CORE`, `QEMU`, `VMCOREINFO`. */
  readonly name: string;
  readonly type: number;
  /** In the byte order of the machine. */
  readonly description: Uint8Array;
}

/** What a dump says besides its memory. */
export interface DumpNotes {
  /** The kernel's VMCOREINFO text, unparsed. */
  readonly vmcoreinfo?: Uint8Array | undefined;
  /** In the order of the notes. */
  readonly cpus: readonly CpuState[];
  readonly architecture?: Architecture | undefined;
  /** What the dump calls its machine, where it names one that is none of `Architecture`: nothing is known of its page tables. */
  readonly otherMachine?: string | undefined;
  /** Of the guest, in bytes, as VMCOREINFO says (a kdump file's *block* size may be larger). */
  readonly pageSize?: number | undefined;
  /** As a kdump sub-header says. QEMU writes it wrong (a decimal read as hexadecimal): trust VMCOREINFO. */
  readonly physBase?: number | undefined;
  /** Byte order of the machine; default `little`. */
  readonly byteOrder?: "little" | "big" | undefined;
  /** The dump's ELF notes, all of them and in their order, for a dump that is written of it. */
  readonly raw?: readonly RawNote[] | undefined;
  /** Bytes of a pointer, where the architecture doesn't say. */
  readonly pointerSize?: 4 | 8 | undefined;
}

/** Processor architectures that dumps name. */
export type Architecture = "x86_64" | "i386" | "aarch64" | "arm" | "ppc64" | "s390x" | "riscv64";

/** An opened dump: physical memory, what of it is there, and what else the file says. */
export interface DumpImage {
  /** The name of the {@link Format} that read it: `raw`, `elf-core`, `kdump`. */
  readonly format: string;
  /** One line for people. */
  readonly description: string;
  /** Addresses are physical. */
  readonly io: PacketIo<number>;
  /** May be made when first asked for. */
  readonly map: PhysicalMap;
  /**
   * The same map with zeros told apart (`zero` of its ranges, `bytesZero`), where the file marks pages that are all zero;
   * may read its whole index. Without it, the file stores zero pages like any others.
   */
  readonly mapWithZeros?: (() => Io<PhysicalMap>) | undefined;
  /** Where `io` keeps pages that it had to decompress, for a page cache above to keep its own. */
  readonly slab?: PageSlab | undefined;
  readonly notes: DumpNotes;
  /** What is missing or odd, each a sentence. */
  readonly warnings: readonly string[];
  /** For `info`: header fields by name. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** Options of `openDump`. */
export interface OpenDumpOptions {
  readonly decoders?: Decoders | undefined;
  /** Skips detection; `raw` opens anything. */
  readonly format?: string | undefined;
  /** Bytes of decompressed pages to keep; default 32 MiB. 0: none. */
  readonly cacheBytes?: number | undefined;
  /** Further files that belong to the dump, in any order: the other files of a dump that was split. */
  readonly parts?: readonly DumpFile[] | undefined;
  /**
   * Opens a file that lies beside the dump, for formats that are two files (`.vmem` and `.vmss`).
   *
   * @param name A plain file name, without a folder. @returns `undefined` if there is none that can be read.
   */
  readonly beside?: ((name: string) => DumpFile | undefined) | undefined;
  /**
   * Where a raw image's bytes belong, in any order, no address twice; default: physical address = file offset. See
   * `parseRawMap`. Only for formats with `takesMap`; others say themselves where their memory lies.
   */
  readonly memoryMap?: readonly RawRange[] | undefined;
}

/** A range of physical addresses (`end` exclusive) and the file offset of its first byte, in a raw image. */
export interface RawRange {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
}

/** What a format's `open` gets besides the file. */
export interface FormatContext extends OpenDumpOptions {
  readonly parts: readonly DumpFile[];
  /** Detects and opens what a container holds, with further files of it where it is split. */
  reopen(file: DumpFile, parts?: readonly DumpFile[]): Routine<DumpImage>;
}

/** One dump format: a module each, listed in `detect.ts`. */
export interface Format {
  readonly name: string;
  /** Whether dumps of it may be split over several files (`parts`). */
  readonly takesParts?: boolean;
  /** Whether it needs or heeds a map that was given (`memoryMap`), or hands it on to what it holds. */
  readonly takesMap?: boolean;
  /**
   * Whether a file is of this format.
   *
   * @param head The first bytes of the file, up to 4096.
   * @param file For its name and size.
   */
  detect(head: Uint8Array, file: DumpFile): boolean;
  /** Opens it. @throws {FormatError} */
  open(file: DumpFile, context: FormatContext): Routine<DumpImage>;
}
