/** Many records a call: pages at random, and a million values. */
import { cProgram } from "../c-programs.js";
import { fixture, randomAddresses, rawFile } from "../fixture.js";
import { gatherPlain, sumWords, translatePlain } from "../limits.js";
import type { Against, Row } from "../row.js";
import { lazy, writeNumbers } from "../work-folder.js";
import { type Origin, origins } from "./origins.js";
import { expectedOf, KIB, loopsOf, mappedOf, type Pattern, patterns, preadOf } from "./patterns.js";

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

export const pageGathers: Row[] = randomPages.flatMap((pattern) => [
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
export const valueGathers: Row[] = [
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
