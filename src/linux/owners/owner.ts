/** What owns a page of physical memory: the kinds of owners, and what is told of each. */

/** A page that a process maps. Threads share it: one owner for an address space. */
export interface ProcessOwner {
  readonly kind: "process";
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly virtual: bigint;
  /** The range that it lies in: as /proc/PID/maps names it ("" for nothing); `undefined` if it can't be read, or is in none. */
  readonly path: string | undefined;
  /** As /proc/PID/maps: `rw-p`; `undefined` outside of all ranges. */
  readonly rights: string | undefined;
}

/** A page of a file that is cached, whether anybody maps it or not; shared memory and tmpfs are files, too. */
export interface FileOwner {
  readonly kind: "page cache";
  /** From the root of the mount namespace that it is mounted in, or of its file system; `undefined` if it has no name. */
  readonly path: string | undefined;
  /** Whether nothing has this name any more. */
  readonly deleted: boolean;
  readonly inode: bigint;
  /** Of its file system: `8:1`. */
  readonly device: string | undefined;
  /** The block device that the page is of, without any file: `254:0`; null for a file's. */
  readonly blockDevice: string | null | undefined;
  /** Bytes from the beginning of the file. */
  readonly offset: number;
  /** Address of its `struct inode`. */
  readonly address: bigint;
}

/** Anonymous memory that has a place in swap, too. */
export interface SwapCacheOwner {
  readonly kind: "swap cache";
  /** The number of the swap area. */
  readonly type: number;
  /** The page's number in it. */
  readonly slot: number;
}

/** The kernel's image. */
export interface ImageOwner {
  readonly kind: "kernel";
  readonly virtual: bigint;
  readonly section: "text" | "rodata" | "data" | "bss" | "init" | "image";
  /** The nearest symbol below, if there is one. */
  readonly symbol: string | undefined;
  readonly symbolOffset: bigint | undefined;
}

/** A module, or a program of BPF. */
export interface CodeOwner {
  readonly kind: "module" | "bpf";
  readonly virtual: bigint;
  /** The module's name; "bpf". */
  readonly module: string;
  readonly symbol: string | undefined;
  readonly symbolOffset: bigint | undefined;
}

/** Memory of vmalloc and its like. */
export interface VmallocOwner {
  readonly kind: "vmalloc";
  readonly virtual: bigint;
  /** The area, with its guard page. */
  readonly start: bigint;
  readonly end: bigint;
  /** The function that asked for it. */
  readonly caller: string | undefined;
}

/** A task's stack in the kernel. */
export interface StackOwner {
  readonly kind: "stack";
  readonly virtual: bigint;
  /** The thread's own number. */
  readonly pid: number | undefined;
  readonly comm: string | undefined;
}

/** A CPU's own variables. */
export interface PerCpuOwner {
  readonly kind: "per-cpu";
  readonly virtual: bigint;
  /** `undefined` for memory that was added later, of which it is not told. */
  readonly cpu: number | undefined;
  readonly symbol: string | undefined;
  readonly symbolOffset: bigint | undefined;
}

/** A page table. */
export interface TableOwner {
  readonly kind: "page table";
  /** The process whose it is; null for the kernel's own, `undefined` for a table that no root leads to. */
  readonly pid: number | null | undefined;
  readonly comm: string | undefined;
  /** 1 is the last level. */
  readonly level: number | undefined;
}

/** Memory of a slab cache. */
export interface SlabOwner {
  readonly kind: "slab";
  /** In the kernel's linear map; `undefined` if it is not known where that is. */
  readonly virtual: bigint | undefined;
  readonly cache: string | undefined;
  /** Address of the object that the byte lies in; `undefined` if it lies in none, or that can't be told. */
  readonly object: bigint | undefined;
  /** Bytes from the object's beginning. */
  readonly objectOffset: number | undefined;
  /** Whether the object is free; `undefined` if that can't be told. */
  readonly isFree: boolean | undefined;
}

/** Memory that is free. */
export interface FreeOwner {
  readonly kind: "free";
  /** The block has 2^order pages; `undefined` if it is in no list that was found. */
  readonly order: number | undefined;
  /** Whose list it is in: the allocator's, a CPU's, or none that was found. */
  readonly list: "buddy" | "cpu" | undefined;
}

/** Where the kernel has its `struct page`s. */
export interface PageArrayOwner {
  readonly kind: "page structures";
  readonly virtual: bigint;
  /** The structure that the byte lies in is of this physical page. */
  readonly describes: number;
}

/** Memory that is set apart, and RAM or devices of which the kernel has no `struct page`. */
export interface ReservedOwner {
  readonly kind: "reserved" | "no page structure";
  /** What /proc/iomem calls the range; `undefined` if it does not name it. */
  readonly name: string | undefined;
}

/** The page, or the large page, of zeros. */
export interface ZeroOwner {
  readonly kind: "zero page";
  readonly isHuge: boolean;
}

/** Memory of which no more is known than what its `struct page` says. */
export interface PlainOwner {
  /** `anonymous`: memory of a process, but none that was found maps it. `kernel pages`: taken from the page allocator. */
  readonly kind: "anonymous" | "hugetlb" | "kernel pages" | "unknown";
  /** Names of its flags. */
  readonly flags: readonly string[];
  /** Its type, where it has one: "offline", "zsmalloc". */
  readonly type: string | undefined;
  /** It is one of 2^order pages. */
  readonly order: number | undefined;
  /** Why no more is known, if something could not be read. */
  readonly why: string | undefined;
}

/** One owner of a page, without which. */
export type Owner =
  | ProcessOwner
  | FileOwner
  | SwapCacheOwner
  | ImageOwner
  | CodeOwner
  | VmallocOwner
  | StackOwner
  | PerCpuOwner
  | TableOwner
  | SlabOwner
  | FreeOwner
  | PageArrayOwner
  | ReservedOwner
  | ZeroOwner
  | PlainOwner;

/** An owner of a physical address that was asked for. What could not be read of it is `undefined`; `OnDamage` was told why. */
export type PageOwner = Owner & {
  /** The address as it was asked for; of a range, the first one in the page. */
  readonly physical: number;
};

/** What a page can belong to. */
export type OwnerKind = Owner["kind"];
