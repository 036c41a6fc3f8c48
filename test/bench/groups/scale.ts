/** Memory and opening time of dumps of all sizes: what the command needs beyond Node, and what `open` costs. */
import { open } from "../../../connectors/index.js";
import { CLI, costOf } from "../child.js";
import { fixture, KDUMP } from "../fixture.js";
import { cpuMilliseconds } from "../measure.js";
import type { Group, Row } from "../row.js";
import { PAGES, sparseElf, sparseKdump, sparseRaw } from "../sparse-files.js";
import { lazy } from "../work-folder.js";

/** MiB beyond Node's own that a command may take. */
const BOUND = 150;

const DUMPS = {
  fixture: async () => ({ path: KDUMP, root: (await fixture()).root }),
  "5 GiB raw": async () => sparseRaw(),
  "1 TiB kdump": lazy(async () => sparseKdump(40, PAGES)),
  "1 TiB ELF": async () => sparseElf(),
} as const;

const nodePeak = lazy(() => costOf(["-e", "0"]).peak);

/** The command's peak beyond Node's own. */
function peakRow(
  name: string,
  dump: () => Promise<{ path: string; root: number }>,
  args: (root: number) => string[],
): Row {
  return {
    name,
    figure: { unit: "MiB", most: BOUND },
    prepare: async () => {
      const { path, root } = await dump();
      return { run: () => costOf([CLI, "-f", path, ...args(root)]).peak - nodePeak() };
    },
  };
}

/** CPU time of `open` in this process, without looking for a kernel. */
function openRow(name: string, dump: () => Promise<{ path: string }>): Row {
  return {
    name: `open(), ${name}`,
    figure: { unit: "ms CPU" },
    samples: 7,
    prepare: async () => {
      const { path } = await dump();
      const run = async () => {
        const before = cpuMilliseconds();
        const machine = await open(path, { kernel: "none" });
        const took = cpuMilliseconds() - before;
        await machine.close();
        return took;
      };
      await run();
      return { run };
    },
  };
}

export const scale: Group = {
  name: "scale",
  title: "Memory and scale",
  rows: [
    {
      name: "Node itself, peak resident",
      figure: { unit: "MiB" },
      isLimit: true,
      prepare: () => ({ run: () => costOf(["-e", "0"]).peak }),
    },
    ...Object.entries(DUMPS).flatMap(([name, dump]) => [
      peakRow(`info, ${name}, beyond Node`, dump, () => ["info"]),
      peakRow(`maps, ${name}, beyond Node`, dump, (root) => ["--root", `0x${root.toString(16)}`, "maps"]),
    ]),
    openRow("fixture", DUMPS.fixture),
    openRow("5 GiB raw", DUMPS["5 GiB raw"]),
    openRow(
      "256 GiB kdump, 250,000 pages",
      lazy(async () => sparseKdump(38, 250_000)),
    ),
    openRow(
      "1 TiB kdump, 250,000 pages",
      lazy(async () => sparseKdump(40, 250_000)),
    ),
    openRow("1 TiB kdump, a million pages", DUMPS["1 TiB kdump"]),
    openRow("1 TiB ELF, a million pages", DUMPS["1 TiB ELF"]),
  ],
};
