/**
 * A source that is far away: 50 µs a batch and 0.1 µs a page, as a DMA card. Its time is a virtual clock's, which only
 * its transfers move; the CPU time that memtool takes is measured and added. Against it stands the least possible time:
 * one batch a level and one for the pages, each page once, and no CPU time at all.
 */
import { hostWasm } from "../../../connectors/host-wasm.js";
import {
  AddressRanges,
  all,
  type Batch,
  PhysicalMap,
  PhysicalMemory,
  Scheduler,
  SourceIo,
  TableCache,
  u64,
  VirtualMemory,
} from "../../../src/index.js";
import { cpuMilliseconds } from "../measure.js";
import { randomBelow } from "../random.js";
import type { Group, Ready, Row, Timed } from "../row.js";
import { FIRST_FRAME, SYNTHETIC_BASE, SYNTHETIC_BYTES, syntheticTables } from "../synthetic-tables.js";
import { lazy } from "../work-folder.js";

const BATCH_MS = 0.05;
const PAGE_MS = 0.0001;

const tables = lazy(() => syntheticTables(4096));

/**
 * The card, and a space over its memory. It is live, as cards are: nothing that an earlier run has read may be used
 * again. The first word of each frame is its number; the rest is left alone.
 */
class Card {
  /** Milliseconds that the transfers took. */
  clock = 0;
  /** CPU milliseconds that the card's part of this program took: a real one's would take none. */
  cpu = 0;
  readonly io: SourceIo;
  readonly memory: VirtualMemory;

  constructor() {
    const scheduler = new Scheduler();
    const end = FIRST_FRAME + SYNTHETIC_BYTES;
    this.io = new SourceIo(
      {
        name: "card",
        supports: { write: false, live: true },
        ranges: () => AddressRanges.single(0, end),
        transfer: async (batch) => this.#transfer(batch),
      },
      scheduler,
    );
    const map = PhysicalMap.single(0, end);
    const physical = new PhysicalMemory(this.io, { map, live: true });
    const tableCache = new TableCache({ wasm: hostWasm });
    this.memory = new VirtualMemory(physical, { root: tables().root, live: true, tableCache });
  }

  #transfer(batch: Batch): void {
    const start = cpuMilliseconds();
    const { bytes } = tables();
    let pages = 0;
    for (let row = 0; row < batch.length; row++) {
      const at = batch.address(row);
      const length = batch.lengths[row] as number;
      const into = batch.bytes(row);
      pages += Math.floor((at + length - 1) / 4096) - Math.floor(at / 4096) + 1;
      if (at < bytes.length) {
        into.set(bytes.subarray(at, at + length));
      } else {
        for (let page = Math.ceil(at / 4096); page * 4096 < at + length; page++) {
          const word = page * 4096 - at;
          for (let i = 0; i < 8; i++) into[word + i] = i < 4 ? page >>> (8 * i) : 0;
        }
      }
      batch.done(row);
    }
    this.clock += BATCH_MS + PAGE_MS * pages;
    this.cpu += cpuMilliseconds() - start;
  }
}

/** Pages at random, each once. */
function pagesAtRandom(count: number): number[] {
  const random = randomBelow();
  const pages = new Set<number>();
  while (pages.size < count) pages.add(random(SYNTHETIC_BYTES / 4096));
  return [...pages];
}

/** Milliseconds in which the pages could be there at best. */
function leastTime(pages: readonly number[]): number {
  const levels = 5;
  const each = Array.from({ length: levels }, () => new Set<number>());
  for (const page of pages) for (const [level, at] of tables().path(page).entries()) each[level]?.add(at);
  return each.reduce((sum, { size }) => sum + BATCH_MS + PAGE_MS * size, 0);
}

const sumOfFrames = (pages: readonly number[]) =>
  pages.reduce((sum, page) => sum + (tables().path(page)[4] as number) / 4096, 0);

/** A row, and the least time as its limit. */
function rows(
  label: string,
  count: number,
  ways: Readonly<
    Record<string, (memory: VirtualMemory, virtual: BigUint64Array<ArrayBuffer>) => Promise<number>>
  >,
  goal?: number,
): Row[] {
  const limit = `least possible time, ${label}`;
  return [
    {
      name: limit,
      operations: count,
      isLimit: true,
      samples: 1,
      prepare: () => {
        const time = leastTime(pagesAtRandom(count));
        return { run: () => ({ cpu: time, wall: time, checksum: 0 }) };
      },
    },
    ...Object.entries(ways).map(
      ([name, read]): Row => ({
        name,
        operations: count,
        against: [{ limit, goals: goal === undefined ? [] : [{ name: "goal", ratio: goal }] }],
        prepare: (): Ready => {
          const pages = pagesAtRandom(count);
          const virtual = BigUint64Array.from(pages, (page) => SYNTHETIC_BASE + BigInt(page * 4096));
          const card = new Card();
          let batches = 0;
          const run = async (): Promise<Timed> => {
            const { clock, cpu, io } = card;
            const before = io.counters.batches;
            const started = performance.now();
            const used = cpuMilliseconds();
            const checksum = await read(card.memory, virtual);
            const theirs = card.cpu - cpu;
            const own = cpuMilliseconds() - used - theirs;
            const waited = performance.now() - started - theirs;
            batches = io.counters.batches - before;
            return { cpu: card.clock - clock + own, wall: card.clock - clock + waited, checksum };
          };
          return { run, expected: sumOfFrames(pages), note: () => `${batches} batches` };
        },
      }),
    ),
  ];
}

const into = new Uint8Array(1000 * 4096);
const intoPages = Array.from({ length: 1000 }, (_, i) => into.subarray(4096 * i, 4096 * (i + 1)));
const intoWords = new Uint32Array(into.buffer);

/** The first words of the pages, of which there are as many as there were addresses. */
function sumOfWords(): number {
  let sum = 0;
  for (let at = 0; at < intoWords.length; at += 1024) sum += intoWords[at] as number;
  return sum;
}

export const latency: Group = {
  name: "latency",
  title: "A far source: virtual clock + CPU time",
  rows: [
    ...rows(
      "1,000 pages",
      1000,
      {
        "gather of 1,000 scattered pages": async (memory, virtual) => {
          await memory.gather(virtual, 4096, into);
          return sumOfWords();
        },
        "await all of 1,000 readInto of a page": async (memory, virtual) => {
          await all(intoPages.map((page, i) => memory.readInto(virtual[i] as bigint, page)));
          return sumOfWords();
        },
      },
      1 / 1.2,
    ),
    ...rows("10,000 tasks", 10_000, {
      "10,000 tasks await a read of 8 B each": async (memory, virtual) => {
        let sum = 0;
        const task = async (at: bigint, i: number) => {
          // They do not all come to their read in the same microtask.
          for (let turn = 0; turn < i % 3; turn++) await null;
          const frame = await memory.read(u64, at);
          sum += Number(frame);
        };
        await Promise.all(Array.from(virtual, task));
        return sum;
      },
    }),
  ],
};
