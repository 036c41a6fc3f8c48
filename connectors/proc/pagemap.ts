/** Where the pages of a process are: /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
import { readSync } from "node:fs";

/** A page of a process as its system tells it. */
export interface ProcessPage {
  /** Address of its first byte. */
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
  /** `none`: nothing is there yet (or no more); it comes when it is touched, from its file or as zeros. */
  readonly state: "present" | "swapped" | "none";
  /** Physical address of a present page; `undefined` where the system does not tell (see `ProcessSource.noFrames`). */
  readonly physical?: number | undefined;
  /**
   * Of a swapped page: the area's number in the order of /proc/swaps, and its slot there, in pages; `undefined` where the system
   * does not tell (since 4.18 only those with CAP_SYS_ADMIN are told), and for a page that is in no area but just being moved, or in a device's memory.
   */
  readonly swap?: { readonly area: number; readonly slot: number } | undefined;
  /** Written to since soft-dirty bits were cleared last (/proc/PID/clear_refs), or since it was mapped. */
  readonly softDirty: boolean;
  /** No other process maps it. */
  readonly exclusive: boolean;
  /** It is of a file or of shared memory, not the process's own. */
  readonly file: boolean;
  /** userfaultfd protects it against writing (since Linux 5.13). */
  readonly writeProtected: boolean;
  /** It lies in a guard region (since 6.15). */
  readonly guard: boolean;
}

/** Pages that are asked for in one call: 64 KiB of entries. */
const CHUNK = 8192;
const NOTHING_THERE = new Uint32Array(0);

/** An open pagemap. */
export class Pagemap {
  readonly #fd: number;
  readonly #pageSize: number;
  readonly #words = new Uint32Array(2 * CHUNK);

  constructor(fd: number, pageSize: number) {
    this.#fd = fd;
    this.#pageSize = pageSize;
  }

  /** The pages from `start` up to `end`, ascending; none any more once the address space is gone. */
  *pages(start: bigint, end: bigint): Generator<ProcessPage, void, void> {
    const size = BigInt(this.#pageSize);
    let vpn = Number(start / size);
    const last = Number((end + size - 1n) / size);
    while (vpn < last) {
      const words = this.#read(vpn, Math.min(CHUNK, last - vpn));
      const count = words.length / 2;
      if (count === 0) return;
      // The column is used again by whoever asks meanwhile.
      const entries = words.slice();
      for (let i = 0; i < count; i++) {
        yield parseEntry(
          BigInt(vpn + i) * size,
          this.#pageSize,
          entries[2 * i] as number,
          entries[2 * i + 1] as number,
        );
      }
      vpn += count;
    }
  }

  #read(vpn: number, count: number): Uint32Array {
    const bytes = new Uint8Array(this.#words.buffer, 0, 8 * count);
    const got = readSync(this.#fd, bytes, 0, bytes.length, vpn * 8);
    return got < 8 ? NOTHING_THERE : this.#words.subarray(0, 2 * Math.floor(got / 8));
  }
}

/** Areas that a kernel has at least (MAX_SWAPFILES); the numbers from there to 31 are for entries that name no slot. */
const AREAS = 23;
/** The last one: a mark where no page is, for guard regions and userfaultfd (SWP_PTE_MARKER). */
const MARKER = 31;

/** Whether one of a pagemap's entries, here its low and high word, says so: bits 63 to 55 (fs/proc/task_mmu.c). */
export function parseEntry(address: bigint, size: number, low: number, high: number): ProcessPage {
  const has = (bit: number) => (high & (1 << (bit - 32))) !== 0;
  const present = has(63);
  const area = low & 31;
  const swapped = !present && has(62) && !has(58) && area !== MARKER;
  // Bits 0 to 54: the frame, which is 0 for those who may not know it; or the area (5 bits) and the slot (50, so in two parts).
  const top = high & 0x7f_ffff;
  const frame = top * 2 ** 32 + low;
  const where = present
    ? { physical: frame === 0 ? undefined : frame * size }
    : swapped
      ? // (Slot 0 of an area is its header.)
        { swap: frame === 0 || area >= AREAS ? undefined : { area, slot: top * 2 ** 27 + (low >>> 5) } }
      : {};
  return {
    address,
    size,
    state: present ? "present" : swapped ? "swapped" : "none",
    ...where,
    softDirty: has(55),
    exclusive: has(56),
    file: has(61),
    writeProtected: has(57),
    guard: has(58),
  };
}
