/** Memory for a foreign call to copy to, from where it is copied on. */
import { addressOf, type Ffi } from "./ffi.js";

const PAGE = 4096;
/**
 * Where in a page it begins. Copies by `rep movsb`, which kernels and C libraries use, are three to ten times slower where
 * the target lies up to 63 bytes further in its page than the source in its own (AMD, Zen 3 and later: glibc's bug 30994).
 * Large buffers of JavaScript's begin at 16, the pages of files and processes at 0; to here and from here it is fast.
 */
const IN_PAGE = 1024;

/** Memory, and the address of its first byte. */
export interface PlacedMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly address: number;
}

/** @param size Bytes. */
export function wellPlacedMemory(ffi: Ffi, size: number): PlacedMemory {
  const memory = new ArrayBuffer(size + PAGE);
  const base = Number(addressOf(ffi, new Uint8Array(memory)));
  const skipped = (IN_PAGE - (base & (PAGE - 1))) & (PAGE - 1);
  return { bytes: new Uint8Array(memory, skipped, size), address: base + skipped };
}
