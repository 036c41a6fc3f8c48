import { hostWasm } from "../../connectors/host-wasm.js";
import {
  MemoryIo,
  PhysicalMap,
  PhysicalMemory,
  Scheduler,
  TableCache,
  VirtualMemory,
} from "../../src/index.js";

/**
 * An address space whose physical memory is an array: nothing is read from anywhere, and nothing cached.
 *
 * @param options `plain`: without WebAssembly.
 */
export function memorySpace(
  bytes: Uint8Array,
  root: number,
  options: { readonly plain?: boolean } = {},
): VirtualMemory {
  const scheduler = new Scheduler();
  const map = PhysicalMap.single(0, bytes.length);
  const physical = new PhysicalMemory(new MemoryIo(bytes, { scheduler }), { map, cacheBytes: 0 });
  const tableCache = new TableCache({ wasm: options.plain === true ? undefined : hostWasm });
  return new VirtualMemory(physical, { root, tableCache });
}
