/** A fresh guest: its dumps in every form, and the guest itself through its QEMU process's memory. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openProcess } from "../../connectors/index.js";
import { FORMS, type Form } from "../../fixtures/vm/forms.mjs";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
import { patternPage } from "../../fixtures/vm/truth.mjs";
import {
  all,
  findKernel,
  PhysicalMap,
  PhysicalMemory,
  Scheduler,
  SourceIo,
  settle,
  VirtualMemory,
  withMapping,
} from "../../src/index.js";
import { bpfSuite } from "../support/bpf-suite.js";
import { coreSuite } from "../support/core-suite.js";
import { cpuSuite } from "../support/cpu-suite.js";
import { filesSuite } from "../support/files-suite.js";
import { irqSuite } from "../support/irq-suite.js";
import { linuxSuite } from "../support/linux-suite.js";
import { ownersSuite } from "../support/owners-suite.js";
import { pagecacheSuite } from "../support/pagecache-suite.js";
import { slabSuite } from "../support/slab-suite.js";
import { socketSuite } from "../support/socket-suite.js";
import { stackSuite } from "../support/stack-suite.js";
import { timerSuite } from "../support/timer-suite.js";
import { truthSuite } from "../support/truth-suite.js";
import { ttySuite } from "../support/tty-suite.js";

let guest: Promise<Guest> | undefined;
const boot = (): Promise<Guest> => {
  guest ??= bootGuest({ log: (line: string) => console.log(line) });
  return guest;
};
afterAll(async () => {
  await (await guest)?.close();
});

for (const form of ["elf", "raw", "kdump"] as const) {
  truthSuite(`a fresh guest's ${form} dump`, async () => {
    const { truth, elfFile, rawFile, kdumpFile } = await boot();
    const target = { elf: elfFile, raw: rawFile, kdump: kdumpFile }[form];
    return { target, truth, format: { elf: "elf-core", raw: "raw", kdump: "kdump" }[form] };
  });
  for (const suite of [linuxSuite, slabSuite, cpuSuite, timerSuite, irqSuite]) {
    suite(`a fresh guest's ${form} dump`, async () => {
      const { truth, elfFile, rawFile, kdumpFile } = await boot();
      return { target: { elf: elfFile, raw: rawFile, kdump: kdumpFile }[form], truth };
    });
  }
}

for (const suite of [
  filesSuite,
  socketSuite,
  bpfSuite,
  ttySuite,
  stackSuite,
  ownersSuite,
  pagecacheSuite,
  coreSuite,
]) {
  suite("a fresh guest's raw dump", async () => {
    const { rawFile, truth } = await boot();
    return { target: rawFile, truth };
  });
}

// makedumpfile knows this kernel's page flags: it leaves out no structure of the kernel's.
for (const suite of [linuxSuite, filesSuite, ttySuite, slabSuite, cpuSuite]) {
  suite("a fresh guest's dump without user pages, by makedumpfile", async () => {
    const form = FORMS.find(({ name }) => name === "makedumpfile's, all filters, zlib") as Form;
    return { target: await form.write(await boot()), truth: (await boot()).truth, filtered: true };
  });
}

describe("a running guest, read through its QEMU process", () => {
  let subject: Guest;
  let source: SourceIo;
  let physical: PhysicalMemory;

  beforeAll(async () => {
    subject = await boot();
    // Guest RAM is a mapping of the backing file in QEMU; guest-physical 0 is its first byte.
    const process = openProcess(subject.pid);
    const ram = process.maps().find(({ path }) => path === subject.ramFile);
    if (ram === undefined) throw new Error(`${subject.ramFile} is not mapped in process ${subject.pid}`);
    source = new SourceIo(process, new Scheduler());
    const mapping = [{ start: 0, size: subject.ramBytes, target: Number(ram.start) }];
    physical = new PhysicalMemory(withMapping(source, mapping), {
      map: PhysicalMap.single(0, subject.ramBytes),
      live: true,
    });
    await subject.resume();
  });
  afterAll(async () => {
    await source?.close();
  });

  it("its kernel is found while it runs", async () => {
    const kernel = await findKernel(physical, { map: physical.map, live: true });
    expect(kernel.release).toBe(subject.truth.kernel.release);
    const wanted = subject.truth.symbols.find(({ name }) => name === "init_task");
    expect((await kernel.symbol("init_task")).address).toBe(BigInt(wanted?.address ?? 0));
  });

  it("the pattern program's pages hold their pattern, and its holes are holes, while it runs", async () => {
    const space = new VirtualMemory(physical, { root: Number(subject.truth.stops.user.root), live: true });
    const runs = subject.truth.regions.flatMap((region) => region.runs);
    const present = runs.filter(({ physical, content }) => physical !== null && content === "pattern");
    const bytes = await all(present.map(({ start }) => space.read(BigInt(start), 4096)));
    present.forEach(({ start, generation }, i) => {
      expect(Buffer.from(bytes[i] as Uint8Array).equals(patternPage(BigInt(start), generation))).toBe(true);
    });
    expect(present.length).toBeGreaterThan(400);
    const holes = runs.filter(({ state }) => state === "never-touched" || state === "dontneed");
    const failed = await settle(holes.map(({ start }) => space.read(BigInt(start), 16)));
    for (const outcome of failed) {
      expect(outcome.ok ? "read" : outcome.error).toMatchObject({ holes: [{ state: "not-present" }] });
    }
    expect(holes.length).toBeGreaterThan(100);
  });

  it("what changes is seen to change: nothing of a live guest is served from yesterday's cache", async () => {
    const kernel = await findKernel(physical, { map: physical.map, live: true });
    const { address } = await kernel.symbol("jiffies");
    const first = await kernel.memory.read(address, 8);
    let later = first;
    for (let i = 0; i < 200 && Buffer.from(later).equals(Buffer.from(first)); i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      later = await kernel.memory.read(address, 8);
    }
    expect(Buffer.from(later).equals(Buffer.from(first))).toBe(false);
  });
});
