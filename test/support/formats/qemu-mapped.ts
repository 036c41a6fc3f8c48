import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { writeQemuStream } from "../write-qemu-stream.js";

const BITS = 10;
const PAGE = 2 ** BITS;
const capabilities = ["mapped-ram"];
const page = (seed: number) => pattern(PAGE, seed);

const small = writeQemuStream({
  machine: "pc-q35-9.0",
  pageBits: BITS,
  capabilities,
  blocks: [
    { name: "pc.ram", length: 10 * PAGE, pages: new Map([1, 2, 5, 9].map((i) => [i, page(i)])) },
    { name: "vga.vram", length: 2 * PAGE, pages: new Map([[0, page(3)]]) },
  ],
  rounds: [[], []],
  endAfterRam: true,
});

const samples = fc
  .record({
    stored: fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }),
    seed: fc.nat(),
  })
  .map(({ stored, seed }): DumpSample => {
    const model = new ImageModel(stored.length * PAGE);
    const pages = new Map<number, Uint8Array>();
    stored.forEach((here, i) => {
      const bytes = here ? page(seed + i) : new Uint8Array(PAGE);
      if (here) pages.set(i, bytes);
      model.present(i * PAGE, bytes);
    });
    const blocks = [{ name: "pc.ram", length: stored.length * PAGE, pages }];
    return {
      file: writeQemuStream({
        machine: "pc-q35-9.0",
        pageBits: BITS,
        capabilities,
        blocks,
        rounds: [[]],
      }),
      model,
    };
  });

const ram = pattern(3 * 4096, 7);

export const qemuMapped: FormatCase = {
  name: "a QEMU migration stream with mapped-ram",
  small: { file: small },
  size: 0x4000,
  fields: [{ start: 0, end: 320 }],
  bigEndian: true,
  recognisedFrom: 4,
  cut: /ends/,
  samples,
  packets: {
    file: writeQemuStream({
      machine: "pc-i440fx-9.0",
      capabilities,
      blocks: [
        {
          name: "pc.ram",
          length: 19 * 4096,
          pages: new Map([0, 1, 2].map((i) => [16 + i, ram.subarray(i * 4096, (i + 1) * 4096)])),
        },
      ],
      rounds: [[]],
    }),
    base: 16 * 4096,
    ram,
    missing: { bytes: 50, state: "outside" },
  },
};
