/**
 * Pages of the shipped dump, decompressed one by one: each codec beside its own library in C, which compressed them all.
 * Ours also makes the array that it gives, as a dump's reader needs one for each page; the library has one for all.
 */
import { writeFileSync } from "node:fs";
import { nodeDecoders } from "../../../connectors/node-decoders.js";
import { nodeEncoders } from "../../../connectors/node-encoders.js";
import type { CodecName, Encoders } from "../../../src/formats/index.js";
import { CodecLibrary, framed, type Library } from "../../codecs/libraries.js";
import { cProgram } from "../c-programs.js";
import { fixture } from "../fixture.js";
import type { Group, Ready, Row } from "../row.js";
import { lazy, workPath } from "../work-folder.js";

const PAGE = 4096;
/** Pages that are decompressed in one call of a row; every third of those that hold something. */
const PAGES = 1000;
/** Goes through all of them in one repetition of the C program. */
const LOOPS = 20;

const pages = lazy(async () => {
  const { ram, present } = await fixture();
  const found: Uint8Array[] = [];
  let seen = 0;
  for (let i = 0; i < present.length && found.length < PAGES; i++) {
    if (present[i] === 0) continue;
    const page = ram.subarray(i * PAGE, (i + 1) * PAGE);
    if (page.some((byte) => byte !== 0) && seen++ % 3 === 0) found.push(page);
  }
  return found;
});

const library = (name: Library) => lazy(() => new CodecLibrary(name));
const LIBRARIES: readonly { name: CodecName; library: () => CodecLibrary; is: string }[] = [
  { name: "lzo", library: library("lzo"), is: "liblzo2" },
  { name: "snappy", library: library("snappy"), is: "libsnappy" },
  { name: "zstd", library: library("zstd"), is: "libzstd" },
  { name: "inflate", library: library("zlib"), is: "zlib" },
];

/** What decompressing them all adds up to: of each page its first byte and its last. */
const sumOf = (blocks: readonly Uint8Array[]): number =>
  blocks.reduce((sum, block) => sum + (block[0] as number) + (block[block.length - 1] as number), 0);

const decoding = LIBRARIES.flatMap(({ name, library: c, is }): Row[] => {
  const compressed = lazy(async () => c().compress(await pages()));
  const limit = `${name}: ${is} in C`;
  return [
    {
      name: limit,
      isLimit: true,
      needsCompiler: true,
      prepare: async (): Promise<Ready | undefined> => {
        const { program } = c();
        if (program === undefined) return undefined;
        const inputs = await compressed();
        const path = workPath(`${name}-pages`);
        writeFileSync(path, framed(inputs));
        const rest = { expected: sumOf(await pages()), operations: inputs.length * LOOPS };
        return cProgram(name, ["time", path, PAGE], LOOPS, rest, program);
      },
    },
    {
      name: `${name}: nodeDecoders`,
      needsCompiler: true,
      against: [{ limit }],
      prepare: async (): Promise<Ready | undefined> => {
        const decode = nodeDecoders[name];
        if (c().program === undefined || decode === undefined) return undefined;
        const inputs = await compressed();
        const run = () => {
          let sum = 0;
          for (const input of inputs) {
            const page = decode(input, PAGE);
            sum += (page[0] as number) + (page[PAGE - 1] as number);
          }
          return sum;
        };
        return { run, expected: sumOf(await pages()), operations: inputs.length };
      },
    },
  ];
});

const encoding = (["deflate", "zstd"] as const).map(
  (name: keyof Encoders): Row => ({
    name: `${name}: nodeEncoders`,
    prepare: async (): Promise<Ready | undefined> => {
      const encode = nodeEncoders[name];
      if (encode === undefined) return undefined;
      const inputs = await pages();
      let bytes = 0;
      const run = () => {
        bytes = 0;
        for (const page of inputs) bytes += encode(page).length;
        return bytes;
      };
      const note = () => `to ${((100 * bytes) / (inputs.length * PAGE)).toFixed(1)}%`;
      return { run, operations: inputs.length, note };
    },
  }),
);

export const codecs: Group = {
  name: "codecs",
  title: "Codecs (an operation is a page of 4 KiB)",
  rows: [...decoding, ...encoding],
};
