/** A fresh guest's RAM, stopped and running, through LeechCore's stand-in over the file that backs it. */
import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { open, openTarget } from "../../connectors/index.js";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
import { findKernel, readInto, Scheduler, SourceIo } from "../../src/index.js";
import { standIn } from "../support/leechcore.js";
import { linuxSuite } from "../support/linux-suite.js";

let guest: Promise<Guest> | undefined;
const boot = (): Promise<Guest> => {
  guest ??= bootGuest({ dump: false, log: (line: string) => console.log(line) });
  return guest;
};
afterAll(async () => {
  await (await guest)?.close();
});

/** As a card that can be told nothing of this guest: it is live, and wants aligned reads. */
const connectorOf = ({ ramFile }: Guest) => `leechcore:card:file=${ramFile},volatile=1,library=${standIn()}`;

linuxSuite("a fresh guest, stopped, through LeechCore's stand-in", async () => {
  const subject = await boot();
  return { target: { connector: connectorOf(subject) }, truth: subject.truth };
});

describe("a fresh guest through LeechCore's stand-in", () => {
  it("has the bytes that its RAM has, while it is stopped", async () => {
    const subject = await boot();
    const { source } = await openTarget(connectorOf(subject));
    const io = new SourceIo(source, new Scheduler());
    const bytes = await readInto(io, 0, subject.ramBytes);
    expect(Buffer.compare(bytes, readFileSync(subject.ramFile))).toBe(0);
    await io.close();
  });

  it("is seen to run, and its processes are still listed", async () => {
    const subject = await boot();
    const machine = await open({ connector: connectorOf(subject) });
    try {
      const { physical } = machine;
      if (physical === undefined) throw new Error("no physical memory");
      const kernel = await findKernel(physical, { map: physical.map, live: true });
      const linux = await machine.linux();
      const jiffies = async () => {
        const { address } = await kernel.symbol("jiffies");
        return Buffer.from(await kernel.memory.read(address, 8)).readBigUInt64LE();
      };
      const first = await jiffies();
      await subject.resume();
      let later = first;
      for (let i = 0; i < 500 && later === first; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        later = await jiffies();
      }
      expect(later).toBeGreaterThan(first);
      const pids = new Set<number | undefined>();
      for await (const task of linux.tasks()) pids.add(task.pid);
      for (const pid of [1, 2]) expect(pids.has(pid)).toBe(true);
    } finally {
      await machine.close();
    }
  });
});
