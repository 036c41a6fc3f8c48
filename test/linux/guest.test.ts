/** The committed kernel as that of a guest inside a host, which has its pages in shuffled frames. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/connectors.js";
import {
  type BoundView,
  findKernel,
  guestPhysical,
  layer,
  MemoryIo,
  PhysicalMap,
  PhysicalMapBuilder,
  PhysicalMemory,
  u64,
} from "../../src/index.js";
import { NestedTables } from "../support/write-nested.js";

const PAGE = 4096;
const MiB = 2 ** 20;
/** The guest has 112 MiB; the host its pages in the first 128, and the tables above. */
const FRAMES = 32_768;
const GUEST_PAGES = 28_672;
const TABLES = FRAMES * PAGE;

const frameOf = (page: number) => (page * 4_093 + 77) % FRAMES;

describe("a kernel in a guest inside", () => {
  let machine: Machine;
  let host: PhysicalMemory;
  let root: number;

  beforeAll(async () => {
    machine = await open("fixtures/linux-6.1-x86_64.kdump", { kernel: "none" });
    const dump = machine.physical as PhysicalMemory;
    const pageOf = new Int32Array(FRAMES).fill(-1);
    for (let page = 0; page < GUEST_PAGES; page++) pageOf[frameOf(page)] = page;
    // Tables in memory of their own.
    const bytes = new Uint8Array(MiB);
    let next = 0;
    const tables = new NestedTables(bytes, "ept", 4, () => TABLES + PAGE * next++, TABLES);
    for (let page = 0; page < GUEST_PAGES; page++) {
      tables.map({ guest: page * PAGE, host: frameOf(page) * PAGE, size: PAGE });
    }
    const tableIo = new MemoryIo(bytes);
    const io = layer<number>(dump.scheduler, (address, view: BoundView) => {
      let at = address;
      let rest: BoundView | undefined = view;
      while (rest !== undefined) {
        const piece: BoundView = rest;
        const room = PAGE - (at % PAGE);
        rest = piece.length > room ? piece.split(room) : undefined;
        const { length } = piece;
        const page = pageOf[Math.floor(at / PAGE)] ?? -1;
        if (at >= TABLES) tableIo.sendIo(at - TABLES, piece);
        else dump.sendIo(page < 0 ? 2 ** 40 : page * PAGE + (at % PAGE), piece);
        at += length;
      }
    });
    const map = new PhysicalMapBuilder();
    for (let frame = 0; frame < FRAMES; frame++) {
      const page = (pageOf[frame] as number) * PAGE;
      if (page < 0) continue;
      map.push(frame * PAGE, (frame + 1) * PAGE, dump.map.stateOf(page), dump.map.reasonOf(page));
    }
    map.push(TABLES, TABLES + bytes.length);
    host = new PhysicalMemory(io, { map: map.build() });
    root = tables.root;
  });
  afterAll(() => machine.close());

  it("is found by a scan of the guest's memory, with its symbols, and read", async () => {
    const guest = await guestPhysical(host, { root });
    expect([guest.mmu.name, guest.formatSource]).toEqual(["ept4", "tables"]);
    const kernel = await findKernel(guest, { map: guest.map });
    const truth = await machine.linux();
    expect([kernel.release, kernel.root, kernel.origin.verified]).toEqual([truth.release, truth.root, true]);
    const { address } = await kernel.symbol("init_task");
    expect(address).toBe((await truth.symbol("init_task")).address);
    expect(await kernel.memory.read(u64, address)).toBe(await truth.memory.read(u64, address));
    expect(await kernel.memory.translate(address)).toEqual(await truth.memory.translate(address));
  });

  it("has its memory as the dump has it: page by page the same is there, left out, and no RAM", async () => {
    const guest = await guestPhysical(host, { root });
    const wanted = machine.physical?.map as PhysicalMap;
    expect([...guest.map]).toEqual([...PhysicalMap.from(wanted)]);
  });
});
