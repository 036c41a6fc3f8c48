import fc from "fast-check";
import { expect, it } from "vitest";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import type { Decoders } from "../../src/formats/index.js";
import { readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { expectImage, ImageModel, openBytes } from "../support/dump.js";
import { type KdumpPage, writeKdump } from "../support/write-kdump.js";

const PAGE = 512;

/** A codec of tests: a page is one byte, mixed with the codec's own. */
const made = (own: number) => (input: Uint8Array, length: number) =>
  new Uint8Array(length).fill((input[0] as number) ^ own);
const decoders: Decoders = {
  inflate: nodeDecoders.inflate,
  lzo: made(0x10),
  snappy: made(0x20),
  zstd: made(0x40),
};
const OWN = { 2: 0x10, 4: 0x20, 32: 0x40 } as const;

it("pages of every codec, and uncompressed ones, may be mixed in one file, whatever its header names", () => {
  const kind = fc.constantFrom(
    "zlib" as const,
    "raw" as const,
    "zero" as const,
    2 as const,
    4 as const,
    32 as const,
  );
  fc.assert(
    fc.property(
      fc.array(kind, { minLength: 1, maxLength: 40 }),
      fc.nat(0x27),
      fc.nat(),
      (kinds, status, seed) => {
        const model = new ImageModel(PAGE * kinds.length);
        const pages = kinds.map((how, pfn): KdumpPage => {
          if (typeof how === "string") {
            const bytes = how === "zero" ? new Uint8Array(PAGE) : pattern(PAGE, seed + pfn);
            model.present(pfn * PAGE, bytes);
            return { pfn, bytes, stored: how };
          }
          const bytes = new Uint8Array(PAGE).fill(pfn);
          model.present(pfn * PAGE, bytes);
          return { pfn, bytes, stored: { flags: how, bytes: Uint8Array.of(pfn ^ OWN[how]) } };
        });
        const file = writeKdump(pages, {
          maxPages: pages.length,
          blockSize: PAGE,
          status: status & ~8 & ~0x10,
        });
        const image = openBytes(file, { decoders });
        expect(image.warnings).toEqual([]);
        expectImage(image, model);
      },
    ),
    { numRuns: 100 },
  );
});

it("details say what the header names, and what the last pages are", () => {
  const body = { flags: 4, bytes: Uint8Array.of(1) };
  const pages: KdumpPage[] = [
    { pfn: 0, bytes: pattern(PAGE, 0) },
    { pfn: 1, bytes: pattern(PAGE, 1), stored: "raw" },
    { pfn: 2, bytes: pattern(PAGE, 2), stored: body },
  ];
  const open = (status: number) =>
    openBytes(writeKdump(pages, { maxPages: 3, blockSize: PAGE, status }), { decoders }).details;
  expect(open(1)).toMatchObject({ compression: "zlib", compressionOfLastPages: "stored, zlib, snappy" });
  expect(open(0x20).compression).toBe("zstd");
  expect(open(2).compression).toBe("LZO");
  expect(open(0).compression).toBe("none");
});

it("a codec that pages use and the header does not name is missed with a warning, too", () => {
  const pages: KdumpPage[] = [
    { pfn: 0, bytes: pattern(PAGE, 0) },
    { pfn: 1, bytes: pattern(PAGE, 1), stored: { flags: 0x20, bytes: Uint8Array.of(1) } },
  ];
  const image = openBytes(writeKdump(pages, { maxPages: 2, blockSize: PAGE, status: 1 }), {
    decoders: { inflate: nodeDecoders.inflate },
  });
  expect(image.warnings.join()).toMatch(/zstd can't be read/);
  expect(readPartial(image.io, 0, 2 * PAGE).sync().holes).toMatchObject([
    { start: PAGE, state: "unsupported" },
  ]);
});

it("flags that are no codec's are unsupported, and the neighbours are read", () => {
  for (const flags of [3, 8, 0x40, 0x80000000]) {
    const pages: KdumpPage[] = [
      { pfn: 0, bytes: pattern(PAGE, 0) },
      { pfn: 1, bytes: pattern(PAGE, 1), stored: { flags, bytes: pattern(PAGE, 1) } },
    ];
    const image = openBytes(writeKdump(pages, { maxPages: 2, blockSize: PAGE }), { decoders });
    expect(readPartial(image.io, 0, 2 * PAGE).sync().holes).toMatchObject([
      { start: PAGE, end: 2 * PAGE, state: "unsupported" },
    ]);
  }
});
