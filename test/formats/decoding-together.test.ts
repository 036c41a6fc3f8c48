import { expect, it } from "vitest";
import { DecodePool } from "../../connectors/decode-pool.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { openDump, type PagesDecoder } from "../../src/formats/index.js";
import { Packet, readPartial } from "../../src/io/index.js";
import { pattern } from "../support/bytes.js";
import { openBytes, testFile } from "../support/dump.js";
import { writeKdump } from "../support/write-kdump.js";

const PAGE = 512;
const page = (seed: number): Uint8Array => pattern(PAGE, 2 * seed);

for (const how of ["none", "pool"] as const)
  it(`an output may wait synchronously for another page (${how})`, () => {
    const count = 60;
    const pages = Array.from({ length: count }, (_, pfn) => ({ pfn, bytes: page(pfn) }));
    const file = writeKdump(pages, { blockSize: PAGE, maxPages: count });
    const pool = new DecodePool({ threads: 1, worthwhile: 1, startAfter: Number.POSITIVE_INFINITY });
    const few: PagesDecoder = {
      worthwhile: 1,
      helps: () => true,
      bytes: 3 * PAGE,
      decode: (c, i, l, u) => pool.decode(c, i, l, u),
    };
    const many = how === "none" ? undefined : few;
    const image = openBytes(file, { decoders: { ...nodeDecoders, many }, cacheBytes: 0 });
    const packet = Packet.reading(8);
    const got: unknown[] = [];
    image.io.sendIo(
      0,
      packet.view().bind({
        onFragment: () => {
          got.push(readPartial(image.io, 7 * PAGE, PAGE).sync().bytes);
        },
      }),
    );
    readPartial(image.io, 20 * PAGE, 3 * PAGE).sync();
    expect(packet.outputError).toBe(undefined);
    expect(got).toEqual([page(7)]);
  });

it("a pool whose threads can't be started only goes without help", async () => {
  const many: PagesDecoder = {
    worthwhile: 1,
    helps: () => true,
    bytes: 4 * 2 ** 20,
    decode: () => {
      throw Object.assign(new Error("Access to this API has been restricted"), { code: "ERR_ACCESS_DENIED" });
    },
  };
  const pages = Array.from({ length: 20 }, (_, pfn) => ({ pfn, bytes: page(pfn) }));
  const image = await openDump(testFile(writeKdump(pages, { blockSize: PAGE, maxPages: 20 }), "async"), {
    decoders: { ...nodeDecoders, many },
  });
  expect((await readPartial(image.io, 0, 20 * PAGE)).holes).toEqual([]);
});
