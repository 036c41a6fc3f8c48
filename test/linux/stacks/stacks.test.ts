/** Kernel stacks of the committed dump, whole and damaged. (What they are is judged by the kernel itself: test/support/stack-suite.ts.) */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Truth } from "../../../fixtures/vm/truth.mjs";
import { type Damage, type KernelStack, listKernelStacks, listModules } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { jsonLines, memtool } from "../../support/cli.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const TRUTH: Truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
const NOWHERE = 0xdead_0000_0000_0100n;

describe("kernel stacks", () => {
  let patched: PatchedKernel;
  let whole: KernelStack[];
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    whole = await list(() => {});
  });
  afterEach(() => patched?.close());

  async function list(onDamage: (damage: Damage) => void): Promise<KernelStack[]> {
    return await listKernelStacks(patched.kernel, { pid: TRUTH.witnessPid, onDamage }).toArray();
  }

  const named = (stack: KernelStack | undefined) => stack?.frames.map(({ symbol }) => symbol);

  it("say in which call of the kernel a process sleeps", () => {
    expect(whole).toHaveLength(1);
    expect(named(whole[0])).toEqual([
      "__schedule",
      "schedule",
      "__do_sys_pause",
      "do_syscall_64",
      "entry_SYSCALL_64_after_hwframe",
    ]);
    expect(whole[0]).toMatchObject({ from: "saved", complete: true });
  });

  it("of a process that has no stack any more are not listed", async () => {
    const zombie = TRUTH.processes.find(({ state }) => state === "Z");
    const options = { pid: zombie?.pid };
    expect(await listKernelStacks(patched.kernel, options).toArray()).toEqual([]);
  });

  it("end where an address of a caller is no code, with what was found until there", async () => {
    const frame = whole[0]?.frames[2];
    // The address that a call pushes lies below the caller's frame.
    await patched.setPointer((frame?.sp ?? 0n) - 8n, 0n);
    const damage: Damage[] = [];
    const [stack] = await list((each) => damage.push(each));
    expect(named(stack)).toEqual(["__schedule", "schedule"]);
    expect(stack?.complete).toBe(false);
    expect(damage).toMatchObject([{ reason: "invalid" }]);
    expect(damage[0]?.what).toMatch(/kernel stack of 98 \(mt-witness\)/);
  });

  it("end where a module's tables lie at the end of the address space", async () => {
    const [module] = await listModules(patched.kernel).toArray();
    const at = module?.module ?? 0n;
    const types = await patched.kernel.types();
    const tables = at + BigInt(offsetOf(types, "module", "arch.orc_unwind_ip"));
    await patched.setPointer(tables, 0xffff_ffff_ffff_f000n);
    await patched.set(at + BigInt(offsetOf(types, "module", "arch.num_orcs")), Uint8Array.of(0, 0, 1, 0));
    await patched.setPointer((whole[0]?.frames[2]?.sp ?? 0n) - 8n, (module?.address ?? 0n) + 16n);
    const damage: Damage[] = [];
    const [stack] = await list((each) => damage.push(each));
    expect(stack?.complete).toBe(false);
    expect(damage).toMatchObject([{ reason: "unreadable" }]);
  });

  it("have no frames where the saved stack pointer leads nowhere, and it is told", async () => {
    const types = await patched.kernel.types();
    const at = (whole[0]?.task.address ?? 0n) + BigInt(offsetOf(types, "task_struct", "thread.sp"));
    await patched.setPointer(at, NOWHERE);
    const damage: Damage[] = [];
    const [stack] = await list((each) => damage.push(each));
    expect(stack).toMatchObject({ frames: [], complete: false });
    expect(damage).toMatchObject([{ what: "what a task left on its stack", address: NOWHERE }]);
  });

  it("end, whatever their contents", async () => {
    const frames = whole[0]?.frames ?? [];
    const [first, second] = frames;
    // A call that returns to itself, over and over.
    for (let i = 0; i < 2000; i++) {
      const at = (first?.sp ?? 0n) + BigInt(8 * i);
      if (at >> 14n !== (first?.sp ?? 0n) >> 14n) break;
      await patched.setPointer(at, second?.pc ?? 0n);
    }
    const damage: Damage[] = [];
    const [stack] = await list((each) => damage.push(each));
    expect(stack?.frames.length).toBeLessThan(1025);
    expect(stack?.complete).toBe(false);
    expect(damage).toHaveLength(1);
  });
});

describe("memtool stacks", () => {
  it("shows a function a line, and tells one that runs by the registers of its CPU", async () => {
    const { out, status } = await memtool(["stacks", "-f", DUMP]);
    expect(status).toBe(0);
    expect(out).toMatch(
      /^ 98 +mt-witness +S +0xffffffff9f610e3d +__schedule\+0x34d\n +0xffffffff9f61154a +schedule\+0x5a$/m,
    );
    const { out: lines } = await memtool(["stacks", "--json", "--pid", `${TRUTH.pid}`, "-f", DUMP]);
    const { rip } = TRUTH.stops.kernel.registers as unknown as { rip: string };
    expect(jsonLines(lines)[0]).toMatchObject({
      pid: TRUTH.pid,
      from: "registers",
      complete: true,
      frames: expect.arrayContaining([expect.objectContaining({ pc: rip })]),
    });
  });
});
