/**
 * `npm run bench`: ratios within one run, each against a stated limit. `-- --json` writes a line a row.
 * The bytes are those of the shipped dump, unpacked into one array, so that nothing but memtool is measured.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open, openFile } from "../../connectors/index.js";
import {
  AddressRanges,
  all,
  type Batch,
  MemoryIo,
  PhysicalMap,
  PhysicalMemory,
  Scheduler,
  type Source,
  SourceIo,
  u64,
  VirtualMemory,
} from "../../src/index.js";
import { copyPlain, gatherPlain, walkPlain } from "./limits.js";
import { type Measured, measure, print, type Row } from "./table.js";

const json = process.argv.includes("--json");
const time = process.argv.includes("--quick") ? 60 : 400;

const fixture = await open("fixtures/linux-6.1-x86_64.kdump");
if (fixture.physical === undefined) throw new Error("no physical memory");
const linux = await fixture.linux();
const size = fixture.physical.map.end;
const ram = new Uint8Array(size);
for (const { start, end } of fixture.physical.map.ranges()) {
  await fixture.physical.readPartial(start, ram.subarray(start, end));
}
await fixture.close();
const words = new Uint32Array(ram.buffer);

/** The array as a source that answers in batches, as a file or a card would. */
function ramSource(asynchronous: boolean): Source {
  const serve = (batch: Batch): void => {
    for (let row = 0; row < batch.length; row++) {
      const at = batch.address(row);
      const length = batch.lengths[row] as number;
      const into = batch.memory[row] as Uint8Array;
      const offset = batch.offsets[row] as number;
      if (length <= 64) for (let i = 0; i < length; i++) into[offset + i] = ram[at + i] as number;
      else into.set(ram.subarray(at, at + length), offset);
      batch.status[row] = 0;
    }
  };
  return {
    name: "ram",
    supports: { write: false, live: false },
    ranges: () => AddressRanges.single(0, size),
    ...(asynchronous ? { transfer: async (batch: Batch) => serve(batch) } : { transferSync: serve }),
  };
}

const COUNT = 1000;
let seed = 88172645;
const random = (below: number): number => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
};
const map = PhysicalMap.single(0, size);
const physicalOf = (io: SourceIo | MemoryIo) => new PhysicalMemory(io, { map, cacheBytes: 0 });
const inline = physicalOf(new MemoryIo(ram, { scheduler: new Scheduler() }));
const syncIo = new SourceIo(ramSource(false), new Scheduler());
const asyncIo = new SourceIo(ramSource(true), new Scheduler());
const queued = physicalOf(syncIo);
const queuedAsync = physicalOf(asyncIo);

const places = Float64Array.from({ length: COUNT }, () => random(size / 8 - 1) * 8);
const pages = Float64Array.from({ length: COUNT }, () => random(size / 4096) * 4096);
const page = new Uint8Array(4096);
let sink = 0;

const reads: Row[] = [
  {
    // A pass takes few microseconds, and the CPU clock counts whole ones.
    name: "loop: u64 at random",
    operations: 100 * COUNT,
    run: () => {
      for (let i = 0; i < 100; i++) sink += gatherPlain(words, places);
    },
  },
  {
    name: "read(u64).sync(), memory answers inline",
    operations: COUNT,
    limit: "loop: u64 at random",
    run: () => {
      for (let i = 0; i < COUNT; i++) sink += Number(inline.read(u64, places[i] as number).sync() & 1n);
    },
  },
  {
    name: "read(u64).sync(), through a batch each",
    operations: COUNT,
    limit: "loop: u64 at random",
    run: () => {
      for (let i = 0; i < COUNT; i++) sink += Number(queued.read(u64, places[i] as number).sync() & 1n);
    },
  },
  {
    name: "await read(u64), one by one",
    operations: COUNT,
    limit: "loop: u64 at random",
    run: async () => {
      for (let i = 0; i < COUNT; i++) sink += Number((await queuedAsync.read(u64, places[i] as number)) & 1n);
    },
  },
  {
    name: "await all(1,000 read(u64))",
    operations: COUNT,
    limit: "loop: u64 at random",
    run: () => all(Array.from(places, (at) => queuedAsync.read(u64, at))),
    note: async () => {
      const before = asyncIo.counters.batches;
      await all(Array.from(places, (at) => queuedAsync.read(u64, at)));
      return `${asyncIo.counters.batches - before} batch for 1,000 reads`;
    },
  },
  {
    name: "gather of 1,000 u64",
    operations: COUNT,
    limit: "loop: u64 at random",
    run: () => queued.gather(places, 8).sync(),
  },
  {
    name: "loop: copy 4 KiB at random",
    operations: COUNT,
    run: () => copyPlain(ram, pages, 4096, page),
  },
  {
    name: "readInto 4 KiB at random, inline",
    operations: COUNT,
    limit: "loop: copy 4 KiB at random",
    run: () => {
      for (let i = 0; i < COUNT; i++) inline.readInto(pages[i] as number, page).sync();
    },
  },
];

// The kernel's own mappings: addresses at random in what its page tables map.
const kernel = new VirtualMemory(inline, { root: linux.root });
const mapped = [...kernel.maps().sync()].filter(
  (run) => run.state === undefined && run.physical + Number(run.end - run.start) <= size,
);
const total = mapped.reduce((sum, run) => sum + Number(run.end - run.start), 0);
const anywhere = (align: number): bigint => {
  let at = random(total / align) * align;
  for (const run of mapped) {
    const length = Number(run.end - run.start);
    if (at < length) return run.start + BigInt(at);
    at -= length;
  }
  throw new Error("outside");
};
const MANY = 65_536;
const addresses = BigUint64Array.from({ length: MANY }, () => anywhere(8));
const addressWords = new Uint32Array(addresses.buffer);
const virtualPages = Array.from({ length: COUNT }, () => anywhere(4096));
const few = addresses.slice(0, COUNT);
const longest = mapped.reduce((a, b) => (b.end - b.start > a.end - a.start ? b : a));
const LONG = 4 * 1024 * 1024;
const block = new Uint8Array(LONG);
const sequential = Float64Array.of(longest.state === undefined ? longest.physical : 0);
let columns: Awaited<ReturnType<typeof kernel.translateMany>> | undefined;

const scattered = new SourceIo(ramSource(true), new Scheduler());
const cold = () => new VirtualMemory(physicalOf(scattered), { root: linux.root });

const virtual: Row[] = [
  {
    name: "loop: walk of four levels",
    operations: MANY,
    run: () => {
      for (let i = 0; i < MANY; i++) {
        sink += walkPlain(
          words,
          linux.root,
          addressWords[2 * i] as number,
          addressWords[2 * i + 1] as number,
        );
      }
    },
  },
  {
    name: "translateMany, tables cached",
    operations: MANY,
    limit: "loop: walk of four levels",
    run: () => {
      columns = kernel.translateMany(addresses, columns).sync();
    },
  },
  {
    name: "translate().sync(), one at a time",
    operations: COUNT,
    limit: "loop: walk of four levels",
    run: () => {
      for (let i = 0; i < COUNT; i++)
        sink += kernel.translate(few[i] as bigint).sync().state === undefined ? 1 : 0;
    },
  },
  {
    name: "loop: copy 4 MiB (counts pages)",
    operations: LONG / 4096,
    run: () => copyPlain(ram, sequential, LONG, block),
  },
  {
    name: "readInto 4 MiB, virtual (counts pages)",
    operations: LONG / 4096,
    limit: "loop: copy 4 MiB (counts pages)",
    run: () => kernel.readInto(longest.start, block).sync(),
  },
  {
    name: "loop: copy 4 KiB",
    operations: COUNT,
    run: () => copyPlain(ram, pages, 4096, page),
  },
  {
    name: "readInto 4 KiB at random, virtual, inline",
    operations: COUNT,
    limit: "loop: copy 4 KiB",
    run: () => {
      for (let i = 0; i < COUNT; i++) kernel.readInto(virtualPages[i] as bigint, page).sync();
    },
  },
  {
    name: "gather of 1,000 u64, virtual, inline",
    operations: COUNT,
    limit: "loop: walk of four levels",
    run: () => kernel.gather(few, 8).sync(),
  },
  {
    name: "1,000 reads of 8 bytes at once, cold tables",
    operations: COUNT,
    limit: "loop: walk of four levels",
    run: async () => {
      const space = cold();
      await all(Array.from(few, (at) => space.read(at, 8)));
    },
    note: async () => {
      const before = scattered.counters.batches;
      const space = cold();
      await all(Array.from(few, (at) => space.read(at, 8)));
      return `${scattered.counters.batches - before} batches for 1,000 reads through 4 levels`;
    },
  },
];

const directory = mkdtempSync(join(tmpdir(), "memtool-bench-"));
const results: Measured[] = [];
try {
  const path = join(directory, "ram");
  writeFileSync(path, ram);
  const fd = openSync(path, "r");
  const fileIo = new SourceIo(openFile(path), new Scheduler());
  const file = physicalOf(fileIo);
  const into = new Uint8Array(COUNT * 4096);
  const files: Row[] = [
    {
      name: "loop: readSync of 4 KiB at random",
      operations: COUNT,
      run: () => {
        for (let i = 0; i < COUNT; i++) readSync(fd, into, i * 4096, 4096, pages[i] as number);
      },
    },
    {
      name: "gather of 1,000 pages from a raw file",
      operations: COUNT,
      limit: "loop: readSync of 4 KiB at random",
      run: () => file.gather(pages, 4096, into).sync(),
    },
    {
      name: "read of a page, one at a time, from a raw file",
      operations: COUNT,
      limit: "loop: readSync of 4 KiB at random",
      run: () => {
        for (let i = 0; i < COUNT; i++) file.readInto(pages[i] as number, page).sync();
      },
    },
  ];
  results.push(...(await measure("physical reads", reads, time)));
  results.push(...(await measure("virtual memory", virtual, time)));
  results.push(...(await measure("a raw file", files, time)));
  closeSync(fd);
  await fileIo.close();
} finally {
  rmSync(directory, { recursive: true });
}
if (json) for (const row of results) console.log(JSON.stringify(row));
else print(results);
if (Number.isNaN(sink)) console.log(sink);
