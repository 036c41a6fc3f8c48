/**
 * Dumps of one guest in every form: what opening one costs, and how fast its memory is read, beside `pread` of the raw image.
 */
import { pathToFileURL } from "node:url";
import { type Machine, open } from "../../../connectors/index.js";
import { cProgram } from "../c-programs.js";
import { costOf } from "../child.js";
import { PAGE } from "../dumps/guest.js";
import { type DumpKind, dropDump, dumpOf, guest, KINDS, rawDump } from "../dumps/kinds.js";
import { cpuMilliseconds } from "../measure.js";
import { randomBelow } from "../random.js";
import type { Group, Ready, Row } from "../row.js";
import { lazy, writeNumbers } from "../work-folder.js";

const MIB = 2 ** 20;
/** MiB beyond Node's own: the same bound as of the command. */
const BOUND = 150;
/** Pages in one call of a row that reads at random. */
const RANDOM = 256;
/** Pages that rows go through before they begin again: four times what a cache holds. */
const PLACES = 32_768;
/** Bytes of a sequential read, and of one call of such a row. */
const STRETCH = 4 * MIB;
const SEQUENCE = 16 * MIB;
/** Bytes that the sequential rows go through before they begin again, and the C program in one repetition. */
const SEQUENTIAL_BYTES = 512 * MIB;

/** Bytes of RAM: pages at random, each of which the dump of the kind that leaves out most has. */
const places = lazy(async (): Promise<readonly number[]> => {
  const { bytes } = await guest();
  const random = randomBelow();
  const found: number[] = [];
  while (found.length < PLACES) {
    const page = random(bytes / PAGE);
    if (KINDS.every(({ has }) => has === undefined || has(page))) found.push(page * PAGE);
  }
  return found;
});

const RANDOM_LIMIT = "pread in C of the raw image, random 4 KiB";
const SEQUENTIAL_LIMIT = "pread in C of the raw image, 4 MiB in sequence (counts bytes)";

function preadRow(name: string, runs: () => Promise<number[]>, isBytes: boolean): Row {
  return {
    name,
    isLimit: true,
    needsCompiler: true,
    prepare: async () => {
      const list = await runs();
      const [, size = 1] = list;
      const operations = isBytes ? (list.length / 2) * size : list.length / 2;
      return cProgram("pread", [await rawDump(), writeNumbers(list), Math.max(size, PAGE)], 1, {
        operations,
      });
    },
  };
}

const limits: readonly Row[] = [
  preadRow(
    RANDOM_LIMIT,
    async () => {
      const memory = await guest();
      return (await places()).flatMap((byte) => [memory.addressOf(byte), PAGE]);
    },
    false,
  ),
  preadRow(
    SEQUENTIAL_LIMIT,
    async () => {
      const memory = await guest();
      const count = Math.min(SEQUENTIAL_BYTES, memory.bytes) / STRETCH;
      return Array.from({ length: count }, (_, i) => [memory.addressOf(i * STRETCH), STRETCH]).flat();
    },
    true,
  ),
];

/** What a row reads with. */
type Physical = NonNullable<Machine["physical"]>;

/** A row over an open dump. @param start Makes what one call does: gives how many pages or bytes were wrong. */
function readRow(
  name: string,
  kind: DumpKind,
  limit: string,
  operations: number,
  start: (physical: Physical) => Promise<() => number | Promise<number>>,
): Row {
  return {
    name,
    operations,
    against: [{ limit }],
    prepare: async (): Promise<Ready | undefined> => {
      const path = await dumpOf(kind);
      if (path === undefined) return undefined;
      const machine = await open(path, { kernel: "none" });
      const { physical } = machine;
      if (physical === undefined) throw new Error(`${kind.name}: no physical memory`);
      return { run: await start(physical), expected: 0, close: () => machine.close() };
    },
  };
}

/** The next pages in turn: their bytes of RAM and their addresses. */
async function taker(): Promise<() => { readonly bytes: readonly number[]; readonly at: Float64Array }> {
  const memory = await guest();
  const all = await places();
  const at = Float64Array.from(all, (byte) => memory.addressOf(byte));
  let next = 0;
  return () => {
    const from = next;
    next = (next + RANDOM) % PLACES;
    return { bytes: all.slice(from, from + RANDOM), at: at.subarray(from, from + RANDOM) };
  };
}

const oneByOne = (kind: DumpKind): Row =>
  readRow(`${kind.name}: random 4 KiB, readInto().sync()`, kind, RANDOM_LIMIT, RANDOM, async (physical) => {
    const memory = await guest();
    const take = await taker();
    const into = new Uint8Array(PAGE);
    const words = new Uint32Array(into.buffer);
    return () => {
      const { bytes, at } = take();
      let wrong = 0;
      for (let i = 0; i < RANDOM; i++) {
        physical.readInto(at[i] as number, into).sync();
        if (words[0] !== memory.wordAt(bytes[i] as number)) wrong++;
      }
      return wrong;
    };
  });

const together = (kind: DumpKind): Row =>
  readRow(`${kind.name}: random 4 KiB, gather of ${RANDOM}`, kind, RANDOM_LIMIT, RANDOM, async (physical) => {
    const memory = await guest();
    const take = await taker();
    const into = new Uint8Array(RANDOM * PAGE);
    const words = new Uint32Array(into.buffer);
    return async () => {
      const { bytes, at } = take();
      let wrong = (await physical.gather(at, PAGE, into)).failed.length;
      for (let i = 0; i < RANDOM; i++) {
        if (words[(i * PAGE) / 4] !== memory.wordAt(bytes[i] as number)) wrong++;
      }
      return wrong;
    };
  });

function sequential(kind: DumpKind): Row {
  // Of each stretch a dump has as much as of any other.
  let present = SEQUENCE;
  if (kind.has !== undefined) {
    present = 0;
    for (let page = 0; page < SEQUENCE / PAGE; page++) if (kind.has(page)) present += PAGE;
  }
  const name = `${kind.name}: 4 MiB in sequence (counts bytes)`;
  return readRow(name, kind, SEQUENTIAL_LIMIT, present, async (physical) => {
    const memory = await guest();
    const into = new Uint8Array(STRETCH);
    const words = new Uint32Array(into.buffer);
    let next = 0;
    return async () => {
      let left = present;
      for (let i = 0; i < SEQUENCE / STRETCH; i++) {
        const { good } = await physical.readPartial(memory.addressOf(next), into);
        for (const { start, end } of good) {
          if (words[start / 4] !== memory.wordAt(next + start)) return -1;
          if (words[(end - PAGE) / 4] !== memory.wordAt(next + end - PAGE)) return -1;
          left -= end - start;
        }
        next = (next + STRETCH) % Math.min(SEQUENTIAL_BYTES, memory.bytes);
      }
      return left;
    };
  });
}

function opening(kind: DumpKind): Row {
  return {
    name: `${kind.name}: open()`,
    figure: { unit: "ms CPU" },
    samples: 5,
    prepare: async () => {
      const path = await dumpOf(kind);
      if (path === undefined) return undefined;
      let least = Number.POSITIVE_INFINITY;
      const run = async () => {
        const wall = performance.now();
        const before = cpuMilliseconds();
        const machine = await open(path, { kernel: "none" });
        const took = cpuMilliseconds() - before;
        least = Math.min(least, performance.now() - wall);
        await machine.close();
        return took;
      };
      await run();
      return { run, note: () => `at best ${least.toFixed(1)} ms by the clock` };
    },
  };
}

/** Opens a dump and reads it: pages at random, then 256 MiB in sequence. */
const READER = `
const [, library, path, list] = process.argv;
const { open } = await import(library);
const { readFileSync } = await import("node:fs");
const { physical } = await open(path, { kernel: "none" });
const bytes = readFileSync(list);
const places = new Float64Array(new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8).length);
for (let i = 0; i < places.length; i++) places[i] = Number(bytes.readBigUInt64LE(8 * i));
const into = new Uint8Array(${STRETCH});
for (let i = 0; i < places.length; i += ${RANDOM}) await physical.gather(places.subarray(i, i + ${RANDOM}), ${PAGE}, into);
for (let at = 0; at < ${256 * MIB}; at += into.length) await physical.readPartial(at, into);
process.exit(0);
`;
/** Pages that it reads at random: 16 MiB. */
const CHILD_PAGES = 4096;

const nodePeak = lazy(() => costOf(["-e", "0"]).peak);
const childPlaces = lazy(async () => {
  const memory = await guest();
  return writeNumbers((await places()).slice(0, CHILD_PAGES).map((byte) => memory.addressOf(byte)));
});

function peak(kind: DumpKind): Row {
  return {
    name: `${kind.name}: peak of a reader, beyond Node`,
    figure: { unit: "MiB", most: BOUND },
    prepare: async () => {
      const path = await dumpOf(kind);
      if (path === undefined) return undefined;
      const library = pathToFileURL("dist/index.js").href;
      const args = ["--input-type=module", "-e", READER, "--", library, path, await childPlaces()];
      return { run: () => costOf(args).peak - nodePeak() };
    },
  };
}

export const formats: Group = {
  name: "formats",
  title: "Dump formats",
  rows: [
    ...limits,
    ...KINDS.flatMap((kind) => [opening(kind), peak(kind), oneByOne(kind), together(kind), sequential(kind)]),
  ],
  close: dropDump,
};
