/** Timers of the committed dump's kernel, with things that are damaged, and by symbols that lack variables. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Damage, type KernelTimer, listTimers } from "../../../src/linux/index.js";
import { needStruct, offsetOf } from "../../../src/linux/objects/record.js";
import { sizeOf } from "../../../src/linux/types/c-type.js";
import { needPlace } from "../../../src/linux/types/member-path.js";
import { functionsOnly } from "../../support/functions-only.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const WILD = 0xffff_dead_0000_0000n;

describe("timers", () => {
  let patched: PatchedKernel;
  let whole: KernelTimer[];
  let told: Damage[];
  beforeEach(async () => {
    patched = await PatchedKernel.open(DUMP);
    whole = await listTimers(patched.kernel).toArray();
    told = [];
  });
  afterEach(() => patched?.close());

  const list = () => listTimers(patched.kernel, { onDamage: (each) => told.push(each) }).toArray();
  const offset = async (struct: string, path: string) =>
    BigInt(offsetOf(await patched.kernel.types(), struct, path));
  const precise = () => whole.filter(({ kind }) => kind === "high-resolution");
  const wheel = () => whole.filter(({ kind }) => kind === "wheel");
  const without = (...gone: KernelTimer[]) => whole.filter((each) => !gone.includes(each));

  it("are the same where symbols list functions only, but for what time it was", async () => {
    patched.kernel.useSymbols(await functionsOnly(patched.kernel));
    const found = await list();
    expect(whole.length).toBeGreaterThan(10);
    expect(found).toEqual(whole.map((each) => ({ ...each, now: null, remaining: null })));
    expect(told).toEqual([]);
  });

  it("that are in a tree with a loop are given once, and the loop is told", async () => {
    const [first, ...others] = precise();
    expect(others.length).toBeGreaterThan(0);
    const node = await offset("hrtimer", "node.node");
    const left = await offset("rb_node", "rb_left");
    // The earliest timer has nothing on its left.
    const last = others.at(-1) as KernelTimer;
    await patched.setPointer((first as KernelTimer).address + node + left, last.address + node);
    const found = await list();
    expect(found).toHaveLength(whole.length);
    expect(new Set(found.map(({ address }) => address))).toEqual(
      new Set(whole.map(({ address }) => address)),
    );
    expect(told).toMatchObject([{ what: "the monotonic timers of CPU 0", address: last.address + node }]);
  });

  it("are one clock's: a second one that leads to the same tree is told", async () => {
    const clocks = await patched.kernel.perCpu("hrtimer_bases", 0);
    const struct = "hrtimer_cpu_base";
    const address = await clocks.$.address();
    const at = address + (await offset(struct, "clock_base[1].active.rb_root.rb_root.rb_node"));
    const from = address + (await offset(struct, "clock_base[0].active.rb_root.rb_root.rb_node"));
    const top = await patched.kernel.memory.read(from, 8);
    await patched.set(at, top);
    expect(await list()).toEqual(whole);
    expect(told).toMatchObject([{ what: "the realtime timers of CPU 0", reason: "loop" }]);
  });

  it("whose function is wild are given with its address, and without a name", async () => {
    const [hrtimer, wheeled] = [precise()[0] as KernelTimer, wheel()[0] as KernelTimer];
    await patched.setPointer(hrtimer.address + (await offset("hrtimer", "function")), WILD);
    await patched.setPointer(wheeled.address + (await offset("timer_list", "function")), WILD + 1n);
    const found = await list();
    expect(found[0]).toEqual({ ...hrtimer, functionAddress: WILD, function: null });
    const mine = found.find(({ address }) => address === wheeled.address);
    expect(mine).toMatchObject({ functionAddress: WILD + 1n, function: null, work: null });
    expect(found).toHaveLength(whole.length);
    expect(told).toEqual([]);
  });

  it("are given though their owner can't be read, which is told", async () => {
    const sleeper = whole.find(({ function: calls }) => calls === "hrtimer_wakeup") as KernelTimer;
    expect(sleeper.pid).toBeGreaterThan(0);
    await patched.setPointer(sleeper.address + (await offset("hrtimer_sleeper", "task")), WILD);
    const found = await list();
    const lost = { ...sleeper, pid: undefined, comm: undefined, tgid: undefined };
    expect(found).toEqual(whole.map((each) => (each === sleeper ? lost : each)));
    expect(told).toMatchObject([{ what: "the task of a timer", address: WILD, reason: "unreadable" }]);
  });

  it("of the wheel are those up to a pointer that leads back, or to what is none; which is told", async () => {
    const next = await offset("timer_list", "entry.next");
    const [first, second] = wheel().filter(({ index }) => index === 0) as [KernelTimer, KernelTimer];
    for (const [pointer, reason] of [
      [first.address, "mismatch"],
      [second.address, "mismatch"],
      [WILD, "unreadable"],
    ] as const) {
      told.length = 0;
      await patched.setPointer(first.address + next, pointer);
      const found = await list();
      expect(told).toMatchObject([{ what: "the standard wheel of CPU 0", address: pointer, reason }]);
      expect(found.length).toBeGreaterThanOrEqual(whole.length - 1);
      await expect(listTimers(patched.kernel).toArray()).rejects.toMatchObject({ code: "DAMAGED" });
    }
  });

  it("of CPUs that there are not, are none: a count and a set of them that lie are told", async () => {
    const count = (await patched.kernel.symbol("nr_cpu_ids")).address;
    const mask = (await patched.kernel.symbol("__cpu_possible_mask")).address;
    await patched.set(count, new Uint8Array(4).fill(0xff));
    await patched.set(mask, new Uint8Array(64).fill(0xff));
    const found = await list();
    expect(found).toEqual(whole);
    expect(told[0]).toMatchObject({ what: "nr_cpu_ids", reason: "invalid" });
    expect(told.slice(1).every(({ reason }) => reason === "mismatch" || reason === "unreadable")).toBe(true);
    expect(told.length).toBeGreaterThan(100);
  });

  it("of another CPU, by what its clocks and its wheel say, are none of this one, which is told", async () => {
    for (const [variable, path, lost, what] of [
      ["hrtimer_bases", "hrtimer_cpu_base", precise(), "the timers of CPU 0"],
      [
        "timer_bases",
        "timer_base",
        wheel().filter(({ index }) => index === 0),
        "the standard wheel of CPU 0",
      ],
    ] as const) {
      told.length = 0;
      const at = (await (await patched.kernel.perCpu(variable, 0)).$.address()) + (await offset(path, "cpu"));
      await patched.set(at, new Uint8Array([7, 0, 0, 0]));
      expect(await list()).toEqual(without(...lost));
      expect(told).toMatchObject([{ what, reason: "mismatch" }]);
      await patched.set(at, new Uint8Array(4));
    }
  });

  describe("whose clocks", () => {
    const struct = "hrtimer_cpu_base";
    const baseOf = async () => await (await patched.kernel.perCpu("hrtimer_bases", 0)).$.address();
    /** All of the CPU's clocks, and its number. */
    async function zero(): Promise<void> {
      const from = (await baseOf()) + (await offset(struct, "clock_base"));
      const size = sizeOf(needPlace(needStruct(await patched.kernel.types(), struct), "clock_base").type);
      for (let at = 0; at < size; at += 8) await patched.setPointer(from + BigInt(at), 0n);
    }

    it("are all zero, though the CPU is online, are told once", async () => {
      await zero();
      expect(await list()).toEqual(wheel());
      const address = await baseOf();
      expect(told).toMatchObject([{ what: "the timers of CPU 0", address, reason: "invalid" }]);
    });

    it("are all zero, though the CPU booted, are told where no set of CPUs has a symbol", async () => {
      await zero();
      patched.kernel.useSymbols(await functionsOnly(patched.kernel));
      await list();
      expect(told).toMatchObject([{ what: "the timers of CPU 0", reason: "invalid" }]);
    });

    it("are all zero are none of a CPU that was never online, which is nothing to tell", async () => {
      await zero();
      const online = (await patched.kernel.symbol("__cpu_online_mask")).address;
      await patched.setPointer(online, 0n);
      expect(await list()).toEqual(wheel());
      expect(told).toEqual([]);
    });

    it("do not point back to the CPU's are told, and given all the same", async () => {
      const address = await baseOf();
      const clocks = await Promise.all([0, 3].map((i) => offset(struct, `clock_base[${i}]`)));
      const back = await offset("hrtimer_clock_base", "cpu_base");
      await patched.setPointer(address + (clocks[0] as bigint) + back, 0n);
      await patched.setPointer(address + (clocks[1] as bigint) + back, WILD);
      expect(await list()).toEqual(whole);
      expect(told.map(({ what, address: at, reason }) => [what, at, reason])).toEqual([
        ["the monotonic timers of CPU 0", address + (clocks[0] as bigint), "mismatch"],
        ["the tai timers of CPU 0", address + (clocks[1] as bigint), "mismatch"],
      ]);
    });
  });

  it("whose page is missing are left out, as far as nothing else says them, and told", async () => {
    const lost = wheel().at(-1) as KernelTimer;
    await patched.remove(lost.address);
    const found = await list();
    expect(told.length).toBeGreaterThan(0);
    expect(told.every(({ reason }) => reason === "unreadable")).toBe(true);
    const page = (each: KernelTimer) => each.address >> 12n;
    const safe = without(...whole.filter((each) => page(each) === page(lost)));
    expect(found.map(({ address }) => address)).toEqual(
      expect.arrayContaining(
        safe.filter(({ kind }) => kind === "high-resolution").map(({ address }) => address),
      ),
    );
  });
});
