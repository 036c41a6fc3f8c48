/** The kernel's time, in the places that it has in different kernels: made by hand. */
import { expect, it } from "vitest";
import { IoSequence } from "../../../src/io/index.js";
import type { Damage } from "../../../src/linux/index.js";
import { kernelData } from "../../../src/linux/kernel-data.js";
import { type KernelTime, readTime } from "../../../src/linux/time/clock.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

const SECOND = 1_000_000_000n;

interface Layout {
  readonly architecture: string;
  readonly pointerSize: 4 | 8;
  /** Members of `seqcount_raw_spinlock_t`. */
  readonly counter: readonly string[];
  /** Whether what holds the timekeeper has a name (6.13). */
  readonly named: boolean;
  readonly symbol: string;
  /** Bytes from it to the timekeeper. */
  readonly offset: number;
}

const X86: Layout = {
  architecture: "x86_64",
  pointerSize: 8,
  counter: ["unsigned int"],
  named: false,
  symbol: "tk_core",
  offset: 8,
};

async function time(layout: Layout, { shift = 8, clock = 1n, mapped = true } = {}) {
  const types = new HandTypes(layout.pointerSize);
  types
    .struct("seqcount_raw_spinlock", ...layout.counter.map((type, i) => [`${i}`, type] as const))
    .typedef("seqcount_raw_spinlock_t", "struct seqcount_raw_spinlock")
    .struct(
      "tk_read_base",
      ["clock", "long unsigned int"],
      ["shift", "unsigned int"],
      ["xtime_nsec", "long long unsigned int"],
      ["base", "long long unsigned int"],
    )
    .struct("timekeeper", ["tkr_mono", "struct tk_read_base"]);
  if (layout.named)
    types.struct("tk_data", ["seq", "seqcount_raw_spinlock_t"], ["timekeeper", "struct timekeeper"]);
  const memory = new HandMemory(types);
  const core = memory.take(128, 64);
  const put = (member: string, value: bigint, size: number) =>
    memory.put(
      core + BigInt(layout.offset + types.offset("struct timekeeper", `tkr_mono.${member}`)),
      value,
      size,
    );
  put("clock", clock, layout.pointerSize);
  put("shift", BigInt(shift), 4);
  put("xtime_nsec", 77n << 8n, 8);
  put("base", 5n * SECOND, 8);
  const jiffies = memory.take(8);
  memory.put(jiffies, 0xfffe_dcban);
  if (!mapped) memory.pages.clear();
  const variables = { [layout.symbol]: core, jiffies };
  const kernel = Object.assign(handKernel(types, memory, { variables }), {
    architecture: layout.architecture,
  });
  const told: Damage[] = [];
  const [found] = await IoSequence.of<KernelTime, []>(memory.space.scheduler, function* (sink) {
    const data = yield* kernelData(kernel);
    yield sink.emit(yield* readTime(data, (each) => told.push(each)));
  }).toArray();
  return { found, told };
}

it.each<[string, Partial<Layout>]>([
  ["before 6.13", {}],
  ["with a counter that knows its lock", { counter: ["unsigned int", "long unsigned int"], offset: 16 }],
  ["since 6.13", { named: true }],
  ["since 6.17", { named: true, symbol: "timekeeper_data" }],
  ["of i386, whose structures are aligned to 4 bytes", { architecture: "i386", pointerSize: 4, offset: 4 }],
  ["of 32 bits elsewhere", { architecture: "arm", pointerSize: 4 }],
])("the time of a kernel %s is found", async (_, change) => {
  const { found, told } = await time({ ...X86, ...change });
  expect(found).toEqual({ monotonic: 5n * SECOND + 77n, jiffies: 0xfffe_dcban });
  expect(told).toEqual([]);
});

it.each([
  ["without a clock", { clock: 0n }],
  ["with a shift that no clock has", { shift: 33 }],
] as const)("a time %s is none, and is told", async (_, change) => {
  const { found, told } = await time(X86, change);
  expect(found?.monotonic).toBeUndefined();
  expect(told).toMatchObject([{ what: "the timekeeper", reason: "invalid" }]);
});

it("a time that can't be read is none, and is told", async () => {
  const { found, told } = await time(X86, { mapped: false });
  expect(found).toEqual({ monotonic: undefined, jiffies: undefined });
  expect(told.map(({ what, reason }) => [what, reason])).toEqual([
    ["the timekeeper", "unreadable"],
    ["jiffies", "unreadable"],
  ]);
});
