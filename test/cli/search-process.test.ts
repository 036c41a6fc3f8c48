/** Searches in a live process: whose each hit is, and that the kernel's pages in it count for nothing. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";

const MARK = "only-in-this-environment-5b1f";
let child: ChildProcess;
let target: string[];

beforeAll(async () => {
  child = spawn("cat", [], { env: { MARK }, stdio: ["pipe", "pipe", "ignore"] });
  // (What it answers says that it has been loaded: its mappings stay as they are.)
  child.stdin?.write("started\n");
  await once(child.stdout as NodeJS.ReadableStream, "data");
  target = ["-c", `proc:${child.pid}`];
});
afterAll(() => child.kill());

it("`search` tells the process and the mapping that each hit is in, and misses nothing", async () => {
  const { status, out, err } = await memtool(["search", "--text", `MARK=${MARK}`, "--json", ...target]);
  expect([status, err]).toEqual([0, ""]);
  const [hit] = jsonLines(out);
  expect(hit).toMatchObject({
    physical: null,
    virtual: expect.stringMatching(/^0x[0-9a-f]+$/),
    pid: child.pid,
    owner: "cat, [stack], rw-p",
    kind: "process",
  });
  const people = await memtool(["search", "--text", `MARK=${MARK}`, ...target]);
  expect(people.out).toContain(
    `${hit?.virtual}  ${String(child.pid).padStart(7)}  process  cat, [stack], rw-p\n`,
  );
});

it("`search` of a range that is asked for tells what of it can't be read", async () => {
  const maps = jsonLines((await memtool(["maps", "--json", ...target])).out);
  const lent = maps.find(({ path }) => path === "[vvar]");
  // (Other processors than x86 and arm64 may have none.)
  if (lent === undefined) return;
  const range = ["--from", String(lent.start), "--length", "4096"];
  const { status, err } = await memtool(["search", "--text", MARK, ...range, ...target]);
  expect([status, err]).toEqual([1, expect.stringContaining("4 KiB  io")]);
});

it("`strings` misses nothing, and tells owners if asked", async () => {
  const args = ["strings", "--grep", `^MARK=${MARK}$`, "--json", ...target];
  const plain = await memtool(args);
  expect([plain.status, plain.err, jsonLines(plain.out)]).toMatchObject([
    0,
    "",
    [{ pid: child.pid, owner: null }],
  ]);
  const owned = await memtool([...args, "--owners"]);
  expect(jsonLines(owned.out)).toMatchObject([{ pid: child.pid, owner: "cat, [stack], rw-p" }]);
});
