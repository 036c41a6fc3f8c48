/** Page tables (x86-64, four levels) that map 4 GiB, of shuffled frames or in one piece. */
import { randomBelow, shuffled } from "./random.js";

/** Where they map: in the kernel's half. */
export const SYNTHETIC_BASE = 0xffff888000000000n;
export const SYNTHETIC_BYTES = 2 ** 32;
/** Physical address of the lowest frame; the frames fill as many bytes from there. */
export const FIRST_FRAME = 2 ** 30;

/** See {@link syntheticTables}. */
export interface SyntheticTables {
  /** All tables, from physical address 0 on, in a shuffled order. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array;
  readonly root: number;
  /** Physical addresses of the tables that translate a page, from the root on; then that of its frame. */
  readonly path: (page: number) => readonly number[];
  /** Addresses at random, and where they lead. */
  readonly random: (count: number) => { addresses: BigUint64Array<ArrayBuffer>; physical: Float64Array };
}

/**
 * Tables of 4 KiB pages take 8 MiB, those of 2 MiB pages 24 KiB. Nobody reads the frames.
 *
 * @param order Of the frames; the tables are always shuffled.
 */
export function syntheticTables(
  pageSize: 4096 | 2097152,
  order: "shuffled" | "contiguous" = "shuffled",
): SyntheticTables {
  const random = randomBelow();
  const pages = SYNTHETIC_BYTES / pageSize;
  const directories = SYNTHETIC_BYTES / 2 ** 30;
  const leafTables = pageSize === 4096 ? pages / 512 : 0;
  const places = shuffled(2 + directories + leafTables, random);
  const frames =
    order === "shuffled" ? shuffled(pages, random) : Uint32Array.from({ length: pages }, (_, i) => i);
  const tableAt = (i: number) => (places[i] as number) * 4096;
  const directoryAt = (i: number) => tableAt(2 + i);
  const leafTableAt = (i: number) => tableAt(2 + directories + i);
  const frameOf = (page: number) => FIRST_FRAME + (frames[page] as number) * pageSize;

  const bytes = new Uint8Array(places.length * 4096);
  const words = new Uint32Array(bytes.buffer);
  // Present, writable, accessed, dirty; 0x80: a large page.
  const put = (table: number, slot: number, target: number, flags = 0x63) => {
    const at = table / 4 + 2 * slot;
    words[at] = (target >>> 0) + flags;
    words[at + 1] = Math.floor(target / 2 ** 32);
  };
  const slotOf = (shift: bigint) => Number((SYNTHETIC_BASE >> shift) & 511n);
  const [root, pointers] = [tableAt(0), tableAt(1)];
  put(root, slotOf(39n), pointers);
  for (let i = 0; i < directories; i++) put(pointers, slotOf(30n) + i, directoryAt(i));
  for (let i = 0; i < leafTables; i++) put(directoryAt(i >>> 9), i & 511, leafTableAt(i));
  for (let page = 0; page < pages; page++) {
    if (pageSize === 4096) put(leafTableAt(page >>> 9), page & 511, frameOf(page));
    else put(directoryAt(page >>> 9), page & 511, frameOf(page), 0xe3);
  }
  return {
    bytes,
    words,
    root,
    path: (page) =>
      pageSize === 4096
        ? [root, pointers, directoryAt(page >>> 18), leafTableAt(page >>> 9), frameOf(page)]
        : [root, pointers, directoryAt(page >>> 9), frameOf(page)],
    random: (count) => {
      const addresses = new BigUint64Array(count);
      const physical = new Float64Array(count);
      for (let i = 0; i < count; i++) {
        const page = random(pages);
        const offset = random(pageSize);
        addresses[i] = SYNTHETIC_BASE + BigInt(page * pageSize + offset);
        physical[i] = frameOf(page) + offset;
      }
      return { addresses, physical };
    },
  };
}
