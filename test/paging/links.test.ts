/** Addresses whose tables have been walked before are found through links: what those must not take for granted. */
import { expect, it } from "vitest";
import { MemoryIo, type PacketIo, Scheduler } from "../../src/io/index.js";
import { u64 } from "../../src/memory/index.js";
import { VirtualMemory, X86_64 } from "../../src/paging/index.js";
import { DummyMachine } from "../support/dummy-machine.js";

const PAGE = 4096;

/** RAM that notes where it is asked, and for how many bytes. */
function noting(bytes: Uint8Array): { io: PacketIo<number>; asked: [number, number][] } {
  const memory = new MemoryIo(bytes, { scheduler: new Scheduler() });
  const asked: [number, number][] = [];
  const io: PacketIo<number> = {
    scheduler: memory.scheduler,
    sendIo(address, view) {
      asked.push([address, view.length]);
      memory.sendIo(address, view);
    },
  };
  return { io, asked };
}

it("neighbours are read in one piece where their frames are neighbours, and only there", () => {
  const machine = new DummyMachine({ frames: 512 });
  const frame = 100 * PAGE;
  for (let at = frame; at < frame + 4 * PAGE; at += PAGE) machine.fill(at);
  // Twice the same frame, then the two behind it.
  const frames = [frame, frame, frame + PAGE, frame + 2 * PAGE];
  frames.forEach((physical, i) => {
    machine.map(0x7000_0000n + BigInt(i * PAGE), {}, 1, physical);
  });
  const { io, asked } = noting(machine.bytes);
  const memory = new VirtualMemory(io, { root: machine.root });
  const expected = Uint8Array.from(
    frames.flatMap((physical) => [...machine.bytes.subarray(physical, physical + PAGE)]),
  );
  for (const warm of [false, true]) {
    asked.length = 0;
    expect(memory.read(0x7000_0000n, 4 * PAGE).sync()).toEqual(expected);
    expect(memory.read(0x7000_0008n, 4 * PAGE - 8).sync()).toEqual(expected.subarray(8));
    const pages = [
      [frame, PAGE],
      [frame, 3 * PAGE],
      [frame + 8, PAGE - 8],
      [frame, 3 * PAGE],
    ];
    // The tables come first.
    expect(asked.slice(warm ? 0 : -4)).toEqual(pages);
  }
});

it("large pages that continue each other are read in one piece", () => {
  const machine = new DummyMachine({ frames: 2048 });
  machine.map(0x4000_0000n, {}, 2, 0x20_0000);
  machine.map(0x4020_0000n, {}, 2, 0x40_0000);
  machine.map(0x4040_0000n, {}, 2, 0x20_0000);
  const { io, asked } = noting(machine.bytes);
  const memory = new VirtualMemory(io, { root: machine.root });
  for (const at of [0x4000_0000n, 0x4020_0000n, 0x4040_0000n]) memory.translate(at).sync();
  asked.length = 0;
  memory.read(0x401f_f000n, 0x20_2000).sync();
  expect(asked).toEqual([
    [0x3f_f000, 0x20_1000],
    [0x20_0000, 0x1000],
  ]);
});

it("a format of other pages is not read as one of 4 KiB", () => {
  // As x86-64, but of 8 KiB pages: tables have as many entries, of other addresses.
  const mmu = {
    ...X86_64,
    name: "8 KiB pages",
    splits: [9, 9, 9, 9, 13],
    address: [13, 51] as const,
    reserved: [],
  };
  const bytes = new Uint8Array(1 << 20);
  const words = new BigUint64Array(bytes.buffer);
  const put = (table: number, index: number, target: number) => {
    words[table / 8 + index] = BigInt(target) | 7n;
  };
  const tables = [0x2000, 0x4000, 0x6000, 0x8000] as const;
  put(tables[0], 0, tables[1]);
  put(tables[1], 0, tables[2]);
  put(tables[2], 0, tables[3]);
  // Pages 0 to 7, in another order.
  const frames = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => 0x1_0000 + ((i * 5 + 3) % 8) * 0x2000);
  frames.forEach((frame, i) => {
    put(tables[3], i, frame);
    for (let at = frame; at < frame + 0x2000; at += 8) words[at / 8] = BigInt(at);
  });
  const memory = new VirtualMemory(new MemoryIo(bytes, { scheduler: new Scheduler() }), {
    root: tables[0],
    mmu,
  });
  for (let pass = 0; pass < 2; pass++) {
    frames.forEach((frame, i) => {
      for (const offset of [0, 0x1008, 0x1ff8]) {
        const at = i * 0x2000 + offset;
        expect(memory.translate(at).sync()).toMatchObject({ physical: frame + offset, pageSize: 0x2000 });
        expect(memory.read(u64, at).sync()).toBe(BigInt(frame + offset));
      }
    });
  }
});
