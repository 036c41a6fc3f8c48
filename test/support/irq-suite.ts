/** Interrupts of a dump against the /proc/interrupts and /proc/softirqs that its guest printed some time before it was stopped. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { type Interrupt, listIrqs, listSoftirqs, type Softirq } from "../../src/linux/index.js";

/** A line: its label, what each CPU that is there counted (ERR and MIS: none of them), and the rest. */
interface Line {
  readonly label: string;
  readonly counts: readonly { readonly cpu: number | undefined; readonly count: number }[];
  readonly rest: string;
}

function cpusOf(text: string): number[] {
  return (text.split("\n")[0]?.match(/\d+/g) ?? []).map(Number);
}

function parse(text: string): Line[] {
  const cpus = cpusOf(text);
  const [, ...lines] = text.trimEnd().split("\n");
  return lines.map((line) => {
    const [label = "", ...words] = line.trim().split(/\s+/);
    const isWhole = /^(ERR|MIS|Err):$/.test(label);
    const counted = isWhole ? [undefined] : cpus;
    return {
      label: label.replace(/:$/, ""),
      counts: counted.map((cpu, i) => ({ cpu, count: Number(words[i]) })),
      rest: words.slice(counted.length).join(" "),
    };
  });
}

/** Compares counts: they go on between the printing and the stop. */
function expectCounts({ label, counts }: Line, mine: Interrupt | Softirq | undefined): void {
  for (const { cpu, count } of counts) {
    const own = cpu === undefined ? mine?.total : mine?.counts.find((each) => each.cpu === cpu)?.count;
    expect(own, `${label} of CPU ${cpu}`).toBeGreaterThanOrEqual(count);
    expect(own, `${label} of CPU ${cpu}`).toBeLessThan(count + MOST);
  }
}

/** No count grows faster than that between the printing and the stop: the console of a guest that prints has the most. */
const MOST = 1_000_000;

/** The clock's interrupt, and a flag of it. */
const TIMERS: Readonly<Record<string, readonly [string, string]>> = {
  x86_64: ["timer", "timer"],
  aarch64: ["arch_timer", "percpu"],
  riscv64: ["riscv-timer", "percpu"],
};

/** As /proc/interrupts has it behind the counts: x86 has a name of the handling, others how it is triggered. */
function restOf(each: Interrupt): string {
  if (each.irq === null || each.hidden === true) return each.description ?? "";
  const kind =
    each.flow === null ? `${each.hwirq} ${each.level ? "Level" : "Edge"}` : `${each.hwirq}-${each.flow}`;
  return `${each.chip} ${kind} ${each.actions.map(({ name }) => name).join(", ")}`;
}

/** Runs the tests. @param load The dump, and its truth. */
export function irqSuite(name: string, load: () => Promise<{ target: string; truth: Truth }>): void {
  describe(`the interrupts of ${name}`, () => {
    let machine: Machine;
    let truth: Truth;
    let irqs: Interrupt[];
    let softirqs: Softirq[];
    let architecture: string;
    let listsFunctionsOnly: boolean;

    beforeAll(async () => {
      const { target, truth: facts } = await load();
      truth = facts;
      machine = await open(target);
      const kernel = await machine.linux();
      ({ architecture } = kernel);
      irqs = await listIrqs(kernel).toArray();
      softirqs = await listSoftirqs(kernel).toArray();
      listsFunctionsOnly = (await kernel.symbols("jiffies").toArray()).length === 0;
    });
    afterAll(() => machine?.close());

    const printed = () => {
      const lines = parse(truth.texts["/proc/interrupts"] ?? "");
      // Counted by a variable that nothing names.
      return lines.filter(({ label }) => !(listsFunctionsOnly && label === "Err"));
    };

    it("has every line of /proc/interrupts in its order, with controller, number there, handling, handlers", () => {
      expect(printed().length).toBeGreaterThan(10);
      // (What the IPIs are for, a variable says.)
      const line = (label: string, rest: string | null) =>
        `${label}: ${listsFunctionsOnly && label.startsWith("IPI") ? "" : rest}`;
      const mine = irqs.map((each) => line(each.label, restOf(each)));
      const wanted = printed().map(({ label, rest }) => line(label, rest));
      expect(mine).toEqual(wanted);
    });

    it("has at least the counts that were printed, and not many more", () => {
      for (const line of printed()) {
        expectCounts(
          line,
          irqs.find(({ label }) => label === line.label),
        );
      }
    });

    it("names the functions that handle them, and where they go", () => {
      const numbered = irqs.filter(({ irq, hidden }) => irq !== null && hidden === false);
      for (const { actions, flowHandler, affinity } of numbered) {
        expect(flowHandler).toMatch(/^handle_\w+_irq$/);
        for (const { handler } of actions) expect(handler).toMatch(/^\w+$/);
        expect(affinity).toEqual(cpusOf(truth.texts["/proc/interrupts"] ?? ""));
      }
      const of = (action: string) =>
        numbered.flatMap(({ actions }) => actions).find((each) => each.name === action);
      expect(of("ttyS0")?.handler).toBe("serial8250_interrupt");
      const [timer, flag] = TIMERS[architecture] ?? [];
      expect(of(timer as string)?.flags).toContain(flag);
      // The threads that the guest lists are those of handlers, by their names.
      const threads = truth.processes.filter((each) => /^irq\/\d+-/.test(each.name));
      const own = numbered.flatMap(({ actions }) =>
        actions.flatMap(({ threadPid }) => (threadPid === null ? [] : [threadPid])),
      );
      expect(own.sort()).toEqual(threads.map(({ pid }) => pid).sort());
    });

    it("has every softirq with at least the counts that were printed", () => {
      const lines = parse(truth.texts["/proc/softirqs"] ?? "");
      expect(lines.map(({ label }) => label)).toEqual(softirqs.map((each) => each.name));
      expect(lines).toHaveLength(10);
      for (const [i, line] of lines.entries()) expectCounts(line, softirqs[i]);
      if (!listsFunctionsOnly) expect(softirqs[1]?.handler).toBe("run_timer_softirq");
    });
  });
}
