/** Threads that help a search and end amid their work: the search goes on, and finds what it would have. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { hostWasm } from "../../connectors/host-wasm.js";
import type { Machine } from "../../connectors/machine.js";
import { open } from "../../connectors/open.js";
import { nodeSearchHost } from "../../connectors/search-host.js";
import { search, searchMachine } from "../../connectors/search-machine.js";
import type { SearchHit, SearchPattern, SearchTask } from "../../src/search/index.js";
import { compilePattern } from "../../src/search/patterns.js";
import { TaskView } from "../../src/search/search-task.js";
import { tablesSize } from "../../src/search/wasm-matchers.js";
import type { Wasm } from "../../src/wasm/platform.js";

const MIB = 2 ** 20;
const PATTERNS: readonly SearchPattern[] = [{ text: "needle" }, { regex: /[a-z]{3,}/ }];
/** Where `TaskView` keeps what is put, what is claimed, and who is inside. */
const [PUT, CLAIMED, INSIDE] = [0, 1, 4];

/** How the next helper ends. */
let ending = "";
let words: Int32Array | undefined;
vi.mock("../../connectors/start-worker.js", () => ({
  startWorker: (_: string, { workerData }: { workerData: SearchTask }) => {
    const compiled = workerData.patterns.map((pattern) => compilePattern(pattern, workerData.abi));
    const at = Math.ceil(tablesSize(compiled) / 64) * 64;
    words = new Int32Array(workerData.memory.buffer, at, 8);
    // It claims a part as soon as there is one, and is no more.
    const code = `
      const { buffer, at } = require("worker_threads").workerData;
      const words = new Int32Array(buffer, at, 8);
      Atomics.add(words, ${INSIDE}, 1);
      while (Atomics.load(words, ${PUT}) <= Atomics.load(words, ${CLAIMED}));
      Atomics.add(words, ${CLAIMED}, 1);
      ${ending}`;
    const resourceLimits = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4 };
    return new Worker(code, {
      eval: true,
      resourceLimits,
      workerData: { buffer: workerData.memory.buffer, at },
    });
  },
}));

let folder: string;
let machine: Machine;
let expected: SearchHit[];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "memtool-helpers-"));
  const bytes = Buffer.alloc(8 * MIB, 1);
  for (let i = 0; i < 200; i++) bytes.write("needle", (i * 7919 * 5) % (8 * MIB - 8), "latin1");
  writeFileSync(join(folder, "memory.raw"), bytes);
  machine = await open(join(folder, "memory.raw"), { kernel: "none" });
  expected = search(machine.physical as NonNullable<Machine["physical"]>, PATTERNS)
    .toArray()
    .sync();
});
beforeEach(() => {
  words = undefined;
});
afterAll(async () => {
  await machine.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Waits until the helper has its part: this thread would have done everything itself by then. */
function claimed(): void {
  const end = Date.now() + 10_000;
  while (words !== undefined && Atomics.load(words, CLAIMED) === 0 && Date.now() < end);
}

test.each([
  ["exits", "process.exit(0);"],
  ["throws", "throw new Error('an error of the test');"],
  ["runs out of memory", "const all = []; for (;;) all.push(new Array(1e5).fill(all.length));"],
])(
  "a helper that %s with a part of its own is noticed, and the part is searched without it",
  async (_, how) => {
    ending = how;
    const found: SearchHit[] = [];
    const options = { threads: 2, piece: MIB / 4, onProgress: claimed };
    for await (const hit of searchMachine(machine, PATTERNS, options)) found.push(hit);
    expect(words).toBeDefined();
    expect(found).toEqual(expected);
  },
  // (Half a minute is what a helper is waited for of which nothing is known.)
  25_000,
);

test("a helper that throws is noticed by a search that is driven synchronously, too", () => {
  let view: TaskView | undefined;
  const start = (task: SearchTask) => {
    const wasm = hostWasm as Wasm;
    view = new TaskView(task, wasm, nodeSearchHost);
    Object.defineProperty(view, "work", {
      value: () => {
        const compiled = task.patterns.map((pattern) => compilePattern(pattern, task.abi));
        const at = Math.ceil(tablesSize(compiled) / 64) * 64;
        Atomics.add(new Int32Array(task.memory.buffer, at, 8), CLAIMED, 1);
        throw new Error("amid its work");
      },
    });
  };
  const onProgress = () => {
    if (view !== undefined) expect(() => view?.help()).toThrow("amid its work");
    view = undefined;
  };
  const host = { ...nodeSearchHost, helpers: { count: 1, start } };
  const physical = machine.physical as NonNullable<Machine["physical"]>;
  const options = { host, piece: MIB / 4, onProgress };
  expect(search(physical, PATTERNS, options).toArray().sync()).toEqual(expected);
}, 25_000);
