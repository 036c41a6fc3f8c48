/** What to open, and how. */
import type { RawRange } from "../src/formats/index.js";
import type { TypeTable } from "../src/linux/index.js";
import type { MmuDef, NestedFormat } from "../src/paging/index.js";
import type { SwapArea } from "./swap-files.js";

/**
 * What to open: the path of a dump, the paths of all files of a dump that was split, in any order, or a connector in
 * the form `name[:target[:key=value,…]]`.
 */
export type OpenTarget = string | readonly string[] | { readonly connector: string };

/** Nested page tables of a guest inside the target. */
export interface GuestTables {
  /** Physical address of the top table (AMD's nCR3), or an EPTP with its low bits. */
  readonly root: number;
  /** Default: what an EPTP says, else what lies there. */
  readonly format?: NestedFormat | undefined;
}

/** Options of {@link open}. */
export interface OpenOptions {
  /** The dump's format, instead of what its content says: a name of `FORMATS`, such as `raw`. */
  readonly format?: string | undefined;
  /**
   * Physical address of a page-table root, or the CR3 or TTBR0 that holds it: `memory` is then its address space. (Low bits
   * that are no address in the format are dropped.)
   */
  readonly root?: number | undefined;
  /** Format of the machine's page tables, instead of what its dump or kernel says. */
  readonly mmu?: MmuDef | undefined;
  /**
   * Files of swap areas, which pages that were swapped out are read from: partitions' images, or swap files. Those without a number
   * get the lowest that is free, in their order. (Their newest copy may be in RAM even so: in the swap cache, or in zswap.)
   */
  readonly swap?: readonly SwapArea[] | undefined;
  /**
   * Open a guest inside the target's physical memory, by its nested page tables; of several, each lies in the one before.
   * All else is then about the guest: its kernel, `root`, its physical memory.
   */
  readonly ept?: GuestTables | readonly GuestTables[] | undefined;
  /**
   * Types of the kernel, instead of those that it has of its own: a table, or the path of a file of BTF (as
   * /sys/kernel/btf/vmlinux), of a vmlinux that has BTF, or of Volatility's ISF. They must be of this very kernel.
   */
  readonly types?: TypeTable | string | undefined;
  /**
   * Path of a System.map of this very kernel, or of a saved /proc/kallsyms: its symbols, instead of the kernel's own table. For
   * kernels that list functions only, and for dumps that lack the table.
   */
  readonly symbols?: string | undefined;
  /**
   * What KASLR added to the addresses of the kernel's image, for `symbols` of a dump that does not tell it. (VMCOREINFO does, and so
   * do symbols that the file and the dump both have.)
   */
  readonly kaslr?: bigint | undefined;
  /** Allow writes, where the target can; default false. */
  readonly write?: boolean | undefined;
  /**
   * Pause the machine while it is open, where the target can, so that all that is read is of one moment; default false. It goes on
   * when it is closed, or the program ends.
   */
  readonly freeze?: boolean | undefined;
  /**
   * Map the file into memory instead of reading it with positioned reads; default false. Random reads are faster, but
   * a file that becomes shorter meanwhile can end the program: see {@link mapFile}. Reads are then in no batch, so the
   * source's counters do not count them.
   */
  readonly map?: boolean | undefined;
  /**
   * Where a raw image's bytes belong: ranges, or a text that {@link readMemoryMap} takes (ranges such as
   * `0-3G@0,4G-5G@3G`, or the path of a file of them or of the text of /proc/iomem). Of a QEMU stream, where its main RAM
   * belongs. Other dumps say it themselves, and refuse a map.
   */
  readonly memoryMap?: readonly RawRange[] | string | undefined;
  /**
   * Tell zeros apart that the file doesn't store, as holes of the file system: a raw image's `image.mapWithZeros` is
   * then there if the file has such holes and the optional package `ffi-rs` is installed, which is loaded (some 15 ms).
   * Default false.
   */
  readonly holes?: boolean | undefined;
  /**
   * Bytes of memory to keep cached, decompressed pages of a dump among them; default 32 MiB, or none over a mapped
   * file whose pages are not compressed.
   */
  readonly cacheBytes?: number | undefined;
  /**
   * For live memory: milliseconds that page tables may be old when a request begins; default 0, so that they are shared
   * within a batch only. Until then a change of them is not seen; see `VirtualMemory.flush`.
   */
  readonly maxAge?: number | undefined;
  /**
   * How far to go for a kernel before `open` resolves: `scan` all RAM unless the dump's note will do (default), the
   * `note` only, or `none`; `search`: as `linux()` does in any case, which then looks for page-table roots that lead to one.
   */
  readonly kernel?: "search" | "scan" | "note" | "none" | undefined;
  /**
   * Where profiles of kernels are kept (see `KernelProfiles`), for the next dump of the same build: a folder; `true` for
   * `memtool/profiles` in the user's folder of caches; `false` for nowhere. Default: what the environment's `MEMTOOL_CACHE` says (a
   * folder, `on` or `off`), else nowhere: a forged dump could leave a profile that others are read by. Symbols and types of a profile
   * come as they are needed: no more of them do once the machine is closed.
   */
  readonly cache?: boolean | string | undefined;
  /** Progress of a scan: bytes done, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}
