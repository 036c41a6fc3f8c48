/** What the committed dump's kernel says of itself, and who is traced in it. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { listTasks, listTraced, readBanner } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const { kernel: FACTS } = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));

describe("a kernel", () => {
  let patched: PatchedKernel;
  afterEach(() => patched?.close());

  it("says its version, its names and its command line", async () => {
    patched = await PatchedKernel.open(DUMP);
    expect(await readBanner(patched.kernel)).toMatchObject({
      banner: FACTS.version,
      release: FACTS.release,
      commandLine: FACTS.commandLine,
      hostname: FACTS.hostname,
      system: "Linux",
      machine: "x86_64",
    });
  });

  it("has threads that are traced once one is marked so, with its tracer", async () => {
    patched = await PatchedKernel.open(DUMP);
    const before = (await listTraced(patched.kernel).toArray()).map(({ pid }) => pid);
    expect(before).not.toContain(1);
    const types = await patched.kernel.types();
    const [init, other] = await listTasks(patched.kernel).toArray();
    const at = (member: string) => (init?.address ?? 0n) + BigInt(offsetOf(types, "task_struct", member));
    await patched.set(at("ptrace"), Uint8Array.of(1, 0, 1, 0));
    await patched.setPointer(at("parent"), other?.address ?? 0n);
    const after = await listTraced(patched.kernel).toArray();
    expect(after.map(({ pid }) => pid)).toEqual([1, ...before]);
    expect(after[0]).toMatchObject({
      comm: "init",
      tracer: other?.pid,
      tracerComm: other?.comm,
      seized: true,
    });
  });
});
