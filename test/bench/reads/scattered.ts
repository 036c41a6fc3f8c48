/** One read whose bytes lie in many places. */
import { cProgram } from "../c-programs.js";
import { fixture, type Mapping, rawFile } from "../fixture.js";
import { sumWords } from "../limits.js";
import type { Row } from "../row.js";
import { lazy, writeNumbers } from "../work-folder.js";
import { origins } from "./origins.js";
import { MIB } from "./patterns.js";

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
export const scattered: Row[] = [
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
