/**
 * Virtual to physical addresses: at random, one at a time, in order, and all that is mapped, through the public calls,
 * against the same walk in C and in a plain loop.
 */

import { writeFileSync } from "node:fs";
import { type Machine, open } from "../../../connectors/index.js";
import type { RunColumns, TranslationColumns, VirtualMemory } from "../../../src/index.js";
import { cProgram } from "../c-programs.js";
import { CLI, costOf } from "../child.js";
import { type Fixture, fixture, KDUMP, type Mapping, randomAddresses, rawFile } from "../fixture.js";
import { countPlain, sumNumbers, translatePlain } from "../limits.js";
import { cpuMilliseconds } from "../measure.js";
import { memorySpace } from "../memory-space.js";
import type { Against, Group, Ready, Row } from "../row.js";
import { FIRST_FRAME, SYNTHETIC_BASE, SYNTHETIC_BYTES, syntheticTables } from "../synthetic-tables.js";
import { lazy, workPath, writeNumbers } from "../work-folder.js";

/** Page tables in memory, and addresses to translate with them. */
interface Tables {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array;
  readonly root: number;
  /** The same bytes in a file. */
  readonly path: () => string | Promise<string>;
  readonly addresses: BigUint64Array<ArrayBuffer>;
  /** The sum of where they lead, modulo 2^32, from what made the tables or told about them. */
  readonly expected: number;
}

const FEW = 65_536;
/** Enough to touch every entry of 8 MiB of tables. */
const ALL = 1 << 20;
const SINGLES = 20_000;

async function fixtureTables(ranges: (of: Fixture) => readonly Mapping[]): Promise<Tables> {
  const of = await fixture();
  const addresses = randomAddresses(ranges(of), FEW, 8);
  const physical = Float64Array.from(addresses, (address) => {
    const range = ranges(of).find(({ start, end }) => start <= address && address < end) as Mapping;
    return range.physical + Number(address - range.start);
  });
  return { ...of, bytes: of.ram, path: rawFile, addresses, expected: sumNumbers(physical) };
}

function synthetic(name: string, pageSize: 4096 | 2097152, count: number): Tables {
  const made = syntheticTables(pageSize);
  const { addresses, physical } = made.random(count);
  const path = lazy(() => {
    const file = workPath(`tables-${name}`);
    writeFileSync(file, made.bytes);
    return file;
  });
  return { ...made, path, addresses, expected: sumNumbers(physical) };
}

/** What is translated: the tables are made when a row first needs them. */
const SPACES = {
  kernel: { count: FEW, make: lazy(() => fixtureTables((of) => of.kernel)) },
  user: { count: FEW, make: lazy(() => fixtureTables((of) => of.user)) },
  "4 GiB of 4 KiB": { count: ALL, make: lazy(async () => synthetic("small", 4096, ALL)) },
  "4 GiB of 2 MiB": { count: FEW, make: lazy(async () => synthetic("large", 2097152, FEW)) },
} as const;
type SpaceName = keyof typeof SPACES;

const spaceOver = ({ bytes, root }: Pick<Tables, "bytes" | "root">, plain = false) =>
  memorySpace(bytes, root, { plain });

const inC = (space: SpaceName) => `walk in C, ${space}`;
const inLoop = (space: SpaceName) => `walk in a loop, ${space}`;

/** Against the walk in C with a goal of the project's, and the loop. */
const againstWalks = (space: SpaceName, goal: number | undefined): Against[] => [
  { limit: inC(space), goals: goal === undefined ? [] : [{ name: "goal", ratio: goal }] },
  { limit: inLoop(space) },
];

/** A row over columns: translates all of a space's addresses in one call. */
function columnsRow(
  name: string,
  space: SpaceName,
  goal: number | undefined,
  translate: (tables: Tables) => Promise<{
    readonly run: (
      columns: TranslationColumns | undefined,
    ) => TranslationColumns | Promise<TranslationColumns>;
    readonly close?: () => unknown;
  }>,
): Row {
  const prepare = async (): Promise<Ready> => {
    const tables = await SPACES[space].make();
    const { run, close } = await translate(tables);
    let columns: TranslationColumns | undefined;
    return {
      run: async () => {
        columns = await run(columns);
        return columns.failed;
      },
      check: () =>
        columns === undefined ? Number.NaN : sumNumbers(columns.physical.subarray(0, columns.length)),
      expected: tables.expected,
      ...(close === undefined ? {} : { close }),
    };
  };
  return { name, operations: SPACES[space].count, against: againstWalks(space, goal), prepare };
}

function rowsOf(space: SpaceName): Row[] {
  const { count, make } = SPACES[space];
  return [
    {
      name: inC(space),
      operations: 10 * count,
      isLimit: true,
      needsCompiler: true,
      prepare: async () => {
        const { root, path, addresses, expected } = await make();
        return cProgram("walk", [await path(), root, writeNumbers(addresses)], 10, { expected });
      },
    },
    {
      name: inLoop(space),
      operations: count,
      isLimit: true,
      prepare: async () => {
        const { words, root, addresses, expected } = await make();
        const physical = new Float64Array(count);
        const halves = new Uint32Array(addresses.buffer);
        const run = () => {
          translatePlain(words, root, halves, physical);
          return physical[0] as number;
        };
        return { run, check: () => sumNumbers(physical), expected };
      },
    },
    columnsRow(`translateMany, ${space}`, space, 0.5, async (tables) => {
      const memory = spaceOver(tables);
      return { run: (columns) => memory.translateMany(tables.addresses, columns).sync() };
    }),
    columnsRow(`translateMany without WebAssembly, ${space}`, space, undefined, async (tables) => {
      const memory = spaceOver(tables, true);
      return { run: (columns) => memory.translateMany(tables.addresses, columns).sync() };
    }),
    columnsRow(`translateMany, ${space}, no table read yet`, space, undefined, async (tables) => ({
      run: (columns) =>
        // Columns of one space are good for the next: they have the same format.
        spaceOver(tables).translateMany(tables.addresses, columns).sync(),
    })),
    {
      name: `translate().sync(), ${space}`,
      operations: SINGLES,
      against: againstWalks(space, 0.1),
      prepare: async () => {
        const tables = await make();
        const memory = spaceOver(tables);
        const few = [...tables.addresses.subarray(0, SINGLES)];
        const wanted = spaceOver(tables).translateMany(tables.addresses.slice(0, SINGLES)).sync();
        const run = () => {
          let sum = 0;
          for (let i = 0; i < SINGLES; i++) {
            const result = memory.translate(few[i] as bigint).sync();
            if (result.state === undefined) sum += result.physical;
          }
          return sum;
        };
        return { run, expected: wanted.physical.subarray(0, SINGLES).reduce((a, b) => a + b, 0) };
      },
    },
  ];
}

/** A row over an opened dump: its tables are read once, or anew in each call. */
function dumpRows(label: string, path: () => Promise<string>): Row[] {
  return [
    columnsRow(`translateMany, kernel, ${label}`, "kernel", 0.5, async (tables) => {
      const machine = await open(await path(), { kernel: "none" });
      const memory = machine.addressSpace(tables.root);
      return {
        run: (columns) => memory.translateMany(tables.addresses, columns).sync(),
        close: () => machine.close(),
      };
    }),
    {
      name: `translateMany, kernel, ${label} just opened`,
      operations: FEW,
      against: againstWalks("kernel", undefined),
      prepare: async () => {
        const tables = await SPACES.kernel.make();
        const file = await path();
        const run = async () => {
          const machine: Machine = await open(file, { kernel: "none" });
          const wall = performance.now();
          const cpu = cpuMilliseconds();
          const columns = machine.addressSpace(tables.root).translateMany(tables.addresses).sync();
          const took = cpuMilliseconds() - cpu;
          const waited = performance.now() - wall;
          const checksum = sumNumbers(columns.physical);
          await machine.close();
          return { cpu: took, wall: waited, checksum };
        };
        return { run, expected: tables.expected };
      },
    },
  ];
}

/** Pages of the 4 GiB, one after the other. */
const contiguous: Row[] = [
  {
    name: "translateMany of 4 GiB of 4 KiB, in order",
    operations: ALL,
    against: [{ limit: inC("4 GiB of 4 KiB"), goals: [{ name: "goal", ratio: 1 }] }],
    prepare: async () => {
      const tables = await SPACES["4 GiB of 4 KiB"].make();
      const memory = spaceOver(tables);
      const addresses = BigUint64Array.from({ length: ALL }, (_, i) => SYNTHETIC_BASE + BigInt(i * 4096));
      let columns: TranslationColumns | undefined;
      const run = () => {
        columns = memory.translateMany(addresses, columns).sync();
        return columns.failed;
      };
      // Every frame once, whatever their order.
      let expected = 0;
      for (let i = 0; i < ALL; i++) expected = (expected + ((FIRST_FRAME + i * 4096) >>> 0)) >>> 0;
      return { run, check: () => sumNumbers(columns?.physical ?? new Float64Array(0)), expected };
    },
  },
  {
    name: "maps() of 4 GiB of 4 KiB (counts pages)",
    operations: ALL,
    against: [{ limit: inC("4 GiB of 4 KiB"), goals: [{ name: "goal", ratio: 1 }] }],
    prepare: async () => {
      const memory = spaceOver(await SPACES["4 GiB of 4 KiB"].make());
      return { run: () => pagesOf(memory), expected: ALL };
    },
  },
  ...(["shuffled", "contiguous"] as const).map(
    (order): Row => ({
      name: `runs() of 4 GiB of ${order} 4 KiB (counts pages)`,
      operations: ALL,
      against: [{ limit: inC("4 GiB of 4 KiB"), goals: [{ name: "goal", ratio: 1 }] }],
      prepare: async () => {
        const tables = syntheticTables(4096, order);
        const memory = spaceOver(tables);
        const frames = Float64Array.from({ length: ALL }, (_, page) => tables.path(page).at(-1) as number);
        checkRuns(memory, frames);
        // As many calls as a program makes that keeps one set of columns. What they hold was checked once, above.
        const { start, end } = SYNTHETIC;
        let columns: RunColumns | undefined;
        const run = () => {
          let rows = 0;
          for (let at = start; at < end; at = columns.end) {
            columns = memory.runs({ start: at, end }, columns).sync();
            rows += columns.length;
          }
          return rows;
        };
        // Each page that does not follow the one before it begins a run; so does each further call, here and there.
        const runs = frames.reduce(
          (sum, at, i) => sum + (i > 0 && at === (frames[i - 1] as number) + 4096 ? 0 : 1),
          0,
        );
        return { run, expected: runs };
      },
    }),
  ),
];

/** What the synthetic tables map. */
const SYNTHETIC = { start: SYNTHETIC_BASE, end: SYNTHETIC_BASE + BigInt(SYNTHETIC_BYTES) };

/** Goes through `runs()` of the synthetic range page by page. @throws unless page i lies in frame i. */
function checkRuns(memory: VirtualMemory, frames: Float64Array): void {
  const { start, end } = SYNTHETIC;
  let page = 0;
  for (let at = start; at < end; ) {
    const { starts, lengths, physical, length, end: reached } = memory.runs({ start: at, end }).sync();
    for (let row = 0; row < length; row++) {
      if (starts[row] !== start + BigInt(page * 4096))
        throw new Error(`run ${row} from ${at} on: wrong start`);
      for (let offset = 0; offset < (lengths[row] as number); offset += 4096, page++) {
        if (frames[page] !== (physical[row] as number) + offset) throw new Error(`page ${page}: wrong frame`);
      }
    }
    at = reached;
  }
  if (page !== frames.length) throw new Error(`${page} pages`);
}

/** 4 KiB pages that `maps()` finds mapped. */
function pagesOf(memory: VirtualMemory): number {
  let bytes = 0;
  for (const run of memory.maps().sync()) if (run.state === undefined) bytes += Number(run.end - run.start);
  return bytes / 4096;
}

/** The root that the kernel itself uses, where the program's has the program's half as well. */
const kernelRoot = lazy(async () => {
  const machine = await open(KDUMP);
  const { root } = await machine.linux();
  await machine.close();
  return root;
});

const ROOTS = {
  program: async () => (await fixture()).root,
  kernel: kernelRoot,
} as const;

/** All that a root maps; counts leaf entries. */
const whole = (Object.keys(ROOTS) as (keyof typeof ROOTS)[]).flatMap((name): Row[] => [
  {
    name: `loop over all tables, ${name}`,
    isLimit: true,
    prepare: async () => {
      const { words } = await fixture();
      const root = await ROOTS[name]();
      const { leaves, pages } = countPlain(words, root);
      return { run: () => countPlain(words, root).pages, expected: pages, operations: leaves };
    },
  },
  {
    name: `maps(), ${name} (counts leaf entries)`,
    against: [{ limit: `loop over all tables, ${name}` }],
    prepare: async () => {
      const { ram, words } = await fixture();
      const root = await ROOTS[name]();
      const memory = spaceOver({ bytes: ram, root });
      const { leaves, pages } = countPlain(words, root);
      return { run: () => pagesOf(memory), expected: pages, operations: leaves };
    },
  },
]);

/** The command: start-up, and what it costs with no address, is taken off. */
const LINES = 1_000_000;
const command: Row = {
  name: "memtool translate --stdin, a million lines",
  operations: LINES,
  samples: 2,
  against: [{ limit: inC("kernel") }],
  prepare: async () => {
    const { root } = await fixture();
    const { addresses } = await SPACES.kernel.make();
    const lines: string[] = [];
    for (let i = 0; i < LINES; i++) lines.push(`0x${(addresses[i % FEW] as bigint).toString(16)}\n`);
    const input = workPath("addresses");
    writeFileSync(input, lines.join(""));
    const args = [CLI, "-f", KDUMP, "--root", `0x${root.toString(16)}`, "translate", "--stdin"];
    const nothing = costOf(args);
    let peak = 0;
    const run = () => {
      const cost = costOf(args, input);
      peak = cost.peak;
      return { cpu: cost.cpu - nothing.cpu, wall: cost.wall - nothing.wall, checksum: 0 };
    };
    return {
      run,
      note: () => `goal 1 M/s; peak ${peak.toFixed(0)} MiB, with no line ${nothing.peak.toFixed(0)} MiB`,
    };
  },
};

export const translation: Group = {
  name: "translation",
  title: "Translation",
  rows: [
    ...(Object.keys(SPACES) as SpaceName[]).flatMap(rowsOf),
    ...dumpRows("raw file", rawFile),
    ...dumpRows("kdump", async () => KDUMP),
    ...contiguous,
    ...whole,
    command,
  ],
};
