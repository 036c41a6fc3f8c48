import { hostWasm } from "../../connectors/host-wasm.js";
import {
  MemoryIo,
  type MmuDef,
  PhysicalMap,
  PhysicalMemory,
  type Root,
  Scheduler,
  TableCache,
  VirtualMemory,
} from "../../src/index.js";

/**
 * An address space whose physical memory is an array: nothing is read from anywhere, and nothing cached.
 *
 * @param options `plain`: without WebAssembly. `mmu`: the format of its tables; default x86-64's.
 */
export function memorySpace(
  bytes: Uint8Array,
  root: Root,
  options: { readonly plain?: boolean; readonly mmu?: MmuDef } = {},
): VirtualMemory {
  const scheduler = new Scheduler();
  const map = PhysicalMap.single(0, bytes.length);
  const physical = new PhysicalMemory(new MemoryIo(bytes, { scheduler }), { map, cacheBytes: 0 });
  const { plain = false, mmu } = options;
  const tableCache = new TableCache({ wasm: plain ? undefined : hostWasm, mmu });
  return new VirtualMemory(physical, { root, tableCache, ...(mmu === undefined ? {} : { mmu }) });
}
