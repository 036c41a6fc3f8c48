import {
  AddressSpace,
  MemoryIo,
  PhysicalMap,
  PhysicalMemory,
  Scheduler,
  SourceIo,
  withPageCache,
} from "../../src/index.js";
import { memorySource, packetIoSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";

const SIZE = 5 * 4096 + 77;
const missing = { bytes: 30, state: "outside" };

for (const mode of ["sync", "async"] as const) {
  const source = (bytes: Uint8Array) =>
    new SourceIo(memorySource(bytes, { mode, exchange: true }), new Scheduler());
  packetIoSuite(`the page cache over a source that answers ${mode}`, () => {
    const bytes = pattern(SIZE, 1);
    const io = withPageCache(source(bytes), { bytes: 3 * 4096 });
    const asyncOnly = mode === "async";
    return { io, base: 0, truth: () => bytes, writable: true, exchangeable: true, asyncOnly, missing };
  });
  packetIoSuite(`physical memory over a source that answers ${mode}`, () => {
    const bytes = pattern(SIZE, 2);
    const io = new PhysicalMemory(source(bytes), { map: PhysicalMap.single(0, SIZE) });
    const asyncOnly = mode === "async";
    return { io, base: 0, truth: () => bytes, writable: true, exchangeable: true, asyncOnly, missing };
  });
}

packetIoSuite("an address space", () => {
  const bytes = pattern(SIZE, 3);
  const io = new AddressSpace(new MemoryIo(bytes));
  return { io, base: 0, truth: () => bytes, writable: true, exchangeable: true, missing };
});
