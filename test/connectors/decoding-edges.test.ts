import { deflateSync } from "node:zlib";
import { expect, it } from "vitest";
import { DecodeJob } from "../../connectors/decode-job.js";
import { NearRows } from "../../connectors/near-rows.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { Batch } from "../../src/io/batch.hot.js";
import { PageSlab } from "../../src/io/page-slab.hot.js";
import { pattern } from "../support/bytes.js";

it("NearRows: a row that came in part is left to be read by itself", () => {
  const batch = new Batch();
  const memory = new Uint8Array(30).fill(7);
  batch.reset("read", 2);
  batch.push(0, 0, memory, 0, 10);
  batch.push(12, 0, memory, 10, 20);
  new NearRows(4096, (into) => {
    into.fill(1, 0, 20);
    return 20;
  }).read(batch, 0, 2);
  expect([batch.status[0], batch.status[1]]).toEqual([0, -1]);
  expect([...memory.subarray(10)]).toEqual(new Array(20).fill(7));
});

it("DecodeJob: not idle while somebody is at work; finish does not wait for who claimed and died", () => {
  const job = new DecodeJob(40, 40 * 512);
  const words = new Int32Array(job.memory);
  job.open(
    "inflate",
    Array.from({ length: 40 }, (_, i) => new Uint8Array(deflateSync(pattern(512, 2 * i)))),
    512,
  );
  Atomics.add(words, 2, 1); // entered
  Atomics.add(words, 0, 16); // claimed 16, then died
  job.work(nodeDecoders);
  job.finish();
  expect(job.idle).toBe(false);
  expect([...job.valid]).toEqual([...new Array(16).fill(0), ...new Array(24).fill(1)]);
});

it("DecodeJob: a page that decompresses to less than a page is not valid", () => {
  const job = new DecodeJob(1, 512);
  job.open("inflate", [new Uint8Array(deflateSync(pattern(100, 2)))], 512);
  job.work(nodeDecoders);
  expect(job.valid[0]).toBe(0);
});

it("PageSlab: a page that is wanted again soon after it was dropped outlives a scan", () => {
  const slab = new PageSlab(16 * 4096);
  const bytes = new Uint8Array(4096);
  for (let page = 0; page < 17; page++) slab.keep(page, bytes);
  expect(slab.find(0)).toBe(-1);
  slab.keep(0, bytes);
  for (let page = 100; page < 130; page++) slab.keep(page, bytes);
  expect(slab.find(0)).toBeGreaterThanOrEqual(0);
});
