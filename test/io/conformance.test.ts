import {
  type Address,
  MemoryIo,
  type PacketIo,
  Scheduler,
  SourceIo,
  withFallback,
  withMapping,
  withSplitting,
} from "../../src/index.js";
import { delaying, memorySource, packetIoSuite, refusing } from "../suite/index.js";

const SIZE = 9000;
const pattern = () => Uint8Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 8)) & 255);
const missing = { bytes: 6, state: "outside" };

packetIoSuite("memory", () => {
  const bytes = pattern();
  return {
    io: new MemoryIo(bytes),
    base: 0,
    truth: () => bytes,
    writable: true,
    exchangeable: true,
    missing,
  };
});

packetIoSuite("read-only memory", () => {
  const bytes = pattern();
  return { io: new MemoryIo(bytes, { readOnly: true }), base: 0, truth: () => bytes, missing };
});

for (const mode of ["sync", "async", "both"] as const) {
  packetIoSuite(`a source that answers ${mode}`, () => {
    const bytes = pattern();
    const io = new SourceIo(memorySource(bytes, { mode, exchange: true, base: 0x1000 }), new Scheduler());
    return {
      io,
      base: 0x1000,
      truth: () => bytes,
      writable: true,
      exchangeable: true,
      asyncOnly: mode === "async",
      missing,
      close: () => io.close(),
    };
  });
}

packetIoSuite("a read-only source", () => {
  const bytes = pattern();
  return { io: new SourceIo(memorySource(bytes, { write: false })), base: 0, truth: () => bytes, missing };
});

packetIoSuite("splitting", () => {
  const bytes = pattern();
  const io = withSplitting(new MemoryIo(bytes), 5);
  return { io, base: 0, truth: () => bytes, writable: true, exchangeable: true, missing };
});

packetIoSuite("mapping", () => {
  const bytes = pattern();
  // The second half comes first.
  const half = SIZE / 2;
  const io = withMapping(new SourceIo(memorySource(bytes)), [
    { start: 0x8000, size: half, target: half },
    { start: 0x8000 + half, size: half, target: 0 },
  ]);
  const truth = () => Uint8Array.of(...bytes.subarray(half), ...bytes.subarray(0, half));
  return { io, base: 0x8000, truth, writable: true, missing };
});

packetIoSuite("delay", () => {
  const bytes = pattern();
  const io = delaying(new MemoryIo(bytes), 3);
  return { io, base: 0, truth: () => bytes, writable: true, exchangeable: true, asyncOnly: true, missing };
});

packetIoSuite("fallback", () => {
  const bytes = pattern();
  const io = withFallback(
    refusing(new MemoryIo(bytes), 3, (block) => block % 2 === 0),
    new SourceIo(memorySource(bytes, { exchange: true })),
  );
  return { io, base: 0, truth: () => bytes, writable: true, exchangeable: true, missing };
});

packetIoSuite("addresses as bigint, through a source at the top of 64 bits", () => {
  const bytes = pattern();
  const base = 2n ** 64n - 4096n * 3n;
  const source = memorySource(bytes, { base: Number(base), live: true });
  const io: PacketIo<Address> = new SourceIo(
    {
      ...source,
      transferSync(batch) {
        for (let row = 0; row < batch.length; row++) {
          const at = Number((batch.addresses[row] as bigint) - base);
          const mine = batch.bytes(row);
          if (batch.direction === "read") mine.set(bytes.subarray(at, at + mine.length));
          else bytes.set(mine, at);
          batch.done(row);
        }
      },
    },
    new Scheduler(),
  );
  return { io, base, truth: () => bytes, writable: true };
});
