/**
 * The kernel's hash tables: arrays of heads of chains.
 *
 * Facts: include/linux/list.h (`hlist_head`), include/linux/list_nulls.h (the end of a chain is an odd value),
 * include/linux/rhashtable.h (`bucket_table`, the lock's bit in a bucket).
 */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkChain } from "../objects/list.js";

/** More buckets than that are not believed. (The table of TCP has at most 2^19 by default; thash_entries may ask for more.) */
const MAX_BUCKETS = 1 << 24;
/** Bytes of a table that are read at once. */
const PIECE = 1 << 18;

/** Bytes from a head to the next: those of the kernel have up to 64. */
const MAX_STRIDE = 4096;

/** Where a table's heads lie. */
export interface Buckets {
  /** Of the first head. */
  readonly at: bigint;
  readonly count: number;
  /** Bytes from a head to the next. */
  readonly stride: number;
  /** Whether bit 0 of a head is a lock, rather than the mark of an empty chain. */
  readonly lockBit?: boolean;
}

/**
 * Every node of a table, in its order. Bounded: a table's pieces are read until one of them can't be at all, and a node
 * is read once: no two chains have one in common.
 */
export function* nodesOf(
  memory: AddressSpace,
  { at, count, stride, lockBit = false }: Buckets,
  what: string,
  report: OnDamage,
): Routine<bigint[]> {
  if (count > MAX_BUCKETS) {
    report(damage(what, at, "too long", 0, `${count} chains can't be`));
    return [];
  }
  if (stride < memory.pointerSize || stride > MAX_STRIDE) {
    report(damage(what, at, "invalid", 0, `heads of ${stride} bytes can't be`));
    return [];
  }
  const nodes = new Set<bigint>();
  // Chains that have come together, all of which might: told once.
  let isTold = false;
  const tell: OnDamage = (found) => {
    if (found.reason === "unreadable") report(found);
    else if (!isTold) {
      isTold = true;
      report(found);
    }
  };
  const step = Math.max(1, Math.floor(PIECE / stride));
  for (let from = 0; from < count; from += step) {
    const length = Math.min(step, count - from) * stride;
    const start = BigInt.asUintN(64, at + BigInt(from) * BigInt(stride));
    const { bytes, holes } = yield* memory.readPartial(start, length);
    for (const hole of holes) report(damage(what, start + BigInt(hole.start), "unreadable", hole.fault));
    for (const first of firstNodes(memory, bytes, stride, lockBit, holes)) {
      yield* walkChain(memory, first, what, tell, 0, nodes);
    }
    // Nothing of it is there: what is behind it is none either.
    if (holes.some((hole) => hole.start === 0 && hole.end === length)) break;
  }
  return [...nodes];
}

/** What the heads that are not empty hold. Most are empty: those cost a look at two words. */
function firstNodes(
  memory: AddressSpace,
  bytes: Uint8Array,
  stride: number,
  lockBit: boolean,
  holes: readonly { readonly start: number; readonly end: number }[],
): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { littleEndian, pointerSize } = memory.abi;
  const found: bigint[] = [];
  for (let at = 0; at + pointerSize <= bytes.length; at += stride) {
    const low = view.getUint32(littleEndian || pointerSize === 4 ? at : at + 4, littleEndian);
    const high = pointerSize === 4 ? 0 : view.getUint32(littleEndian ? at + 4 : at, littleEndian);
    if ((low | high) === 0 || ((low & 1) === 1 && !lockBit)) continue;
    if (holes.some((hole) => hole.start < at + pointerSize && hole.end > at)) continue;
    const first = (BigInt(high) << 32n) | BigInt((low & ~1) >>> 0);
    if (first !== 0n) found.push(first);
  }
  return found;
}
