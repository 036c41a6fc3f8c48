/** A dump with some of its pages left out: what others' filters take away, and what then is still to be found. */
import { convert, open } from "../../connectors/index.js";

const PAGE = 4096;
const PIECE = 1 << 20;

/** Whether a page has the kernel's banner in it, or what else begins like it. */
export const hasBanner = (page: Uint8Array): boolean => Buffer.from(page).includes("Linux version ");

/**
 * Writes the kdump `to`: `from` without the pages that `isLeftOut` names by their bytes or their physical address.
 *
 * @throws {Error} if that is none.
 */
export async function dumpWithout(
  from: string,
  to: string,
  isLeftOut: (page: Uint8Array, physical: number) => boolean,
): Promise<void> {
  const machine = await open(from, { kernel: "none" });
  try {
    if (machine.physical === undefined) throw new Error(`${from}: no physical memory`);
    const keep: { start: number; end: number }[] = [];
    let left = 0;
    for (const { start, end, state } of machine.physical.map.ranges()) {
      if (state !== "present") continue;
      for (let piece = start; piece < end; piece += PIECE) {
        const bytes = await machine.physical.read(piece, Math.min(PIECE, end - piece));
        for (let i = 0; i < bytes.length; i += PAGE) {
          const at = piece + i;
          const last = keep.at(-1);
          if (isLeftOut(bytes.subarray(i, i + PAGE), at)) left++;
          else if (last?.end === at) last.end += PAGE;
          else keep.push({ start: at, end: at + PAGE });
        }
      }
    }
    if (left === 0) throw new Error(`${from}: no page to leave out`);
    await convert(machine, to, { keep, vmcoreinfo: "note" });
  } finally {
    await machine.close();
  }
}
