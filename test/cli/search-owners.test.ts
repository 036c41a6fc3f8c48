import { expect, test } from "vitest";
import { withOwners } from "../../cli/search/owned.js";
import type { Place } from "../../cli/search/places.js";
import { jsonLines, memtool } from "../support/cli.js";

const ON_DUMP = ["-f", "fixtures/linux-6.1-x86_64.kdump"];

test("the kernel's memory, which page tables of a process have too, is not searched with --pid alone", async () => {
  const wanted = ["--text", "Linux version 6", ...ON_DUMP];
  expect((await memtool(["search", "--pid", "100", ...wanted])).status).toBe(1);
});

test("texts of the kernel's memory are not told as the process's", async () => {
  const where = ["--pid", "100", "--from", "0xffff000000000000"];
  const wanted = ["--grep", "^Linux version 6", "--json", ...ON_DUMP];
  const own = await memtool(["strings", "--pid", "100", ...wanted]);
  expect(own.status).toBe(1);
  const texts = jsonLines((await memtool(["strings", ...where, ...wanted])).out) as { pid: number | null }[];
  expect(texts.length).toBeGreaterThan(0);
  expect(texts.every(({ pid }) => pid === null)).toBe(true);
});

test("the kernel's memory, which page tables of a process have too, is not told as the process's", async () => {
  const { out } = await memtool([
    "search",
    "--pid",
    "100",
    "--from",
    "0xffff000000000000",
    "--text",
    "Linux version 6",
    "--json",
    ...ON_DUMP,
  ]);
  const hits = jsonLines(out) as { pid: number | null; kind: string }[];
  expect(hits.length).toBeGreaterThan(0);
  expect(new Set(hits.map(({ kind, pid }) => `${kind} ${pid}`))).toEqual(new Set(["kernel null"]));
});

test("--all-processes finds what is in the processes' own memory, and nothing of the kernel's", async () => {
  const { out } = await memtool([
    "search",
    "--all-processes",
    "--hex",
    "7f 45 4c 46 02",
    "--json",
    ...ON_DUMP,
  ]);
  const hits = jsonLines(out) as { virtual: string; pid: number; kind: string; owner: string }[];
  expect(new Set(hits.map(({ kind }) => kind))).toEqual(new Set(["process"]));
  expect(hits.every(({ virtual }) => BigInt(virtual) < 1n << 47n)).toBe(true);
  expect(new Set(hits.map(({ pid }) => pid)).size).toBeGreaterThan(1);
  expect(hits.map(({ owner }) => owner)).toContain("busybox, /bin/busybox, r--p");
});

test("owners of long texts are asked for before too many wait", async () => {
  const text = "x".repeat(1 << 16);
  const asked: number[] = [];
  const owners = {
    of: async (_: Place, addresses: readonly bigint[]) => {
      asked.push(addresses.length);
      return addresses.map((virtual) => [{ physical: null, virtual, pid: null, kind: null, owner: null }]);
    },
  };
  async function* texts() {
    for (let i = 0n; i < 2500n; i++) yield { address: i, text };
  }
  let at = 0n;
  for await (const { virtual } of withOwners(owners, {} as Place, texts())) expect(virtual).toBe(at++);
  expect(asked).toEqual([1024, 1024, 452]);
});
