/** What is told of a file that is cached in memory. */
import type { FileType } from "../files/file-flags.js";

/** A file by its name, before its pages are looked at. */
export interface CachedName {
  /** Without " (deleted)"; `undefined` for what has no name (a block device's own cache), and if a part of it can't be read. */
  readonly path: string | undefined;
  /** Whether it has no name, or no links, any more: it is there as long as somebody has it open or mapped. */
  readonly deleted: boolean;
  readonly inode: bigint | undefined;
  /** Major and minor number of its file system: `8:1`. */
  readonly device: string | undefined;
  /** "ext4", "tmpfs"; "bdev" for block devices. */
  readonly fileSystem: string | undefined;
  readonly type: FileType | undefined;
  /** Of the cache of a block device itself: its numbers. `null` for files. */
  readonly blockDevice: string | null | undefined;
  /** Bytes that the inode says it has; rounded above 2^53. Nothing is known of how much of it there is. */
  readonly size: number | undefined;
  /** Names that it has on its file system. */
  readonly links: number | undefined;
  /** Processes that have it open, or map it; ascending. */
  readonly pids: readonly number[];
  /** Address of its `struct inode`. */
  readonly address: bigint;
}

/** Bytes of a file, half-open. */
export interface FileRange {
  readonly start: number;
  readonly end: number;
}

/** Bytes of a file that lie one behind the other in physical memory. Not beyond the file's size. */
export interface CachedRun extends FileRange {
  /** Physical address of `start`. */
  readonly physical: number;
  /** Not written to the disk yet. */
  readonly dirty: boolean;
  /** Being written to it. */
  readonly writeback: boolean;
  /** Whether it holds the file's bytes: a page that is still being read, or only set apart, does not. */
  readonly uptodate: boolean;
}

/** Bytes of a file in memory (tmpfs, shared memory) that are in a swap area. */
export interface SwappedRun extends FileRange {
  /** Number of the swap area. */
  readonly area: number;
  /** Of `start` in the area, in bytes. */
  readonly offset: number;
}

/** What is in memory of a file. */
export interface CachedContent {
  /** Bytes that the inode says it has; rounded above 2^53. Nothing is known of how much of it there is. */
  readonly size: number | undefined;
  /** Where all its pages are, ascending. */
  readonly runs: readonly CachedRun[];
  readonly swapped: readonly SwappedRun[];
  /** Entries for pages that were thrown out, kept to know them again ("shadows"). */
  readonly evicted: number;
  /** Pages that are the storage itself (DAX), which are not looked at. */
  readonly dax: number;
  /** Whether its file system has no other place for files than memory: what has no page there is zeros. */
  readonly inMemory: boolean;
  /** Whether all entries could be read: without, a page that is not listed may be there all the same. */
  readonly whole: boolean;
}

/** A file that has pages in memory. */
export interface CachedFile extends CachedName, CachedContent {
  readonly size: number | undefined;
  /** Bytes of it that are in memory and hold what the file does. */
  readonly cached: number;
  /** Where those are in the file: what `mincore` says. Ascending, none touches the next. */
  readonly ranges: readonly FileRange[];
}
