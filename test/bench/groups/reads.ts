/**
 * Bytes by virtual address: out of memory, a raw file, the shipped kdump and another process, by size and order,
 * against memcpy and the same preads in C.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { deflateSync, inflateSync } from "node:zlib";
import { open } from "../../../connectors/index.js";
import { type AddressSpace, MemtoolError } from "../../../src/index.js";
import { compiled, cProgram } from "../c-programs.js";
import { fixture, KDUMP, type Mapping, randomAddresses, rawFile } from "../fixture.js";
import { copyPlain, gatherPlain, sumWords, translatePlain } from "../limits.js";
import { cpuMilliseconds } from "../measure.js";
import { memorySpace } from "../memory-space.js";
import { randomBelow } from "../random.js";
import type { Against, Group, Ready, Row } from "../row.js";
import { lazy, writeNumbers } from "../work-folder.js";

const KIB = 1024;
const MIB = 1024 * KIB;
const SIZES = [
  { size: 8, label: "8 B", count: 20_000 },
  { size: 4 * KIB, label: "4 KiB", count: 8192 },
  { size: 64 * KIB, label: "64 KiB", count: 512 },
  { size: 4 * MIB, label: "4 MiB", count: 16 },
] as const;
const ORDERS = ["random", "sequential"] as const;

/** What is read: `count` reads of `size` bytes somewhere in the direct map. */
interface Pattern {
  readonly label: string;
  readonly size: number;
  readonly count: number;
  /** Where the reads begin, and where that lies in RAM. */
  readonly places: () => Promise<{ readonly virtual: bigint[]; readonly physical: Float64Array }>;
}

const directPatterns: readonly Pattern[] = SIZES.flatMap(({ size, label, count }) =>
  ORDERS.map((order): Pattern => {
    const places = lazy(async () => {
      const { direct } = await fixture();
      const room = Number(direct.end - direct.start);
      const random = randomBelow();
      const align = Math.min(size, 4096);
      const offsets = Float64Array.from({ length: count }, (_, i) =>
        order === "random" ? random((room - size) / align + 1) * align : (i * size) % (room - (room % size)),
      );
      return {
        virtual: Array.from(offsets, (offset) => direct.start + BigInt(offset)),
        physical: offsets.map((offset) => direct.physical + offset),
      };
    });
    return { label: `${order} ${label}`, size, count, places };
  }),
);

/** Pages of the program: each in a frame of its own somewhere, by way of a table of 4 KiB pages. */
const userPages: Pattern = {
  label: "random 4 KiB of user pages",
  size: 4 * KIB,
  count: 8192,
  places: lazy(async () => {
    const small = (await fixture()).user.filter(({ pageSize }) => pageSize === 4096);
    const virtual = [...randomAddresses(small, 8192, 4096)];
    const physical = Float64Array.from(virtual, (at) => {
      const range = small.find(({ start, end }) => start <= at && at < end) as Mapping;
      return range.physical + Number(at - range.start);
    });
    return { virtual, physical };
  }),
};

const patterns: readonly Pattern[] = [...directPatterns, userPages];

/** The sum that every way to read a pattern gives: a byte of each read. */
async function expectedOf({ size, places }: Pattern): Promise<number> {
  const { ram } = await fixture();
  const { physical } = await places();
  return copyPlain(ram, physical, size, new Uint8Array(size));
}

/** Reads one after the other through an address space. */
async function readsThrough(memory: AddressSpace, pattern: Pattern, close: () => unknown): Promise<Ready> {
  const { size, count } = pattern;
  const { virtual } = await pattern.places();
  const into = new Uint8Array(size);
  const run = () => {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      memory.readInto(virtual[i] as bigint, into).sync();
      sum += into[(i * 8) % size] as number;
    }
    return sum;
  };
  return { run, expected: await expectedOf(pattern), close };
}

/** The same where the dump has left pages out: reads with holes count nothing. */
async function partialReadsThrough(
  memory: AddressSpace,
  pattern: Pattern,
  close: () => unknown,
): Promise<Ready> {
  const { size, count } = pattern;
  const { virtual, physical } = await pattern.places();
  const { ram, present } = await fixture();
  let expected = 0;
  for (let i = 0; i < count; i++) {
    const at = physical[i] as number;
    const pages = present.subarray(Math.floor(at / 4096), Math.ceil((at + size) / 4096));
    if (pages.every((page) => page === 1)) expected += ram[at + ((i * 8) % size)] as number;
  }
  const into = new Uint8Array(size);
  const run = () => {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const { holes } = memory.readPartial(virtual[i] as bigint, into).sync();
      if (holes.length === 0) sum += into[(i * 8) % size] as number;
    }
    return sum;
  };
  return { run, expected, close };
}

const memcpyOf = ({ label }: Pattern) => `memcpy in C, ${label}`;
const mappedOf = ({ label }: Pattern) => `memcpy in C from the mapped file, ${label}`;
const preadOf = ({ label }: Pattern) => `pread in C, ${label}`;
const inflateOf = ({ label }: Pattern) => `inflateSync in a loop, ${label}`;

/** C programs do a pattern so often that a repetition takes some tens of milliseconds. */
const loopsOf = ({ size, count }: Pattern, bytesASecond: number) =>
  Math.max(1, Math.round((bytesASecond * 0.03) / (count * Math.max(size, 512))));

function limitsOf(pattern: Pattern): Row[] {
  const { size, count } = pattern;
  const copies = (from: "anonymous" | "mapped"): Row => {
    const loops = loopsOf(pattern, 1e10);
    return {
      name: from === "mapped" ? mappedOf(pattern) : memcpyOf(pattern),
      operations: loops * count,
      isLimit: true,
      needsCompiler: true,
      prepare: async () => {
        const offsets = writeNumbers([...(await pattern.places()).physical]);
        const expected = await expectedOf(pattern);
        return cProgram("copy", [await rawFile(), offsets, size, size, from], loops, { expected });
      },
    };
  };
  const loops = loopsOf(pattern, 3e9);
  return [
    copies("anonymous"),
    ...(size === 4 * KIB ? [copies("mapped")] : []),
    {
      name: preadOf(pattern),
      operations: loops * count,
      isLimit: true,
      needsCompiler: true,
      prepare: async () => {
        const runs = [...(await pattern.places()).physical].flatMap((at) => [at, size]);
        const expected = await expectedOf(pattern);
        return cProgram("pread", [await rawFile(), writeNumbers(runs), size], loops, { expected });
      },
    },
  ];
}

const isSequential = ({ label }: Pattern) => label.startsWith("sequential");

/** The project's goals, where it has some. */
function preadGoal({ label }: Pattern): Against["goals"] {
  if (label.startsWith("sequential") && !label.endsWith("8 B")) return [{ name: "goal", ratio: 0.8 }];
  return label.startsWith("random 4 KiB") ? [{ name: "goal", ratio: 0.5 }] : [];
}

/**
 * Each page of the pattern that the dump has, once, in the form in which kdump stores it, but compressed by us: what
 * unpacking alone costs.
 */
function inflateLimit(pattern: Pattern): Row {
  return {
    name: inflateOf(pattern),
    operations: pattern.count,
    isLimit: true,
    prepare: async () => {
      const { ram, present } = await fixture();
      const { physical } = await pattern.places();
      const pages = new Set<number>();
      for (const at of physical) {
        for (let page = at / 4096; page * 4096 < at + pattern.size; page++)
          if (present[page] === 1) pages.add(page);
      }
      const packed = Array.from(pages, (page) =>
        deflateSync(ram.subarray(page * 4096, (page + 1) * 4096), { level: 1 }),
      );
      const run = () => {
        let bytes = 0;
        for (const page of packed) bytes += inflateSync(page).length;
        return bytes;
      };
      return { run, expected: packed.length * 4096 };
    },
  };
}

/** The shipped dump opened anew for each call, so that nothing of it is unpacked yet; opening is not counted. */
function kdumpJustOpened(pattern: Pattern): Row {
  return {
    name: `readPartial, ${pattern.label}, kdump just opened`,
    operations: pattern.count,
    against: [{ limit: inflateOf(pattern) }],
    prepare: async () => {
      const { root } = await fixture();
      const run = async () => {
        const machine = await open(KDUMP, { kernel: "none" });
        const ready = await partialReadsThrough(machine.addressSpace(root), pattern, () => machine.close());
        const wall = performance.now();
        const cpu = cpuMilliseconds();
        const checksum = ready.run() as number;
        const took = { cpu: cpuMilliseconds() - cpu, wall: performance.now() - wall, checksum };
        await machine.close();
        if (checksum !== ready.expected) throw new Error(`gives ${checksum}, must be ${ready.expected}`);
        return took;
      };
      return { run };
    },
  };
}

const isUnpacked = ({ label }: Pattern) => label === "random 4 KiB" || label === "sequential 4 MiB";

/** Where bytes come from. */
interface Origin {
  readonly label: string;
  readonly against: (pattern: Pattern) => Against[];
  /** An address space and what closes it; `undefined` where this machine can't do it. */
  readonly open: () => Promise<readonly [AddressSpace, () => unknown] | undefined>;
}

const origins: readonly Origin[] = [
  {
    label: "memory",
    against: (pattern) => [
      {
        limit: memcpyOf(pattern),
        goals: isSequential(pattern) && pattern.size > 8 ? [{ name: "goal", ratio: 0.8 }] : [],
      },
    ],
    open: async () => {
      const { ram, root } = await fixture();
      return [memorySpace(ram, root), () => undefined];
    },
  },
  {
    label: "raw file",
    against: (pattern) => [{ limit: preadOf(pattern), goals: preadGoal(pattern) ?? [] }],
    open: async () => {
      const machine = await open(await rawFile(), { kernel: "none" });
      return [machine.addressSpace((await fixture()).root), () => machine.close()];
    },
  },
  {
    label: "mapped file",
    against: (pattern) =>
      pattern.size === 4 * KIB
        ? [{ limit: mappedOf(pattern), goals: isSequential(pattern) ? [] : [{ name: "goal", ratio: 0.7 }] }]
        : [{ limit: memcpyOf(pattern) }],
    open: async () => {
      try {
        const machine = await open({ connector: `file:${await rawFile()}:map=true` }, { kernel: "none" });
        return [machine.addressSpace((await fixture()).root), () => machine.close()];
      } catch (error) {
        // Without the optional package that maps files, or a file connector that can.
        if (error instanceof MemtoolError) return undefined;
        throw error;
      }
    },
  },
  {
    label: "kdump",
    against: (pattern) => [{ limit: memcpyOf(pattern) }],
    open: async () => {
      const machine = await open(KDUMP, { kernel: "none" });
      return [machine.addressSpace((await fixture()).root), () => machine.close()];
    },
  },
];

const reads: Row[] = patterns.flatMap((pattern) => [
  ...limitsOf(pattern),
  ...(isUnpacked(pattern) ? [inflateLimit(pattern), kdumpJustOpened(pattern)] : []),
  ...origins.map(
    ({ label, against, open: openOrigin }): Row => ({
      name: `${label === "kdump" ? "readPartial" : "readInto"}, ${pattern.label}, ${label}`,
      operations: pattern.count,
      against: against(pattern),
      prepare: async () => {
        const opened = await openOrigin();
        if (opened === undefined) return undefined;
        const [memory, close] = opened;
        if (label === "kdump") return partialReadsThrough(memory, pattern, close);
        return readsThrough(memory, pattern, close);
      },
    }),
  ),
]);

/** Pages at random, a thousand a call: what a caller uses who knows early what it wants. */
const TOGETHER = 1000;
const TOGETHER_MEMORY = TOGETHER * 4 * KIB;
const randomPages = patterns.filter(({ label }) => label.startsWith("random 4 KiB"));

/** The same bytes in C, into as much memory as a gather fills: more than the second-level cache holds. */
const widePreadOf = ({ label }: Pattern) => `pread in C into 1,000 pages, ${label}`;
const wideMappedOf = ({ label }: Pattern) => `memcpy in C from the mapped file into 1,000 pages, ${label}`;

function wideLimitsOf(pattern: Pattern): Row[] {
  const limit = (
    name: string,
    loops: number,
    program: (places: readonly number[]) => Promise<readonly [string, (string | number)[]]>,
  ): Row => ({
    name,
    operations: loops * pattern.count,
    isLimit: true,
    needsCompiler: true,
    prepare: async () => {
      const [file, args] = await program([...(await pattern.places()).physical]);
      return cProgram(file, args, loops, { expected: await expectedOf(pattern) });
    },
  });
  const { size } = pattern;
  return [
    limit(wideMappedOf(pattern), loopsOf(pattern, 1e10), async (places) => [
      "copy",
      [await rawFile(), writeNumbers(places), size, TOGETHER_MEMORY, "mapped"],
    ]),
    limit(widePreadOf(pattern), loopsOf(pattern, 3e9), async (places) => [
      "pread",
      [await rawFile(), writeNumbers(places.flatMap((at) => [at, size])), TOGETHER_MEMORY],
    ]),
  ];
}

/** All whole thousands of a pattern's pages. */
function gathersOf(pattern: Pattern, label: string, openOrigin: Origin["open"], against: Against[]): Row {
  const calls = Math.floor(pattern.count / TOGETHER);
  return {
    name: `gather of 1,000 pages, ${pattern.label}, ${label}`,
    operations: calls * TOGETHER,
    against,
    prepare: async () => {
      const opened = await openOrigin();
      if (opened === undefined) return undefined;
      const [memory, close] = opened;
      const { virtual, physical } = await pattern.places();
      const { words } = await fixture();
      const columns = Array.from({ length: calls }, (_, i) =>
        BigUint64Array.from(virtual.slice(i * TOGETHER, (i + 1) * TOGETHER)),
      );
      // What each call leaves is overwritten by the next: two words of each page are looked at in between.
      let expected = 0;
      for (let i = 0; i < calls * TOGETHER; i++) {
        const at = (physical[i] as number) / 4;
        expected = (expected + (words[at + (i % 1024)] as number) + (words[at + 1023] as number)) >>> 0;
      }
      const into = new Uint32Array(TOGETHER_MEMORY / 4);
      const run = () => {
        let sum = 0;
        let page = 0;
        for (const column of columns) {
          if (memory.gather(column, 4 * KIB, into).sync().failed.length !== 0) return -1;
          for (let i = 0; i < TOGETHER; i++, page++) {
            sum =
              (sum + (into[i * 1024 + (page % 1024)] as number) + (into[i * 1024 + 1023] as number)) >>> 0;
          }
        }
        return sum;
      };
      return { run, expected, close };
    },
  };
}

const together: Row[] = randomPages.flatMap((pattern) => [
  ...wideLimitsOf(pattern),
  ...origins.flatMap(({ label, open: openOrigin }) => {
    if (label === "raw file") {
      const against = [
        { limit: preadOf(pattern), goals: [{ name: "goal", ratio: 0.5 }] },
        { limit: widePreadOf(pattern) },
      ];
      return [gathersOf(pattern, label, openOrigin, against)];
    }
    if (label !== "mapped file") return [];
    const against = [
      { limit: mappedOf(pattern), goals: [{ name: "goal", ratio: 0.7 }] },
      { limit: wideMappedOf(pattern) },
    ];
    return [gathersOf(pattern, label, openOrigin, against)];
  }),
]);

/** Four MiB of the program's own pages, whose frames lie scattered: one read, many runs. */
const SCATTERED = 4 * MIB;
const SCATTERED_AT = 0x100000040000n;

/** The physical runs of that range. */
const scatteredRuns = lazy(async () => {
  const { user } = await fixture();
  const runs: { physical: number; length: number }[] = [];
  let at = SCATTERED_AT;
  const until = at + BigInt(SCATTERED);
  for (const { start, end, physical } of user as Mapping[]) {
    if (end <= at || start >= until) continue;
    if (start > at) throw new Error(`the fixture maps nothing at 0x${at.toString(16)}`);
    const stop = end < until ? end : until;
    const from = physical + Number(at - start);
    const last = runs.at(-1);
    const length = Number(stop - at);
    if (last !== undefined && last.physical + last.length === from) last.length += length;
    else runs.push({ physical: from, length });
    at = stop;
  }
  return runs;
});

const SCATTERED_PREAD = "pread in C, the runs of 4 MiB of user pages";
const scattered: Row[] = [
  {
    name: SCATTERED_PREAD,
    operations: 20 * (SCATTERED / 4096),
    isLimit: true,
    needsCompiler: true,
    prepare: async () => {
      const runs = await scatteredRuns();
      const list = writeNumbers(runs.flatMap(({ physical, length }) => [physical, length]));
      return cProgram("pread", [await rawFile(), list, SCATTERED], 20, {});
    },
  },
  ...origins.map(
    ({ label, open: openOrigin }): Row => ({
      name: `readInto, 4 MiB of user pages (counts pages), ${label}`,
      operations: SCATTERED / 4096,
      against: [
        { limit: SCATTERED_PREAD, goals: label === "raw file" ? [{ name: "goal", ratio: 0.8 }] : [] },
      ],
      prepare: async () => {
        const opened = await openOrigin();
        if (opened === undefined) return undefined;
        const [memory, close] = opened;
        const into = new Uint8Array(SCATTERED);
        const { words } = await fixture();
        let expected = 0;
        for (const { physical, length } of await scatteredRuns()) {
          expected = (expected + sumWords(words.subarray(physical / 4, (physical + length) / 4))) >>> 0;
        }
        const run = () => {
          memory.readInto(SCATTERED_AT, into).sync();
          return into[0] as number;
        };
        return { run, check: () => sumWords(new Uint32Array(into.buffer)), expected, close };
      },
    }),
  ),
];

/** A million 8-byte values, anywhere in the kernel's and the program's pages. */
const VALUES = 1_000_000;
const values = lazy(async () => {
  const { kernel, user, words, root } = await fixture();
  const addresses = randomAddresses([...kernel, ...user], VALUES, 8);
  const physical = new Float64Array(VALUES);
  translatePlain(words, root, new Uint32Array(addresses.buffer), physical);
  const column = new Uint32Array(2 * VALUES);
  gatherPlain(words, physical, column);
  return { addresses, physical, expected: sumWords(column) };
});

const GATHER_LOOP = "walk and load in a loop, a million u64";
const GATHER_PREAD = "pread in C, a million u64";
const gathers: Row[] = [
  {
    name: GATHER_LOOP,
    operations: VALUES,
    isLimit: true,
    prepare: async () => {
      const { words, root } = await fixture();
      const { addresses, expected } = await values();
      const halves = new Uint32Array(addresses.buffer);
      const physical = new Float64Array(VALUES);
      const column = new Uint32Array(2 * VALUES);
      const run = () => {
        translatePlain(words, root, halves, physical);
        gatherPlain(words, physical, column);
        return column[0] as number;
      };
      return { run, check: () => sumWords(column), expected };
    },
  },
  {
    name: GATHER_PREAD,
    operations: VALUES,
    isLimit: true,
    needsCompiler: true,
    prepare: async () => {
      const { physical } = await values();
      const runs = writeNumbers([...physical].flatMap((at) => [at, 8]));
      return cProgram("pread", [await rawFile(), runs, 8 * VALUES], 1, {});
    },
  },
  ...origins.map(
    ({ label, open: openOrigin }): Row => ({
      name: `gather of a million u64, ${label}`,
      operations: VALUES,
      against: [{ limit: GATHER_LOOP }, ...(label === "raw file" ? [{ limit: GATHER_PREAD }] : [])],
      prepare: async () => {
        const opened = await openOrigin();
        if (opened === undefined) return undefined;
        const [memory, close] = opened;
        const { addresses, expected } = await values();
        const into = new Uint8Array(8 * VALUES);
        const run = () => memory.gather(addresses, 8, into).sync().failed.length;
        return { run, check: () => sumWords(new Uint32Array(into.buffer)), expected, close };
      },
    }),
  ),
];

/** Pages of another process: a C program that holds the fixture's RAM. */
const PAGES = 4096;
const processPlaces = lazy(async () => {
  const { ram } = await fixture();
  const random = randomBelow();
  return Float64Array.from({ length: PAGES }, () => random(ram.length / 4096) * 4096);
});

async function startTarget(): Promise<{ pid: number; address: bigint; close: () => void }> {
  const child = spawn(compiled("vmreadv"), ["target", await rawFile()], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdout.setEncoding("utf8");
  const [said] = (await once(child.stdout, "data")) as [string];
  const [pid = "", address = ""] = said.trim().split(" ");
  return { pid: Number(pid), address: BigInt(address), close: () => child.stdin.end() };
}

const vmreadvRow = (name: string, perCall: number): Row => ({
  name,
  operations: 10 * PAGES,
  isLimit: true,
  needsCompiler: true,
  prepare: async () => {
    const target = await startTarget();
    const places = await processPlaces();
    const { ram } = await fixture();
    const expected = copyPlain(ram, places, 4096, new Uint8Array(4096));
    const args = ["read", target.pid, String(target.address), writeNumbers([...places]), 4096, perCall];
    return cProgram("vmreadv", args, 10, { expected, close: target.close });
  },
});

const processRows: Row[] = [
  vmreadvRow("process_vm_readv in C, a page a call", 1),
  vmreadvRow("process_vm_readv in C, 256 pages a call", 256),
  {
    name: "readInto, random 4 KiB, another process",
    operations: PAGES,
    needsCompiler: true,
    against: [{ limit: "process_vm_readv in C, a page a call" }],
    prepare: async () => {
      const target = await startTarget();
      const machine = await open({ connector: `proc:${target.pid}` });
      const { memory } = machine;
      const places = await processPlaces();
      const { ram } = await fixture();
      const into = new Uint8Array(4096);
      const virtual = Array.from(places, (at) => target.address + BigInt(at));
      const run = () => {
        let sum = 0;
        for (let i = 0; i < PAGES; i++) {
          memory.readInto(virtual[i] as bigint, into).sync();
          sum += into[(i * 8) % 4096] as number;
        }
        return sum;
      };
      const close = async () => {
        await machine.close();
        target.close();
      };
      return { run, expected: copyPlain(ram, places, 4096, new Uint8Array(4096)), close };
    },
  },
  {
    name: "gather of 4,096 pages, another process",
    operations: PAGES,
    needsCompiler: true,
    against: [{ limit: "process_vm_readv in C, 256 pages a call" }],
    prepare: async () => {
      const target = await startTarget();
      const machine = await open({ connector: `proc:${target.pid}` });
      const { memory } = machine;
      const places = await processPlaces();
      const { ram } = await fixture();
      const into = new Uint8Array(4096 * PAGES);
      const virtual = BigUint64Array.from(places, (at) => target.address + BigInt(at));
      const run = () => memory.gather(virtual, 4096, into).sync().failed.length;
      const check = () => {
        let sum = 0;
        for (let i = 0; i < PAGES; i++) sum += into[i * 4096 + ((i * 8) % 4096)] as number;
        return sum;
      };
      const close = async () => {
        await machine.close();
        target.close();
      };
      return { run, check, expected: copyPlain(ram, places, 4096, new Uint8Array(4096)), close };
    },
  },
];

export const readGroup: Group = {
  name: "reads",
  title: "Reads by virtual address",
  rows: [...reads, ...together, ...scattered, ...gathers, ...processRows],
};
