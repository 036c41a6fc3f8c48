import { inflateSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { EncodePool } from "../../connectors/convert/encode-pool.js";
import { nodeEncoders } from "../../connectors/node-encoders.js";
import { pattern } from "../support/bytes.js";

describe("pages that are compressed together", () => {
  const alone = new EncodePool(nodeEncoders, 0);
  const helped = new EncodePool(nodeEncoders, 2);
  afterAll(() => Promise.all([alone.close(), helped.close()]));
  // Even seeds compress, odd ones don't.
  const pages = Array.from({ length: 700 }, (_, i) => pattern(4096, i));
  const encode = (pool: EncodePool, some: readonly Uint8Array[]) => {
    const out: (Uint8Array | undefined)[] = [];
    pool.encode("deflate", some, (i, bytes) => {
      expect(i).toBe(out.length);
      out.push(bytes === undefined ? undefined : Uint8Array.from(bytes));
    });
    return out;
  };

  it("come in their order, each its own, with and without helpers", async () => {
    const expected = encode(alone, pages);
    expect(expected).toHaveLength(pages.length);
    for (const [i, bytes] of expected.entries()) {
      if (i % 2 === 1) expect(bytes).toBeUndefined();
      else expect(Buffer.compare(inflateSync(bytes as Uint8Array), pages[i] as Uint8Array)).toBe(0);
    }
    for (let i = 0; i < 8; i++) expect(encode(helped, pages)).toEqual(expected);
    expect(helped.threads).toBe(2);
    // Helpers have their turn.
    await new Promise((done) => setTimeout(done, 300));
    for (let i = 0; i < 8; i++) expect(encode(helped, pages)).toEqual(expected);
  });

  it("of more bytes than a job holds are done in several", () => {
    const large = Array.from({ length: 100 }, (_, i) => pattern(65_536, 2 * i));
    expect(encode(helped, large)).toEqual(encode(alone, large));
  });

  it("none are nothing", () => {
    expect(encode(alone, [])).toEqual([]);
  });

  it("are compressed here once the pool is closed, and an error of the codec is the caller's", async () => {
    const pool = new EncodePool(nodeEncoders, 2);
    await pool.close();
    expect(encode(pool, pages.slice(0, 40))).toEqual(encode(alone, pages.slice(0, 40)));
    const broken = new EncodePool(
      {
        deflate: () => {
          throw new Error("no memory");
        },
      },
      0,
    );
    expect(() => encode(broken, pages.slice(0, 3))).toThrow("no memory");
    expect(() => broken.encode("zstd", pages, () => {})).toThrow("no codec zstd");
  });
});
