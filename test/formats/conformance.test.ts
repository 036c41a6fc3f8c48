/** Every dump format as a PacketIo: the same bytes through each, over a file that answers at once, and later. */
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { openDump } from "../../src/index.js";
import { packetIoSuite } from "../suite/index.js";
import { pattern } from "../support/bytes.js";
import { testFile } from "../support/dump.js";
import { flatten } from "../support/flatten.js";
import { writeElf } from "../support/write-elf.js";
import { writeKdump } from "../support/write-kdump.js";

const PAGE = 4096;
const PFN = 16;
const ram = pattern(3 * PAGE, 7);
const pages = [0, 1, 2].map((i) => ({
  pfn: PFN + i,
  bytes: ram.subarray(i * PAGE, (i + 1) * PAGE),
  stored: i === 1 ? ("raw" as const) : ("zlib" as const),
}));
const kdump = writeKdump(pages, { maxPages: 64, leftOut: [PFN + 3] });
const elf = writeElf([
  { physical: PFN * PAGE, bytes: ram.subarray(0, 5000), virtual: 0 },
  { physical: PFN * PAGE + 5000, bytes: ram.subarray(5000), memorySize: ram.length - 5000 + 100 },
]);

const dumps = [
  { name: "a raw dump", bytes: ram, base: 0, state: "outside" },
  { name: "an ELF core", bytes: elf, base: PFN * PAGE, state: "excluded" },
  { name: "a kdump file", bytes: kdump, base: PFN * PAGE, state: "excluded" },
  { name: "a flattened kdump file", bytes: flatten(kdump), base: PFN * PAGE, state: "excluded" },
] as const;

for (const { name, bytes, base, state } of dumps) {
  for (const mode of ["sync", "async"] as const) {
    packetIoSuite(`${name} over a file that answers ${mode}`, async () => {
      const file = testFile(bytes, mode);
      const { io } = await openDump(file, {
        decoders: nodeDecoders,
        ...(base === 0 ? { format: "raw" } : {}),
      });
      return { io, base, truth: () => ram, asyncOnly: mode === "async", missing: { bytes: 50, state } };
    });
  }
}
