/**
 * What connectors give: 1, 16, 128 and 1,024 pages at random in one batch, beside the same calls in C. A connector is a line of
 * `CONNECTORS`.
 */
import { openFile, openLeechCore, openProcess } from "../../../connectors/index.js";
import { mapFile } from "../../../connectors/mapped-file.js";
import {
  type Address,
  all,
  offsetAddress,
  readInto,
  Scheduler,
  type Source,
  SourceIo,
} from "../../../src/index.js";
import { hasCompiler, standIn } from "../../support/leechcore.js";
import { compiled, cProgram } from "../c-programs.js";
import { fixture, rawFile } from "../fixture.js";
import { copyPlain } from "../limits.js";
import { randomBelow } from "../random.js";
import { startTarget } from "../reads/other-process.js";
import type { Group, Row } from "../row.js";
import { lazy, writeNumbers } from "../work-folder.js";

/** Pages in a batch. */
const COUNTS = [1, 16, 128, 1024];
/** Pages that a row reads in one call. */
const PAGES = 4096;
/** Microseconds that a call of the slow card takes. */
const DELAY = 50;

const places = lazy(async () => {
  const { ram } = await fixture();
  const random = randomBelow();
  return Float64Array.from({ length: PAGES }, () => random(ram.length / 4096) * 4096);
});

interface Opened {
  readonly source: Source;
  readonly base?: Address;
  readonly close?: () => void;
}

type Program = readonly [name: string, args: (string | number)[]];

interface BenchConnector {
  readonly label: string;
  readonly open: () => Promise<Opened>;
  /** The same calls in C, as a row's `prepare` has it: program and arguments for so many pages a call. */
  readonly limit?: {
    readonly label: string;
    readonly program: (count: number) => Promise<Program>;
    /** What is to be reached of it. */
    readonly goal?: number;
  };
}

const scatter = async (device: string, count: number): Promise<Program> => [
  "scatter",
  [standIn(), device, writeNumbers([...(await places())]), count],
];
const fileOf = async () => `file://${await rawFile()}`;
const slowOf = async () => `card://file=${await rawFile()},delay=${DELAY}`;

const CONNECTORS: readonly BenchConnector[] = [
  {
    label: "file",
    open: async () => ({ source: openFile(await rawFile()) }),
    limit: {
      label: "pread in C",
      program: async (count) => {
        const runs = [...(await places())].flatMap((at) => [at, 4096]);
        return ["pread", [await rawFile(), writeNumbers(runs), count * 4096]];
      },
    },
  },
  { label: "mapped file", open: async () => ({ source: await mapFile(await rawFile()) }) },
  {
    label: "proc",
    open: async () => {
      const { pid, address, close } = await startTarget();
      return { source: openProcess(pid), base: address, close };
    },
  },
  {
    label: "leechcore, stand-in",
    open: async () => ({ source: await openLeechCore(await fileOf(), { library: standIn() }) }),
    limit: { label: "scatter calls in C", program: async (count) => scatter(await fileOf(), count) },
  },
  {
    label: `leechcore, stand-in with ${DELAY} µs a call`,
    open: async () => ({ source: await openLeechCore(await slowOf(), { library: standIn() }) }),
    limit: {
      label: `scatter calls in C, ${DELAY} µs each`,
      program: async (count) => scatter(await slowOf(), count),
      goal: 0.9,
    },
  },
];

function rowsOf({ label, open, limit }: BenchConnector, count: number): Row[] {
  const pages = count === 1 ? "a page" : `${count.toLocaleString("en")} pages`;
  const expected = async () => copyPlain((await fixture()).ram, await places(), 4096, new Uint8Array(4096));
  const limits: Row[] =
    limit === undefined
      ? []
      : [
          {
            name: `${limit.label}, ${pages} a batch`,
            operations: PAGES,
            isLimit: true,
            needsCompiler: true,
            prepare: async () => {
              const [program, args] = await limit.program(count);
              const flags = program === "scatter" ? { libraries: ["-ldl"] } : {};
              return cProgram(program, args, 1, { expected: await expected() }, compiled(program, flags));
            },
          },
        ];
  const goals = limit?.goal === undefined ? [] : [{ name: "goal", ratio: limit.goal }];
  return [
    ...limits,
    {
      name: `${label}, ${pages} a batch`,
      operations: PAGES,
      needsCompiler: label !== "file" && label !== "mapped file",
      ...(limit === undefined ? {} : { against: [{ limit: `${limit.label}, ${pages} a batch`, goals }] }),
      prepare: async () => {
        if (label.startsWith("leechcore") && !hasCompiler) return undefined;
        const { source, base = 0, close } = await open();
        const io = new SourceIo(source, new Scheduler());
        const addresses = Array.from(await places(), (at) =>
          typeof base === "number" ? base + at : offsetAddress(base, at),
        );
        const memory = new Uint8Array(count * 4096);
        const into = Array.from({ length: count }, (_, i) => memory.subarray(i * 4096, (i + 1) * 4096));
        let batches = 0;
        const run = () => {
          const before = io.counters.batches;
          let sum = 0;
          for (let first = 0; first < PAGES; first += count) {
            all(into.map((page, i) => readInto(io, addresses[first + i] as Address, page))).sync();
            for (let i = 0; i < count; i++) sum += into[i]?.[((first + i) * 8) % 4096] as number;
          }
          batches = io.counters.batches - before;
          return sum;
        };
        return {
          run,
          expected: await expected(),
          note: () => `${batches.toLocaleString("en")} batches`,
          close: async () => {
            await io.close();
            close?.();
          },
        };
      },
    },
  ];
}

export const sources: Group = {
  name: "sources",
  title: "Pages at random, by connector",
  rows: CONNECTORS.flatMap((connector) => COUNTS.flatMap((count) => rowsOf(connector, count))),
};
