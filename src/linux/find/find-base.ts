/**
 * Finds where RAM begins whose bytes are taken to begin at 0: a raw image says nothing of it. On many machines (arm64, riscv64) RAM
 * begins elsewhere, and no address that a kernel tells leads anywhere then.
 *
 * The kernel's `init_uts_ns` is known by its text, VMCOREINFO says where it should be, and the page tables judge.
 */
import { type PacketIo, type Routine, readPartial } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { encodeUtf8 } from "../../memory/text.js";
import { scanPieces } from "./scan-order.js";
import type { Vmcoreinfo } from "./vmcoreinfo.js";

const PAGE = 4096;
const PIECE = 1 << 20;
/** Places of which the tables are walked: each namespace has such a text, few of them at the same place of a page. */
const MAX_TRIED = 64;
/** `UTS_SYSNAME` (include/linux/uts.h), as it begins `struct new_utsname`. */
const SYSNAME = encodeUtf8("Linux\0");

/**
 * @param offset What is added to an address of the image for its physical one.
 * @param holds  Whether the kernel's page tables map its symbols, were RAM to begin at a base.
 * @returns the physical address of the first byte; `undefined` if it can't be told, or there is more than one range of RAM.
 */
export function* findBase(
  physical: PacketIo<number>,
  map: PhysicalMap,
  { symbols, offsets }: Vmcoreinfo,
  offset: bigint,
  holds: (base: number) => Routine<boolean>,
): Routine<number | undefined> {
  const namespace = symbols.get("init_uts_ns");
  const name = offsets.get("uts_namespace.name");
  if (namespace === undefined || name === undefined || !map.isPresent(0, map.end)) return undefined;
  const wanted = Number(BigInt.asUintN(64, namespace + offset)) + name;
  const inPage = wanted % PAGE;
  if (!Number.isSafeInteger(wanted) || inPage + SYSNAME.length > PAGE) return undefined;
  const memory = new Uint8Array(PIECE);
  let tried = 0;
  for (const { start, end, zero } of scanPieces({ map }, { start: 0, end: map.end }, PIECE)) {
    if (zero) continue;
    const { bytes, holes } = yield* readPartial(physical, start, memory.subarray(0, end - start));
    for (const hole of holes) bytes.fill(0, hole.start, hole.end);
    for (let at = (inPage + PAGE - (start % PAGE)) % PAGE; at + SYSNAME.length <= bytes.length; at += PAGE) {
      const base = wanted - (start + at);
      if (base <= 0 || !SYSNAME.every((byte, i) => bytes[at + i] === byte)) continue;
      if (yield* holds(base)) return base;
      if (++tried === MAX_TRIED) return undefined;
    }
  }
  return undefined;
}
