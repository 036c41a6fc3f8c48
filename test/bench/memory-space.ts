import { MemoryIo, PhysicalMap, PhysicalMemory, Scheduler, VirtualMemory } from "../../src/index.js";

/** An address space whose physical memory is an array: nothing is read from anywhere, and nothing cached. */
export function memorySpace(bytes: Uint8Array, root: number): VirtualMemory {
  const scheduler = new Scheduler();
  const map = PhysicalMap.single(0, bytes.length);
  const physical = new PhysicalMemory(new MemoryIo(bytes, { scheduler }), { map, cacheBytes: 0 });
  return new VirtualMemory(physical, { root });
}
