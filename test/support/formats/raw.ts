import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";

const ram = pattern(3 * 4096, 7);

export const raw: FormatCase = {
  name: "a raw image",
  small: { file: pattern(5000, 3), format: "raw" },
  size: 0x4000,
  fields: [],
  recognisedFrom: 0,
  samples: fc.uint8Array({ minLength: 1, maxLength: 9000 }).map((bytes): DumpSample => {
    const model = new ImageModel(bytes.length);
    model.present(0, bytes);
    return { file: bytes, format: "raw", model };
  }),
  packets: { file: ram, format: "raw", base: 0, ram, missing: { bytes: 50, state: "outside" } },
};
