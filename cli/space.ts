import type { MappedRange } from "../connectors/connectors.js";
import type { Address } from "../src/io/index.js";
import type { AddressSpace, PhysicalMap, RangeSpace } from "../src/memory/index.js";
import type { VirtualMemory } from "../src/paging/index.js";

/** Where a command reads: an address space, and what is known of its shape. */
export interface Space {
  /** For messages: "kernel", "physical memory". */
  readonly name: string;
  readonly memory: ReadableSpace;
  /** Its page tables, where it has some. */
  readonly virtual?: VirtualMemory | undefined;
  /** What of it exists, where it is physical memory. */
  readonly map?: PhysicalMap | undefined;
  /** The same memory as a list of ranges, where it is a process. */
  readonly ranges?: RangeSpace<MappedRange> | undefined;
}

/** What the command line needs of an address space. */
export type ReadableSpace = Pick<
  AddressSpace<Address>,
  "readPartial" | "writePartial" | "scheduler" | "name" | "abi"
>;
