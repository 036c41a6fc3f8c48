/** A guest with a newer kernel in every form of a dump: what memtool says of it against what the guest itself printed. */
import { afterAll } from "vitest";
import { FORMS, type Form } from "../../fixtures/vm/forms.mjs";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
import { bpfSuite } from "../support/bpf-suite.js";
import { filesSuite } from "../support/files-suite.js";
import { linuxSuite } from "../support/linux-suite.js";
import { socketSuite } from "../support/socket-suite.js";

let guest: Promise<Guest> | undefined;
const boot = (): Promise<Guest> => {
  guest ??= bootGuest({ machine: "amd64-612", log: (line: string) => console.log(line) });
  return guest;
};
afterAll(async () => {
  await (await guest?.catch(() => undefined))?.close();
});

for (const suite of [linuxSuite, filesSuite]) {
  suite("Linux 6.12, raw", async () => {
    const { rawFile, truth } = await boot();
    return { target: rawFile, truth };
  });
}

for (const suite of [socketSuite, bpfSuite]) {
  suite("Linux 6.12, raw", async () => {
    const { rawFile, truth } = await boot();
    return { target: rawFile, truth };
  });
}

/**
 * By the name that forms.mjs gives them. Filtered ones are `guest.test.ts`'s, of 6.1: Debian 12's makedumpfile does not know the page
 * types of this kernel, and leaves out pages of its structures, others with each boot. Nothing could be said of what must be there.
 */
const WRITTEN = ["QEMU's ELF", "QEMU's kdump, zlib", "LiME's layout"];

for (const name of WRITTEN) {
  for (const suite of [linuxSuite, filesSuite]) {
    suite(`Linux 6.12, ${name}`, async () => {
      const { truth } = await boot();
      const form = FORMS.find((each) => each.name === name) as Form;
      return { target: await form.write(await boot()), truth };
    });
  }
}
