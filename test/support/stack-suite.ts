/** Kernel stacks of a dump against what its guest's kernel printed of them: /proc/PID/stack of every thread. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { type KernelStack, type LinuxKernel, listKernelStacks } from "../../src/linux/index.js";

/** Kernel threads that may have done something else between the print and the dump: workers, and what the machine's clock wakes. */
const MOVED = 3;

/** Runs the tests. @param load The dump, and its truth. */
export function stackSuite(name: string, load: () => Promise<{ target: string; truth: Truth }>): void {
  describe(`the kernel stacks of ${name}`, () => {
    let machine: Machine;
    let kernel: LinuxKernel;
    let truth: Truth;
    let stacks: KernelStack[];

    beforeAll(async () => {
      const { target, truth: facts } = await load();
      truth = facts;
      machine = await open(target);
      kernel = await machine.linux();
      const registers = machine.image?.notes.cpus;
      stacks = await listKernelStacks(kernel, { registers }).toArray();
    });
    afterAll(() => machine?.close());

    it("are what the kernel itself printed, function by function, of every thread that slept", async () => {
      // (The kernel leaves out functions of the scheduler, include/linux/sched/debug.h `in_sched_functions`.)
      const from = (await kernel.symbol("__sched_text_start")).address;
      const to = (await kernel.symbol("__sched_text_end")).address;
      const moved: string[] = [];
      let user = 0;
      let threads = 0;
      for (const { task, frames, from: begin } of stacks) {
        const { pid, tgid } = task;
        const path = pid === tgid ? `/proc/${pid}/stack` : `/proc/${tgid}/task/${pid}/stack`;
        const lines = (truth.texts[path] ?? "").split("\n").filter((line) => line !== "");
        const printed = lines.map((line) => line.replace(/^\[<0>\] (.*)\/0x[0-9a-f]+/, "$1"));
        const mine = frames
          .filter(({ pc }) => pc < from || pc >= to)
          .map(({ symbol, offset, module }) => {
            const place = `${symbol}+0x${offset?.toString(16)}`;
            return module === null ? place : `${place} [${module}]`;
          });
        // The program that printed the truth was running then; what runs now slept then.
        if (begin !== "saved" || tgid === truth.pid) continue;
        if (task.kernelThread === true) {
          if (mine.join() !== printed.join()) moved.push(`${pid} ${task.name}: ${mine} not ${printed}`);
          else threads++;
          continue;
        }
        expect(mine, `${path} (${task.comm})`).toEqual(printed);
        user += mine.length > 0 ? 1 : 0;
      }
      expect(moved.slice(MOVED)).toEqual([]);
      expect(user).toBeGreaterThan(3);
      expect(threads).toBeGreaterThan(20);
    });

    it("end where stacks begin, each with a function of the kernel in every frame", () => {
      for (const { task, frames, complete, from } of stacks) {
        // (A raw image has no registers: nothing is known of what ran.)
        if (from === "unknown") {
          expect({ frames, complete }).toEqual({ frames: [], complete: false });
          continue;
        }
        expect(complete, `${task.pid} ${task.comm}`).toBe(true);
        expect(frames.filter(({ symbol }) => symbol === undefined)).toEqual([]);
      }
    });
  });
}
