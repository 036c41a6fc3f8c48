/** CPUs that may be there, of kernels made by hand. */
import { expect, it } from "vitest";
import { IoSequence } from "../../src/io/index.js";
import type { Damage } from "../../src/linux/index.js";
import { kernelData } from "../../src/linux/kernel-data.js";
import { type PerCpu, perCpuAreas } from "../../src/linux/per-cpu.js";
import { handKernel } from "../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../support/kernel-memory.js";

const OFFSET = 0xffff_8000_0000_0000n;

/** A kernel built for 64 CPUs that has two of them: behind its set of CPUs and its table of offsets lies something else. */
async function areas(count?: number) {
  const types = new HandTypes().struct("cpumask", ["bits", "long unsigned int"]);
  const memory = new HandMemory(types);
  const mask = memory.take(16);
  memory.put(mask, 0b11n);
  memory.put(mask + 8n, 0b1n);
  memory.take(1024);
  const offsets = memory.take(66 * 8);
  for (let cpu = 0; cpu < 66; cpu++) memory.put(offsets + BigInt(8 * cpu), OFFSET + BigInt(cpu));
  const limit = memory.take(8);
  memory.put(limit, count ?? 0, 4);
  const variables = {
    __per_cpu_offset: offsets,
    __cpu_possible_mask: mask,
    ...(count === undefined ? {} : { nr_cpu_ids: limit }),
  };
  const kernel = handKernel(types, memory, { variables });
  const told: Damage[] = [];
  const [found] = await IoSequence.of<PerCpu, []>(memory.space.scheduler, function* (sink) {
    yield sink.emit(yield* perCpuAreas(yield* kernelData(kernel), (each) => told.push(each)));
  }).toArray();
  return { found, told };
}

it("CPUs are those of the kernel's set, of which it knows how large it is", async () => {
  for (const count of [undefined, 2, 64]) {
    const { found, told } = await areas(count);
    expect(found?.areas).toEqual([
      { cpu: 0, offset: OFFSET, section: undefined },
      { cpu: 1, offset: OFFSET + 1n, section: undefined },
    ]);
    expect(told).toEqual([]);
  }
});

it("a number of CPUs that the set has no room for is told, and not believed", async () => {
  for (const count of [0, 65, 0xffff_ffff]) {
    const { found, told } = await areas(count);
    expect(found?.cpus).toEqual([0, 1]);
    expect(told).toMatchObject([{ what: "nr_cpu_ids", reason: "invalid" }]);
  }
});
