import { pattern } from "../bytes.js";
import type { FormatCase } from "../format-suite.js";
import { prstatusOf, writeElf } from "../write-elf.js";
import { elfPackets, elfSamples } from "./elf-core.js";
import { text } from "./text.js";

/** EM_ARM, ELFCLASS32, ELFDATA2MSB. */
const BIG_ARM = { machine: 40, class: 1, order: 2 } as const;

const small = writeElf(
  [
    { physical: 0x1000, bytes: pattern(300, 1) },
    { physical: 0x3000, bytes: pattern(200, 2), memorySize: 400 },
    { physical: 0x0, bytes: pattern(64, 3) },
  ],
  {
    ...BIG_ARM,
    likeQemu: true,
    notes: [
      prstatusOf({
        pid: 1,
        registers: Array.from({ length: 18 }, (_, i) => i),
        wordSize: 4,
        bigEndian: true,
      }),
      { name: "VMCOREINFO", type: 0, description: text("OSRELEASE=6.1\nPAGESIZE=4096\n") },
    ],
  },
);

export const elfCore32Big: FormatCase = {
  name: "a 32-bit big-endian ELF core",
  small: { file: small },
  size: 0x4000,
  fields: [{ start: 0, end: 600 }],
  bigEndian: true,
  cut: /the file ends|missing/,
  samples: elfSamples(BIG_ARM),
  packets: elfPackets(BIG_ARM),
};
