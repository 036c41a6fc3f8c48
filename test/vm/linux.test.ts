/** A guest with a newer kernel in every form of a dump: what memtool says of it against what the guest itself printed. */
import { afterAll, describe, expect, it } from "vitest";
import { FORMS, type Form } from "../../fixtures/vm/forms.mjs";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
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
import { ttySuite } from "../support/tty-suite.js";
import { processNumbers, withoutVmcoreinfo } from "../support/without-vmcoreinfo.js";

let guest: Promise<Guest> | undefined;
const boot = (): Promise<Guest> => {
  guest ??= bootGuest({ machine: "amd64-612", log: (line: string) => console.log(line) });
  return guest;
};
afterAll(async () => {
  await (await guest?.catch(() => undefined))?.close();
});

const SUITES = [
  linuxSuite,
  filesSuite,
  socketSuite,
  bpfSuite,
  ttySuite,
  slabSuite,
  ownersSuite,
  pagecacheSuite,
  coreSuite,
  cpuSuite,
  timerSuite,
  irqSuite,
  stackSuite,
];

for (const suite of SUITES) {
  suite("Linux 6.12, raw", async () => {
    const { rawFile, truth } = await boot();
    return { target: rawFile, truth };
  });
}

describe("Linux 6.12, raw, without VMCOREINFO", () => {
  it("lists its processes", async () => {
    const { rawFile, truth } = await boot();
    await withoutVmcoreinfo(
      rawFile,
      () => ({ searchRoots: true }),
      async (linux) => {
        const { found, listed } = await processNumbers(linux, truth);
        expect(found).toEqual(listed);
      },
    );
  });
});

/**
 * By the name that forms.mjs gives them. Filtered ones are `guest.test.ts`'s, of 6.1: Debian 12's makedumpfile does not know the page
 * types of this kernel, and leaves out pages of its structures, others with each boot. Nothing could be said of what must be there.
 */
const WRITTEN = ["QEMU's ELF", "QEMU's kdump, zlib", "LiME's layout"];

for (const name of WRITTEN) {
  for (const suite of [linuxSuite, filesSuite, cpuSuite]) {
    suite(`Linux 6.12, ${name}`, async () => {
      const { truth } = await boot();
      const form = FORMS.find((each) => each.name === name) as Form;
      return { target: await form.write(await boot()), truth };
    });
  }
}
