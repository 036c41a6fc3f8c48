/** Timers of a dump against the /proc/timer_list that its guest printed some time before it was stopped. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { type KernelTimer, listTimers } from "../../src/linux/index.js";

/** A timer that the guest printed. */
interface Printed {
  readonly cpu: number;
  readonly clock: number;
  readonly base: bigint;
  readonly address: bigint;
  readonly function: string;
  readonly state: number;
  readonly softExpires: bigint;
  readonly expires: bigint;
}

/** /proc/timer_list: what is printed by kernel/time/timer_list.c. */
export function parseTimerList(text: string): { now: bigint; jiffies: bigint; timers: Printed[] } {
  const number = (pattern: RegExp) => BigInt(pattern.exec(text)?.[1] ?? "-1");
  const timers: Printed[] = [];
  let [cpu, clock, base] = [-1, -1, 0n];
  let timer: Omit<Printed, "softExpires" | "expires"> | undefined;
  for (const line of text.split("\n")) {
    cpu = Number(/^cpu: (\d+)/.exec(line)?.[1] ?? cpu);
    clock = Number(/^ clock (\d+):/.exec(line)?.[1] ?? clock);
    base = BigInt(`0x${/^ {2}\.base: +([0-9a-f]+)/.exec(line)?.[1] ?? base.toString(16)}`);
    const first = /^ #\d+: <([0-9a-f]+)>, (\S+), S:([0-9a-f]+)/.exec(line);
    if (first !== null) {
      const [, address, name, state] = first as unknown as [string, string, string, string];
      timer = {
        cpu,
        clock,
        base,
        address: BigInt(`0x${address}`),
        function: name,
        state: Number(`0x${state}`),
      };
    }
    const second = /^ # expires at (\d+)-(\d+) nsecs/.exec(line);
    if (second !== null && timer !== undefined) {
      timers.push({ ...timer, softExpires: BigInt(second[1] ?? 0), expires: BigInt(second[2] ?? 0) });
    }
  }
  return { now: number(/^now at (\d+) nsecs/m), jiffies: number(/^jiffies: (\d+)/m), timers };
}

/** Timers that are started again and again, and by how many ns they are moved each time at the least. */
const PERIODIC: Readonly<Record<string, bigint>> = {
  // The tick: 1000 Hz is the most there is, and 250 Hz what Debian has.
  tick_sched_timer: 1_000_000n,
  tick_nohz_handler: 1_000_000n,
  // kernel/watchdog.c: a fifth of twice watchdog_thresh, which is 10 s.
  watchdog_timer_fn: 4_000_000_000n,
};
/** What is due later than that is still to come when the guest has stopped. */
const FAR = 3_600_000_000_000n;

/** Runs the tests. @param load The dump, and its truth. */
export function timerSuite(name: string, load: () => Promise<{ target: string; truth: Truth }>): void {
  describe(`the timers of ${name}`, () => {
    let machine: Machine;
    let truth: Truth;
    let timers: KernelTimer[];
    let printed: ReturnType<typeof parseTimerList>;
    let listsFunctionsOnly: boolean;

    beforeAll(async () => {
      const { target, truth: facts } = await load();
      truth = facts;
      machine = await open(target);
      const kernel = await machine.linux();
      timers = await listTimers(kernel).toArray();
      printed = parseTimerList(truth.texts["/proc/timer_list"] ?? "");
      listsFunctionsOnly = (await kernel.symbols("jiffies").toArray()).length === 0;
    });
    afterAll(() => machine?.close());

    const precise = () => timers.filter(({ kind }) => kind === "high-resolution");
    const wheel = () => timers.filter(({ kind }) => kind === "wheel");

    it("has those that were far from due, with clock, function, state and both expiries as they were printed", () => {
      const wanted = printed.timers.filter(({ expires }) => expires > printed.now + FAR);
      expect(wanted.length).toBeGreaterThan(0);
      const mine = precise().map((timer) => ({
        cpu: timer.cpu,
        clock: timer.index,
        base: timer.base,
        address: timer.address,
        function: timer.function,
        state: timer.state,
        softExpires: timer.softExpires,
        expires: timer.expires,
      }));
      for (const each of wanted) expect(mine).toContainEqual(each);
      const far = mine.filter(({ expires = 0n }) => expires > printed.now + FAR);
      expect(far).toHaveLength(wanted.length);
    });

    it("has the tick and the watchdog of each CPU, moved by whole periods", () => {
      const periodic = printed.timers.filter((each) => PERIODIC[each.function] !== undefined);
      expect(periodic.length).toBeGreaterThanOrEqual(2);
      for (const { address, base, function: calls, expires } of periodic) {
        const mine = timers.find((timer) => timer.address === address);
        expect(mine).toMatchObject({ base, function: calls, clock: "monotonic", soft: false });
        const later = (mine?.expires ?? 0n) - expires;
        // (The tick of a CPU that was idle then stood still, until its next timer was due.)
        if (calls === "watchdog_timer_fn") expect(later).toBeGreaterThanOrEqual(0n);
        expect(later % (PERIODIC[calls] as bigint), calls).toBe(0n);
      }
    });

    it("says which process sleeps: that of the guest that never wakes up", () => {
      const sleepers = precise().filter(({ remaining, function: calls, expires = 0n }) => {
        return calls === "hrtimer_wakeup" && (remaining ?? expires) > FAR;
      });
      expect(sleepers.length).toBeGreaterThan(0);
      for (const { pid, comm } of sleepers) {
        const process = truth.processes.find((each) => each.pid === pid);
        expect(process?.name).toBe(comm);
      }
    });

    it("knows what time it was, unless nothing tells it, and so how long each had still to wait", () => {
      for (const { kind, now, expires, remaining } of timers) {
        if (listsFunctionsOnly) {
          expect([now, remaining]).toEqual([null, null]);
          continue;
        }
        const least = kind === "wheel" ? printed.jiffies : printed.now;
        if (kind === "high-resolution") expect(now).toBeLessThan(printed.now + FAR);
        expect(now).toBeGreaterThanOrEqual(least);
        expect(remaining).toBe((expires as bigint) - (now as bigint));
      }
    });

    it("has timers of the wheel: every one's function is one, and the work of those that begin one is named", () => {
      expect(wheel().length).toBeGreaterThan(10);
      for (const timer of wheel()) expect(timer.function, `0x${timer.address.toString(16)}`).toMatch(/^\w+$/);
      const works = wheel().filter(({ function: calls }) => calls === "delayed_work_timer_fn");
      expect(works.map(({ work }) => work)).toContain("vmstat_shepherd");
      expect(works.map(({ work }) => work)).not.toContain(null);
      // (khungtaskd wakes up every 120 s.)
      const [sleeper] = wheel().filter(({ function: calls, comm }) => {
        return calls === "process_timeout" && comm === "khungtaskd";
      });
      expect(truth.processes.find(({ pid }) => pid === sleeper?.pid)?.name).toBe("khungtaskd");
    });

    it("has the deferrable ones in the deferrable base, and no others there", () => {
      for (const { clock, flags } of wheel())
        expect(flags?.includes("deferrable")).toBe(clock === "deferrable");
      expect(new Set(wheel().map(({ clock }) => clock)).size).toBeGreaterThan(1);
    });
  });
}
