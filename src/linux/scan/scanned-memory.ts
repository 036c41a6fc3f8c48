/** What memory a scan goes through, and where the kernel has it mapped. */
import type { ByteRange, Routine } from "../../io/index.js";
import { PhysicalMemory } from "../../memory/physical-memory.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { findPageArray } from "../pages/index.js";

/** Virtual less physical address in the linear map, by what lies there: the first of these addresses that is mapped. @internal */
export function* linearOffset(
  data: KernelData,
  addresses: Iterable<bigint>,
  what: string,
  report: OnDamage,
): Routine<bigint> {
  for (const address of addresses) {
    const found = yield* data.memory.translate(address);
    if ("physical" in found) return address - BigInt(found.physical as number);
  }
  report(damage("the linear map", 0n, "invalid", 0, `no listed ${what} tells where it is`));
  return 0n;
}

/** Physical memory that is there; where nothing tells, that of which the kernel has page structures. @internal */
export function* presentRanges(data: KernelData, report: OnDamage): Routine<ByteRange[]> {
  const { physical } = data.kernel.memory;
  if (physical instanceof PhysicalMemory) {
    return [...physical.map.ranges()].filter(({ state }) => state === "present");
  }
  const array = yield* findPageArray(data, report);
  const size = array.pageSize;
  return array.frames.map(({ start, end }) => ({ start: start * size, end: end * size }));
}
