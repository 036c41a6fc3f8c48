/** Interrupts of a kernel made by hand that has more CPUs, and so more counts, than are read at once. */
import { expect, it } from "vitest";
import { type Damage, listIrqs } from "../../../src/linux/index.js";
import { handKernel } from "../../support/hand-kernel.js";
import { HandMemory, HandTypes } from "../../support/kernel-memory.js";

const CPUS = 4096;
const IRQS = 260;

it("interrupts of many CPUs have all their counts", async () => {
  const types = new HandTypes()
    .struct("irq_common_data", ["state_use_accessors", "unsigned int"])
    .struct(
      "irq_data",
      ["irq", "unsigned int"],
      ["hwirq", "long unsigned int"],
      ["common", "struct irq_common_data*"],
      ["chip", "struct irq_chip*"],
    )
    .struct(
      "irq_desc",
      ["irq_common_data", "struct irq_common_data"],
      ["irq_data", "struct irq_data"],
      ["kstat_irqs", "unsigned int*"],
      ["handle_irq", "long unsigned int"],
      ["action", "struct irqaction*"],
      ["status_use_accessors", "unsigned int"],
      ["name", "char*"],
    )
    .struct("irq_chip", ["name", "char*"])
    .struct("irq_domain", ["name", "char*"])
    .struct("task_struct", ["pid", "int"], ["comm", "char"])
    .struct(
      "irqaction",
      ["handler", "long unsigned int"],
      ["dev_id", "long unsigned int"],
      ["next", "struct irqaction*"],
      ["thread_fn", "long unsigned int"],
      ["thread", "struct task_struct*"],
      ["flags", "unsigned int"],
      ["name", "char*"],
    );
  const memory = new HandMemory(types);
  const offsets = memory.take(8 * CPUS);
  for (let cpu = 0; cpu < CPUS; cpu++) memory.put(offsets + BigInt(8 * cpu), 4 * cpu);
  const counts = memory.take(4 * CPUS);
  memory.put(counts + BigInt(4 * (CPUS - 1)), 3, 4);
  const size = types.offset("struct irq_desc", "name") + 8;
  const array = memory.take(size * IRQS);
  for (let irq = 0; irq < IRQS; irq++) {
    const at = array + BigInt(size * irq);
    const put = (path: string, value: bigint | number, bytes = 8) =>
      memory.put(at + BigInt(types.offset("struct irq_desc", path)), value, bytes);
    put("irq_data.irq", irq, 4);
    put("irq_data.common", at + BigInt(types.offset("struct irq_desc", "irq_common_data")));
    put("kstat_irqs", counts);
  }
  const limits = memory.take(16);
  memory.put(limits, CPUS, 4);
  memory.put(limits + 8n, IRQS, 4);
  const variables = {
    init_task: 1n,
    __per_cpu_offset: offsets,
    nr_cpu_ids: limits,
    irq_desc: array,
    nr_irqs: limits + 8n,
  };
  const told: Damage[] = [];
  const kernel = handKernel(types, memory, { variables });
  let found = 0;
  for await (const { irq, total, counts: each } of listIrqs(kernel, { onDamage: (one) => told.push(one) })) {
    expect([irq, total, each.length]).toEqual([found, 3, CPUS]);
    found++;
  }
  expect(found).toBe(IRQS);
  expect(told).toEqual([]);
});
