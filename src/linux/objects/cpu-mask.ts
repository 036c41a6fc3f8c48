/**
 * Sets of CPUs.
 *
 * Facts: include/linux/cpumask.h, cpumask_types.h (`struct cpumask`: a bit for each CPU, in words; `cpumask_var_t` is a pointer to one
 * with CONFIG_CPUMASK_OFFSTACK, and else the mask itself).
 */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import type { TypeTable } from "../types/type-table.js";
import { damage, type OnDamage } from "./damage.js";
import { pointersIn } from "./pointers.js";
import { needStruct } from "./record.js";

/** NR_CPUS is at most that (arch/x86/Kconfig, MAXSMP). */
export const MAX_CPUS = 8192;

/** The CPUs of a mask, ascending. */
export function cpusIn(memory: AddressSpace, bytes: Uint8Array): number[] {
  const bits = 8 * memory.pointerSize;
  return pointersIn(memory, bytes).flatMap((word, i) => {
    const found: number[] = [];
    for (let bit = 0; bit < bits; bit++) if ((word >> BigInt(bit)) & 1n) found.push(i * bits + bit);
    return found;
  });
}

/** Bytes of a mask's words that have bits of CPUs up to `last`. */
export function maskBytes(memory: AddressSpace, last: number): number {
  return (Math.floor(last / (8 * memory.pointerSize)) + 1) * memory.pointerSize;
}

/**
 * The masks that a member of type `cpumask_var_t` of some structures stands for.
 *
 * @param last Number of the last CPU: no more of the masks is read.
 * @returns `undefined` for those that can't be read; empty ones for null pointers.
 */
export function* readCpuMasks(
  memory: AddressSpace,
  types: TypeTable,
  { struct, path }: { readonly struct: string; readonly path: string },
  structures: readonly bigint[],
  last: number,
  report: OnDamage,
): Routine<(readonly number[] | undefined)[]> {
  const member = findPlace(needStruct(types, struct), path);
  if (member === undefined) return structures.map(() => undefined);
  const offset = BigInt(Math.floor(member.bitOffset / 8));
  let masks: (bigint | undefined)[] = structures.map((address) => BigInt.asUintN(64, address + offset));
  if (stripped(member.type).kind === "pointer") {
    const gathered = yield* memory.gather(masks as bigint[], memory.pointerSize);
    masks = masks.map((_, i) => {
      const bytes = gathered.at(i);
      return bytes === undefined ? undefined : pointersIn(memory, bytes)[0];
    });
  }
  const wanted = [...new Set(masks)].filter((each) => each !== undefined && each !== 0n) as bigint[];
  const gathered = yield* memory.gather(wanted, maskBytes(memory, last));
  const found = new Map<bigint, readonly number[]>([[0n, []]]);
  for (const [i, address] of wanted.entries()) {
    const bytes = gathered.at(i);
    if (bytes === undefined) report(damage("a set of CPUs", address, "unreadable", gathered.faultOf(i)));
    else
      found.set(
        address,
        cpusIn(memory, bytes).filter((cpu) => cpu <= last),
      );
  }
  return masks.map((mask) => (mask === undefined ? undefined : found.get(mask)));
}

/** The CPUs of a mask in memory, up to `last`; `undefined` if it can't be read. */
export function* cpusAt(
  memory: AddressSpace,
  at: bigint,
  last: number,
  report: OnDamage,
): Routine<number[] | undefined> {
  const { bytes, holes } = yield* memory.readPartial(at, maskBytes(memory, last));
  const hole = holes[0];
  if (hole === undefined) return cpusIn(memory, bytes).filter((cpu) => cpu <= last);
  report(damage("a set of CPUs", at, "unreadable", hole.fault));
  return undefined;
}
