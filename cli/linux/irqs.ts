import { type Interrupt, listIrqs, listSoftirqs, type Softirq } from "../../src/linux/index.js";
import type { KernelCommand } from "./command.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";

const COLUMNS: readonly ListColumn<Interrupt>[] = [
  { field: "label", title: "IRQ", right: true, value: ({ label }) => label },
  { field: "irq", type: "integer", value: ({ irq }) => irq },
  { field: "total", type: "integer", title: "COUNT", right: true, value: ({ total }) => total },
  { field: "counts", type: "json", value: counts },
  { field: "chip", title: "CHIP", value: ({ chip }) => chip },
  {
    field: "hwirq",
    type: "address",
    title: "HWIRQ",
    right: true,
    value: ({ hwirq }) => hwirq,
    cell: ({ hwirq }) => (hwirq === null ? "" : hwirq?.toString()),
  },
  { field: "domain", value: ({ domain }) => domain },
  { field: "flow", title: "FLOW", value: ({ flow }) => flow },
  { field: "flowHandler", value: ({ flowHandler }) => flowHandler },
  { field: "level", type: "boolean", value: ({ level }) => level },
  { field: "trigger", title: "TRIGGER", value: ({ trigger }) => trigger, cell: triggerText },
  { field: "affinity", type: "json", title: "CPUS", value: ({ affinity }) => affinity, cell: affinityText },
  { field: "effectiveAffinity", type: "json", value: ({ effectiveAffinity }) => effectiveAffinity },
  {
    field: "actions",
    type: "json",
    title: "HANDLERS",
    value: ({ actions }) => actions.map((action) => ({ ...action })),
    cell: actionsText,
  },
  { field: "description", value: ({ description }) => description },
  { field: "hidden", type: "boolean", value: ({ hidden }) => hidden },
  { field: "address", type: "address", value: ({ address }) => address },
];

const SOFTIRQ_COLUMNS: readonly ListColumn<Softirq>[] = [
  { field: "number", type: "integer", title: "NUMBER", right: true, value: ({ number }) => number },
  { field: "name", title: "NAME", value: ({ name }) => name },
  { field: "total", type: "integer", title: "COUNT", right: true, value: ({ total }) => total },
  { field: "counts", type: "json", value: counts },
  { field: "handler", title: "HANDLER", value: ({ handler }) => handler },
];

/** `memtool irqs`. */
export const IRQS: KernelCommand = {
  name: "irqs",
  description: "interrupts, how often they came, and what handles them, as in /proc/interrupts",
  options: [
    ["--all", "those that nobody handles, too"],
    ["--softirqs", "softirqs instead, as /proc/softirqs shows them"],
  ],
  examples: ["irqs", "irqs --softirqs"],
  run: async ({ session, kernel, options }) => {
    const damage = new DamageSummary();
    const onDamage = damage.add;
    if (options.softirqs === true) {
      return await showList(session, listSoftirqs(kernel, { onDamage }), SOFTIRQ_COLUMNS, damage);
    }
    const list = listIrqs(kernel, { all: options.all === true, onDamage });
    return await showList(session, list, COLUMNS, damage);
  },
};

function counts({ counts: each }: Interrupt | Softirq) {
  return each.map(({ cpu, count }) => ({ cpu, count }));
}

function triggerText({ level, trigger }: Interrupt): string | undefined {
  if (level === undefined || trigger === undefined) return undefined;
  if (level === null) return "";
  return `${level ? "level" : "edge"}${trigger === "none" ? "" : ` ${trigger}`}`;
}

/** As /proc/irq/N/smp_affinity_list has it: "0-3,8". */
function affinityText({ affinity }: Interrupt): string | undefined {
  if (affinity === undefined || affinity === null) return affinity === null ? "" : undefined;
  const ranges: string[] = [];
  for (let i = 0; i < affinity.length; i++) {
    const first = affinity[i] as number;
    while (affinity[i + 1] === (affinity[i] as number) + 1) i++;
    ranges.push(affinity[i] === first ? `${first}` : `${first}-${affinity[i]}`);
  }
  return ranges.join(",");
}

function actionsText({ actions, description }: Interrupt): string {
  if (description !== null) return description;
  return actions
    .map(({ name, handler, threadFunction, threadPid }) => {
      // (The first half of what a thread handles does nothing but wake it.)
      const by = threadPid === null ? handler : `${threadFunction ?? "?"}, thread ${threadPid ?? "?"}`;
      return `${name ?? "?"} (${by ?? "?"})`;
    })
    .join(", ");
}
