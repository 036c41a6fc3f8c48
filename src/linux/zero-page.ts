/**
 * The kernel's pages of zeros, which it maps wherever memory was read that nobody has written to.
 *
 * mm/memory.c: `zero_pfn` is the frame of `empty_zero_page` (the image's on x86, arch/x86/kernel/head_64.S; in its bss on arm64,
 * arch/arm64/mm/mmu.c). mm/huge_memory.c: `huge_zero_pfn` is the first frame of the large one, all ones while there is none
 * (5.13, 3b77e8c8cde5); before, only `huge_zero_page` named it, a `struct page`.
 */
import { Io, type Routine } from "../io/index.js";
import { pointer } from "../memory/index.js";
import type { LinuxKernel } from "./kernel.js";
import { KallsymsError } from "./symbols/kallsyms-tables.js";

/** Where a kernel's pages of zeros lie: physical addresses. */
export interface ZeroPages {
  /** Bytes of a page. */
  readonly pageSize: number;
  /** The page of zeros; undefined if no symbol tells. */
  readonly page: number | undefined;
  /** The large page of zeros; undefined if there is none now, or no symbol tells. */
  readonly huge: number | undefined;
}

/** Bytes of a large page of zeros: what an entry of level 2 maps. */
function hugeSize(pageSize: number): number {
  return (pageSize * pageSize) / 8;
}

/** Finds a kernel's pages of zeros by its symbols; reads kallsyms, if nobody has yet. Never throws for what is not there. */
export function readZeroPages(kernel: LinuxKernel): Io<ZeroPages> {
  return Io.of(kernel.memory.scheduler, zeroPagesRoutine, kernel);
}

function* zeroPagesRoutine(kernel: LinuxKernel): Routine<ZeroPages> {
  const pageSize = kernel.vmcoreinfo.pageSize ?? 4096;
  const huge = yield* frameIn(kernel, "huge_zero_pfn");
  const frame = yield* frameIn(kernel, "zero_pfn");
  const page = frame === undefined ? yield* imagePage(kernel) : frame * pageSize;
  return { pageSize, page, huge: huge === undefined ? undefined : huge * pageSize };
}

/** A frame's number that a variable holds; undefined if it is none. */
function* frameIn(kernel: LinuxKernel, name: string): Routine<number | undefined> {
  const address = yield* addressOf(kernel, name);
  if (address === undefined) return undefined;
  const { memory } = kernel;
  const size = memory.pointerSize;
  const { bytes, holes } = yield* memory.readPartial(address, size);
  if (holes.length > 0) return undefined;
  const frame = pointer.under(memory.abi).get(bytes, 0);
  // Physical addresses have 52 bits at most: all ones are none.
  return frame > 0n && frame < 1n << 40n ? Number(frame) : undefined;
}

function* imagePage(kernel: LinuxKernel): Routine<number | undefined> {
  const address = yield* addressOf(kernel, "empty_zero_page");
  if (address === undefined) return undefined;
  const found = yield* kernel.memory.translate(address);
  return "physical" in found ? found.physical : undefined;
}

function* addressOf(kernel: LinuxKernel, name: string): Routine<bigint | undefined> {
  try {
    return (yield* kernel.loadKallsyms()).symbol(name)[0]?.address;
  } catch (error) {
    if (error instanceof KallsymsError) return undefined;
    throw error;
  }
}

/** Which page of zeros a physical address lies in, if it does. */
export function zeroPageAt(zero: ZeroPages, physical: number): "page" | "huge" | undefined {
  const { page, huge, pageSize } = zero;
  if (page !== undefined && physical >= page && physical < page + pageSize) return "page";
  if (huge !== undefined && physical >= huge && physical < huge + hugeSize(pageSize)) return "huge";
  return undefined;
}
