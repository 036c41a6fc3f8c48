import type { PacketIo } from "../io/packet-io.js";
import type { PageSlab } from "../io/page-slab.hot.js";
import { AddressSpace } from "./address-space.js";
import { type PageCache, withPageCache } from "./page-cache.hot.js";
import type { PhysicalMap } from "./physical-map.js";
import { type Writes, WritesIo } from "./writes.js";

/** Options of {@link PhysicalMemory}. */
export interface PhysicalMemoryOptions {
  /** What there is; for people, for scans, and to tell which pages can be fetched whole. It refuses no read. */
  readonly map: PhysicalMap;
  /** The source changes by itself: nothing is cached beyond the batch that is under way. */
  readonly live?: boolean | undefined;
  /** Bound on the page cache, default 32 MiB; 0 for none. */
  readonly cacheBytes?: number | undefined;
  /** Where the layer below keeps pages: the page cache then keeps its own there, and has no other bound. */
  readonly slab?: PageSlab | undefined;
  /** For messages. */
  readonly name?: string | undefined;
  /** Bytes of `pointer`; default 8. */
  readonly pointerSize?: 4 | 8 | undefined;
  /** Byte order of types that have none of their own; default `true`. */
  readonly littleEndian?: boolean | undefined;
  /** The memory that it lies in, if it has no page cache of its own: what is written to that may have changed this. @internal */
  readonly host?: PhysicalMemory | undefined;
}

/** The physical memory of a machine: a map, a page cache and typed access over a layer of physical addresses. */
export class PhysicalMemory extends AddressSpace<number> {
  readonly map: PhysicalMap;
  readonly live: boolean;
  /** The cache that its reads go through, unless it has none. */
  readonly cache: PageCache | undefined;
  /** What was written through it: caches above it (of page tables) ask. @internal */
  readonly writes: Writes;

  constructor(io: PacketIo<number>, options: PhysicalMemoryOptions) {
    const { map, live = false, cacheBytes, slab, name = "physical memory" } = options;
    const { pointerSize, littleEndian, host } = options;
    const cache = cacheBytes === 0 ? undefined : withPageCache(io, { bytes: cacheBytes, live, map, slab });
    const uncached = new WritesIo(io, host?.writes);
    super(cache ?? uncached, { name, pointerSize, littleEndian, addressBits: 53 });
    this.map = map;
    this.live = live;
    this.cache = cache;
    this.writes = (cache ?? uncached).writes;
  }
}
