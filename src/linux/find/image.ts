/** The kernel's image in its address space. */
import { archOf } from "../arch/index.js";
import type { ImageRange } from "./image-search.js";
import type { Vmcoreinfo } from "./vmcoreinfo.js";

export { KERNEL_MAP } from "../arch/x86-64.js";

/**
 * VMCOREINFO's symbols that are addresses in the kernel's image. (Some of its values are what a pointer of that name
 * holds, such as `mem_section`'s since Linux 4.15, 83e3c48729d9.)
 */
export function imageSymbols(info: Vmcoreinfo, arch = archOf(info)): Map<string, bigint> {
  // (Of a 32-bit kernel, that pointer may well lie as near as the image.)
  const isPointer = (name: string) => name === "mem_section" && arch.architecture === "i386";
  return new Map(
    [...info.symbols].filter(([name, address]) => !isPointer(name) && arch.isInImage(address, info)),
  );
}

/** How far beyond the symbols that are known the image is searched: tables lie between its text and its data, as these do. */
const BEYOND = 64n << 20n;

/** So that no table lies in neither of two ranges. */
const OVERLAP = 4096n;

/**
 * Where to search for kallsyms: among the symbols that are known and above them, then below. The lower half of an image, which
 * is text, comes with the latter, as it need not be read then: the token index was 53 to 74 % of the way in each of the seven
 * kernels of the fixtures.
 */
export function searchRanges(known: readonly bigint[]): ImageRange[] {
  const [first] = known;
  if (first === undefined) return [];
  let low = first;
  let high = first;
  for (const address of known) {
    if (address < low) low = address;
    if (address > high) high = address;
  }
  const middle = low + (high - low) / 2n;
  return [
    { start: middle, end: high + BEYOND < 1n << 64n ? high + BEYOND : 1n << 64n },
    { start: low > BEYOND ? low - BEYOND : 0n, end: middle + OVERLAP },
  ];
}
