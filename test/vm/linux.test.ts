/** A guest with a newer kernel in every form of a dump: what memtool says of it against what the guest itself printed. */
import { afterAll } from "vitest";
import { FORMS, type Form } from "../../fixtures/vm/forms.mjs";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
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

socketSuite("Linux 6.12, raw", async () => {
  const { rawFile, truth } = await boot();
  return { target: rawFile, truth };
});

/** By the name that forms.mjs gives them. */
const WRITTEN: readonly { readonly name: string; readonly filtered?: boolean }[] = [
  { name: "QEMU's ELF" },
  { name: "QEMU's kdump, zlib" },
  { name: "LiME's layout" },
  { name: "makedumpfile's, all filters, zlib", filtered: true },
];

for (const { name, filtered } of WRITTEN) {
  for (const suite of [linuxSuite, filesSuite]) {
    suite(`Linux 6.12, ${name}`, async () => {
      const { truth } = await boot();
      const form = FORMS.find((each) => each.name === name) as Form;
      return { target: await form.write(await boot()), truth, filtered };
    });
  }
}
