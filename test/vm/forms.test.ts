/** One moment of a real guest in every form that QEMU and makedumpfile write, each compared with its RAM byte by byte. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/index.js";
import { type Form, writeForms } from "../../fixtures/vm/forms.mjs";
import { bootGuest, type Guest } from "../../fixtures/vm/machine.mjs";
import { compareMemory } from "../support/compare-memory.js";

/** Names of the forms, in the order in which they are written; those that a QEMU was built without are skipped. */
const FORMS = [
  "QEMU's ELF",
  "QEMU's kdump, zlib",
  "QEMU's kdump, lzo",
  "QEMU's kdump, snappy",
  "QEMU's ELF with paging",
  "makedumpfile's, nothing left out, uncompressed",
  "makedumpfile's, nothing left out, zlib",
  "makedumpfile's, nothing left out, LZO",
  "makedumpfile's, zero pages left out, zlib",
  "makedumpfile's, all filters, zlib",
  "makedumpfile's, split over three files",
  "makedumpfile's, flattened",
  "QEMU's migration stream",
];

let guest: Guest;
let forms: readonly Form[];
beforeAll(async () => {
  guest = await bootGuest({ log: (line: string) => console.log(line) });
  forms = await writeForms(guest);
});
afterAll(async () => {
  await guest?.close();
});

describe("a guest's memory", () => {
  it("is written in no form that the list lacks", () => {
    expect(FORMS).toEqual(expect.arrayContaining(forms.map(({ name }) => name)));
  });

  it.each(FORMS)("in the form of %s reads as its RAM, and what is not there is told", async (name) => {
    const form = forms.find((candidate) => candidate.name === name);
    if (form === undefined) {
      console.log(`skipped: this QEMU was built without the form ${name}`);
      return;
    }
    const machine = await open(form.files);
    try {
      expect(machine.format).toBe(form.format);
      const found = await compareMemory(machine, guest.rawFile);
      expect([found.different, found.firstDifference, found.unlikeMap]).toEqual([0, undefined, 0]);
      const linux = await machine.linux();
      expect(linux.release).toBe(guest.truth.kernel.release);
      if (form.keeps === "all") {
        expect([found.same, found.missing]).toEqual([guest.ramBytes, {}]);
      } else if (form.keeps === "all but zeros") {
        expect(found.missingNotZero).toBe(0);
        expect(found.missing).toEqual({ "excluded (zero)": guest.ramBytes - found.same });
        expect(found.same).toBeGreaterThan(guest.ramBytes / 4);
        expect(found.same).toBeLessThan(guest.ramBytes);
      } else {
        expect(found.same).toBeGreaterThan(guest.ramBytes / 4);
        expect(machine.physical?.map.bytesPresent).toBeGreaterThanOrEqual(found.same);
      }
    } finally {
      await machine.close();
    }
  });
});
