/**
 * Interrupts that have no number: the architecture counts them itself, and /proc/interrupts shows them last.
 *
 * Facts: arch/x86/kernel/irq.c (`arch_show_interrupts`: labels, texts, which counter), arch/x86/include/asm/hardirq.h
 * (`irq_cpustat_t`), arch/x86/kernel/cpu/mce/core.c (`mce_exception_count`, `mce_poll_count`), arch/arm64/kernel/smp.c (`ipi_types`,
 * `Err`), arch/riscv/kernel/smp.c (`ipi_names`), kernel/irq/handle.c (`irq_err_count`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt } from "../objects/pointers.js";
import { readStrings } from "../objects/strings.js";
import type { PerCpu } from "../per-cpu.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { findPlace } from "../types/member-path.js";
import { type InterruptCount, readUnsigned, totalOf } from "./counters.js";
import type { Interrupt } from "./irq.js";

/** A line of x86's, whose counter is a member of the per-CPU `irq_stat`, or a per-CPU variable of its own. */
interface X86Line {
  readonly label: string;
  readonly member?: string;
  readonly variable?: string;
  readonly description: string;
  /** Shown only where somebody asked for it, which its count tells here. */
  readonly ifUsed?: true;
}

const X86: readonly X86Line[] = [
  { label: "NMI", member: "__nmi_count", description: "Non-maskable interrupts" },
  { label: "LOC", member: "apic_timer_irqs", description: "Local timer interrupts" },
  { label: "SPU", member: "irq_spurious_count", description: "Spurious interrupts" },
  { label: "PMI", member: "apic_perf_irqs", description: "Performance monitoring interrupts" },
  { label: "IWI", member: "apic_irq_work_irqs", description: "IRQ work interrupts" },
  { label: "RTR", member: "icr_read_retry_count", description: "APIC ICR read retries" },
  { label: "PLT", member: "x86_platform_ipis", description: "Platform interrupts", ifUsed: true },
  { label: "RES", member: "irq_resched_count", description: "Rescheduling interrupts" },
  { label: "CAL", member: "irq_call_count", description: "Function call interrupts" },
  { label: "TLB", member: "irq_tlb_count", description: "TLB shootdowns" },
  { label: "TRM", member: "irq_thermal_count", description: "Thermal event interrupts" },
  { label: "THR", member: "irq_threshold_count", description: "Threshold APIC interrupts" },
  { label: "DFR", member: "irq_deferred_error_count", description: "Deferred Error APIC interrupts" },
  { label: "MCE", variable: "mce_exception_count", description: "Machine check exceptions" },
  { label: "MCP", variable: "mce_poll_count", description: "Machine check polls" },
  {
    label: "HYP",
    member: "irq_hv_callback_count",
    description: "Hypervisor callback interrupts",
    ifUsed: true,
  },
  {
    label: "HRE",
    member: "irq_hv_reenlightenment_count",
    description: "Hyper-V reenlightenment interrupts",
    ifUsed: true,
  },
  { label: "HVS", member: "hyperv_stimer0_count", description: "Hyper-V stimer0 interrupts", ifUsed: true },
  { label: "PIN", member: "kvm_posted_intr_ipis", description: "Posted-interrupt notification event" },
  { label: "NPI", member: "kvm_posted_intr_nested_ipis", description: "Nested posted-interrupt event" },
  { label: "PIW", member: "kvm_posted_intr_wakeup_ipis", description: "Posted-interrupt wakeup event" },
  // With CONFIG_X86_POSTED_MSI, since 6.10.
  { label: "PMN", member: "posted_msi_notification_count", description: "Posted MSI notification event" },
];

/** Counters of the whole machine, which the kernel shows without a text: their label, and their variable. */
const WHOLE: readonly (readonly [string, string])[] = [
  ["ERR", "irq_err_count"],
  ["MIS", "irq_mis_count"],
];

/** The architecture's own, in the order of /proc/interrupts. What the kernel has not is left out. */
export function* archInterrupts(data: KernelData, perCpu: PerCpu, report: OnDamage): Routine<Interrupt[]> {
  const isX86 = data.kernel.architecture === "x86_64" || data.kernel.architecture === "i386";
  const lines = isX86 ? yield* x86Interrupts(data, perCpu, report) : [];
  const before = lines.findIndex(({ label }) => ["PIN", "NPI", "PIW", "PMN"].includes(label));
  lines.splice(before < 0 ? lines.length : before, 0, ...(yield* wholeCounters(data, isX86, report)));
  return lines;
}

function* x86Interrupts(data: KernelData, perCpu: PerCpu, report: OnDamage): Routine<Interrupt[]> {
  const copies = yield* perCpu.copiesIf("irq_stat");
  const type = data.types.variable("irq_stat") ?? data.types.find("name", "irq_cpustat_t");
  const lines: Interrupt[] = [];
  for (const { label, member, variable, description, ifUsed } of X86) {
    let counters = variable === undefined ? undefined : yield* perCpu.copiesIf(variable);
    if (member !== undefined && type !== undefined && copies !== undefined) {
      const place = findPlace(type, member);
      if (place === undefined || sizeOf(stripped(place.type)) !== 4) continue;
      const offset = BigInt(place.bitOffset / 8);
      counters = copies.map(({ cpu, address }) => ({ cpu, address: BigInt.asUintN(64, address + offset) }));
    }
    if (counters === undefined) continue;
    const [counts = []] = yield* readUnsigned(data, [counters], `the count of ${label}`, report);
    const line = counted(label, counts, description);
    if (ifUsed !== true || line.total !== 0) lines.push(line);
  }
  return lines;
}

function* wholeCounters(data: KernelData, isX86: boolean, report: OnDamage): Routine<Interrupt[]> {
  const lines: Interrupt[] = [];
  for (const [label, name] of WHOLE) {
    const address = yield* symbolAddress(data, name);
    if (address === undefined) continue;
    const [counts] = yield* readUnsigned(data, [[{ cpu: 0, address }]], name, report);
    const shown = isX86 ? label : "Err";
    // (It is no CPU's.)
    lines.push({ ...counted(shown, counts ?? [], ""), description: null, counts: [] });
  }
  return lines;
}

function counted(label: string, counts: readonly InterruptCount[], description: string): Interrupt {
  return {
    label,
    irq: null,
    counts,
    total: totalOf(counts),
    description,
    chip: null,
    hwirq: null,
    domain: null,
    level: null,
    trigger: null,
    flow: null,
    flowHandler: null,
    affinity: null,
    effectiveAffinity: null,
    actions: [],
    hidden: false,
    address: null,
  };
}

/** What arm64 and RISC-V call their IPIs, in their order; nothing where no symbol tells it. */
export function* ipiDescriptions(
  data: KernelData,
  count: number,
  report: OnDamage,
): Routine<(string | undefined)[]> {
  const at = count === 0 ? undefined : yield* symbolAddress(data, "ipi_types", "ipi_names");
  // (There are at most sixteen.)
  if (at === undefined || count > 16) return [];
  const pointers = yield* pointersAt(data.memory, at, count);
  if (typeof pointers !== "number")
    return yield* readStrings(data.memory, pointers, "ipi_types", report, 256);
  report(damage("ipi_types", at, "unreadable", pointers));
  return [];
}
