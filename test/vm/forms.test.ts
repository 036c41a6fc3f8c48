/** A real guest in every form that there is a program for, and converted to others: each compared with its RAM byte by byte. */
import { readFileSync } from "node:fs";
import { stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import { FORMS, type Form, migrate } from "../../fixtures/vm/forms.mjs";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
import { compareMemory } from "../support/compare-memory.js";
import { skipIfMissing } from "../support/missing.js";
import { convertSuite } from "./convert-suite.js";

let guest: Guest;
/** Bytes of its pages that are all zero. */
let zeros = 0;
beforeAll(async () => {
  guest = await bootGuest({ log: (line: string) => console.log(line) });
  zeros = zeroBytes(guest.rawFile);
});
afterAll(async () => {
  await guest?.close();
});

describe("a guest's memory", () => {
  for (const form of FORMS) {
    it(`in the form of ${form.name} reads as its RAM, and what is not there is told`, async (context) => {
      const files = await form.write(guest).catch((error: unknown) => skipIfMissing(context, error));
      if (files.length === 0) context.skip("this QEMU was built without it");
      const machine = await open(files);
      try {
        expect(machine.format).toBe(form.format);
        const found = await compareMemory(machine, guest.rawFile);
        expect([found.different, found.firstDifference, found.unlikeMap]).toEqual([0, undefined, 0]);
        expect(Object.keys(found.missing).sort()).toEqual([...form.gaps].sort());
        const all = guest.ramBytes;
        if (form.keeps === "all") {
          expect(found.same).toBe(all);
        } else if (form.keeps === "all but zeros") {
          expect(found.missingNotZero).toBe(0);
          expect(found.same).toBeGreaterThanOrEqual(all - zeros);
          expect(found.same).toBeLessThan(all);
        } else if (form.keeps === "System RAM") {
          expect(found.same).toBe(systemRam(guest));
        } else {
          expect(found.same).toBeGreaterThan(all / 4);
          expect(found.same).toBeLessThan(all);
        }
        if (form.zeros === true) expect(await zerosTold(machine, all)).toBe(zeros);
        const linux = await machine.linux();
        expect(linux.release).toBe(guest.truth.kernel.release);
      } finally {
        await machine.close();
      }
    });
  }

  it("of which one file of three is missing has the rest, and says where it is", async (context) => {
    const form = FORMS.find(({ name }) => name === "makedumpfile's, split over three files") as Form;
    const files = await form.write(guest).catch((error: unknown) => skipIfMissing(context, error));
    for (const [i] of files.entries()) {
      const machine = await open(
        files.filter((_, other) => other !== i),
        { kernel: "none" },
      );
      try {
        const found = await compareMemory(machine, guest.rawFile);
        expect([found.different, found.unlikeMap, Object.keys(found.missing)]).toEqual([
          0,
          0,
          ["excluded (other file)"],
        ]);
        expect(found.missing["excluded (other file)"]).toBeGreaterThan(4 * 2 ** 20);
      } finally {
        await machine.close();
      }
    }
  });
});

convertSuite(
  () => guest,
  () => zeros,
);

describe("a guest that is sent away", () => {
  it("while it runs: the last copy of each page counts", async () => {
    // Slower than it writes at first, so that pages are sent again.
    await guest.qmp("migrate-set-parameters", { "max-bandwidth": 30_000_000, "downtime-limit": 50 });
    await guest.resume();
    const stream = join(guest.directory, "running.migration");
    await migrate(guest.qmp, stream);
    await compareStream(stream, ({ image }) => {
      expect(Number(image?.details.pagesSent) * 4096).toBeGreaterThan(guest.ramBytes);
    });
  });

  it("with QEMU's compression: pages are decompressed; and cut short, it has what it still has", async (context) => {
    const capabilities: { capability: string }[] = await guest.qmp("query-migrate-capabilities");
    if (!capabilities.some(({ capability }) => capability === "compress"))
      context.skip("this QEMU has no such compression");
    await guest.qmp("migrate-set-capabilities", { capabilities: [{ capability: "compress", state: true }] });
    await guest.qmp("migrate-set-parameters", { "max-bandwidth": 0, "compress-threads": 2 });
    await guest.resume();
    await guest.stop();
    const stream = join(guest.directory, "compressed.migration");
    await migrate(guest.qmp, stream);
    const statistics = await guest.qmp("query-migrate");
    expect(statistics.compression.pages).toBeGreaterThan(1000);
    await compareStream(stream);
    await truncate(stream, Math.floor((await stat(stream)).size / 2));
    const machine = await open(stream, { kernel: "none" });
    try {
      const found = await compareMemory(machine, guest.ramFile);
      expect([found.different, found.unlikeMap, Object.keys(found.missing)]).toEqual([
        0,
        0,
        ["excluded (incomplete)"],
      ]);
      expect(found.same).toBeGreaterThan(guest.ramBytes / 8);
    } finally {
      await machine.close();
    }
  });

  /** A stream and the RAM of the guest, which stands still since the stream ended. */
  async function compareStream(stream: string, check: (machine: Machine) => void = () => {}): Promise<void> {
    const machine = await open(stream);
    try {
      const found = await compareMemory(machine, guest.ramFile);
      expect([found.different, found.firstDifference, found.missing]).toEqual([0, undefined, {}]);
      expect((await machine.linux()).release).toBe(guest.truth.kernel.release);
      check(machine);
    } finally {
      await machine.close();
    }
  }
});

/** Bytes below an address that a dump tells to be zero without their being read. */
async function zerosTold(machine: Machine, below: number): Promise<number> {
  const map = await machine.image?.mapWithZeros?.();
  let bytes = 0;
  for (const { start, end, zero } of map?.ranges() ?? []) {
    if (zero) bytes += Math.max(0, Math.min(end, below) - start);
  }
  return bytes;
}

function systemRam({ truth }: Guest): number {
  const ranges = truth.iomem.filter(({ name }) => name === "System RAM");
  return ranges.reduce((sum, { start, end }) => sum + Number(end) - Number(start), 0);
}

function zeroBytes(path: string): number {
  const raw = readFileSync(path);
  const zero = Buffer.alloc(4096);
  let bytes = 0;
  for (let at = 0; at < raw.length; at += 4096) {
    if (raw.compare(zero, 0, 4096, at, at + 4096) === 0) bytes += 4096;
  }
  return bytes;
}
