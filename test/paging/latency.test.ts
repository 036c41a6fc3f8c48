/** Sources that are slow to answer and quick to deliver, as a DMA card: what counts is how few batches are asked for. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  all,
  type Batch,
  Io,
  type Routine,
  Scheduler,
  type Source,
  SourceIo,
} from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory, u64 } from "../../src/memory/index.js";
import { VirtualMemory } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";

const PAGE = 4096;
const LEVELS = 4;
const BATCH_US = 50;
const PAGE_US = 0.1;

/** A card: its clock is virtual, so that nothing waits and nothing depends on the machine. */
class Card {
  /** Microseconds. */
  clock = 0;
  batches = 0;
  readonly io: SourceIo;

  constructor(machine: DummyMachine) {
    const serve = (batch: Batch): void => {
      this.batches++;
      this.clock += BATCH_US;
      for (let row = 0; row < batch.length; row++) {
        const at = batch.address(row);
        const into = batch.bytes(row);
        for (let page = Math.floor(at / PAGE); page * PAGE < at + into.length; page++) {
          this.clock += PAGE_US;
        }
        into.set(machine.bytes.subarray(at - machine.base, at - machine.base + into.length));
        batch.done(row);
      }
    };
    const source: Source = {
      name: "card",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(machine.base, machine.base + machine.bytes.length),
      transfer: async (batch) => serve(batch),
    };
    this.io = new SourceIo(source, new Scheduler());
  }
}

/** A thousand pages all over the lower half, few of which share a table. */
function scattered(count: number) {
  const machine = new DummyMachine({ frames: 4 * count + 64, base: 2 ** 32, seed: 5 });
  const addresses: bigint[] = [];
  while (addresses.length < count) {
    const page = (BigInt(machine.random() % 2 ** 15) << 32n) | BigInt(machine.random());
    const address = (page & 0x7_ffff_ffffn) << 12n;
    // Three tables a page at most; those of 64 GiB regions are shared.
    const shared = ((address & 0x0fff_ffff_f000n) % (64n << 30n)) | (BigInt(addresses.length % 16) << 40n);
    if (machine.pages.has(shared >> 12n)) continue;
    machine.map(shared);
    addresses.push(shared + BigInt((machine.random() % 511) * 8));
  }
  return { machine, addresses };
}

const { machine, addresses } = scattered(1000);

/** The least time that reading them takes: a batch for each level and one for the data; each page once. */
const needed = new Set<number>();
for (const address of addresses) {
  for (let level = LEVELS; level > 0; level--) needed.add(Math.floor(machine.entryAt(address, level) / PAGE));
  needed.add((machine.pages.get(address >> 12n)?.physical ?? 0) / PAGE);
}
const least = (LEVELS + 1) * BATCH_US + needed.size * PAGE_US;

function memoryOf(card: Card, cacheBytes?: number): VirtualMemory {
  const map = PhysicalMap.single(machine.base, machine.base + machine.bytes.length);
  const physical = new PhysicalMemory(card.io, { map, cacheBytes });
  return new VirtualMemory(physical, { root: machine.root });
}

function truth(address: bigint): bigint {
  const page = machine.pages.get(address >> 12n);
  if (page === undefined) throw new Error("not mapped");
  return machine.readEntry(page.physical + Number(address & 0xfffn));
}

function* readInTask(memory: VirtualMemory, address: bigint): Routine<bigint> {
  return yield* memory.read(u64, address);
}

describe.each([
  ["with a page cache", undefined],
  ["without", 0],
])("a thousand scattered pages through four levels, %s", (_what, cacheBytes) => {
  const expected = addresses.map(truth);

  it.each<[string, (memory: VirtualMemory) => Promise<readonly bigint[]>]>([
    [
      "gathered",
      async (memory) => {
        const { bytes } = await memory.gather(addresses, 8);
        return [...new BigUint64Array(bytes.buffer, bytes.byteOffset, addresses.length)];
      },
    ],
    ["read side by side", async (memory) => all(addresses.map((at) => memory.read(u64, at)))],
    ["each read by a task of its own", (memory) => Promise.all(addresses.map((at) => memory.read(u64, at)))],
    [
      "each read by a routine of its own",
      async (memory) => all(addresses.map((at) => Io.of(memory.scheduler, readInTask, memory, at))),
    ],
    [
      "as whole pages",
      async (memory) => {
        const pages = await Promise.all(addresses.map((at) => memory.read(at - (at & 0xfffn), PAGE)));
        return pages.map((page, i) =>
          new DataView(page.buffer, page.byteOffset).getBigUint64(
            Number((addresses[i] as bigint) & 0xfffn),
            true,
          ),
        );
      },
    ],
  ])("%s, take at most 1.2 times the least possible time", async (_how, read) => {
    const card = new Card(machine);
    expect(await read(memoryOf(card, cacheBytes))).toEqual(expected);
    expect(card.batches).toBeLessThanOrEqual(LEVELS + 1);
    expect(card.clock).toBeLessThanOrEqual(1.2 * least);
  });
});

it("ten thousand tasks that each await small reads of their own, one after the other, travel in full batches", async () => {
  const card = new Card(machine);
  const memory = memoryOf(card);
  let right = 0;
  const task = async (i: number) => {
    // Tasks whose await depths differ, as code of people does.
    for (let k = 0; k < i % 4; k++) await null;
    const first = addresses[i % addresses.length] as bigint;
    if ((await memory.read(u64, first)) === truth(first)) right++;
    const second = addresses[(i * 7 + 1) % addresses.length] as bigint;
    if ((await memory.read(u64, second)) === truth(second)) right++;
  };
  await Promise.all(Array.from({ length: 10_000 }, (_, i) => task(i)));
  expect(right).toBe(20_000);
  // All pages are there after the first reads; the second ones are of the same pages.
  expect(card.batches).toBeLessThanOrEqual(LEVELS + 1);
  expect(card.clock).toBeLessThanOrEqual(1.2 * least);
});

it("ten thousand tasks on a source of which nothing is kept take two walks' worth of batches for two reads each", async () => {
  const card = new Card(machine);
  const map = PhysicalMap.single(machine.base, machine.base + machine.bytes.length);
  const physical = new PhysicalMemory(card.io, { map, live: true });
  const memory = new VirtualMemory(physical, { root: machine.root, live: true });
  let right = 0;
  const task = async (i: number) => {
    for (const k of [i, i * 7 + 1]) {
      const address = addresses[k % addresses.length] as bigint;
      if ((await memory.read(u64, address)) === truth(address)) right++;
    }
  };
  await Promise.all(Array.from({ length: 10_000 }, (_, i) => task(i)));
  expect(right).toBe(20_000);
  expect(card.batches).toBeLessThanOrEqual(2 * (LEVELS + 1));
});
