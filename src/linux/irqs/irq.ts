/**
 * Interrupts, and how often each came: what /proc/interrupts shows, with the functions that handle them.
 *
 * Facts: include/linux/irqdesc.h (`struct irq_desc`: `kstat_irqs` counts by CPU), include/linux/irq.h (`struct irq_data`,
 * `irq_common_data`, `struct irq_chip`, IRQD_…, IRQ_TYPE_…, IRQ_HIDDEN), include/linux/interrupt.h (`struct irqaction`, IRQF_…),
 * kernel/irq/proc.c (`show_interrupts`: what is shown), kernel/irq/chip.c (`chained_action`, whose handler is `bad_chained_irq`),
 * arch/arm64/kernel/smp.c (`ipi_handler`), arch/riscv/kernel/smp.c (`handle_IPI`).
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, nameOfFunction } from "../kernel-data.js";
import { readCpuMasks } from "../objects/cpu-mask.js";
import { DamageLog, type DamageOptions, damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, type Row, record, type Values, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import { type PerCpu, perCpuAreas } from "../per-cpu.js";
import { archInterrupts, ipiDescriptions } from "./arch-interrupts.js";
import { type InterruptCount, MAX_COUNTS, readCounters, totalOf } from "./counters.js";
import { type IrqAction, readActions } from "./irq-action.js";
import { irqPlaces } from "./irq-table.js";

/** IRQD_LEVEL. */
const LEVEL = 1 << 13;
/** IRQ_HIDDEN. */
const HIDDEN = 1 << 20;
const IPI_HANDLERS: ReadonlySet<string> = new Set(["ipi_handler", "handle_IPI"]);
/** IRQ_TYPE_…: the low four bits of the state. */
const TRIGGERS: readonly string[] = ["none", "rising", "falling", "both", "high", "", "", "", "low"];
/** Descriptors that are read at a time: fewer where there are many CPUs, each of which counts for itself. */
const PIECE = 1024;
/** Longest name of a chip or a handler. */
const MAX_NAME = 256;

const DESC = record("irq_desc", {
  state: int("irq_common_data.state_use_accessors"),
  status: int("status_use_accessors"),
  hwirq: word("irq_data.hwirq"),
  chip: word("irq_data.chip"),
  // Without CONFIG_IRQ_DOMAIN, there is none.
  domain: maybe(word("irq_data.domain")),
  counts: word("kstat_irqs"),
  handle: word("handle_irq"),
  action: word("action"),
  name: word("name"),
});
const CHIP = record("irq_chip", { name: word("name") });
const DOMAIN = record("irq_domain", { name: word("name") });

/** An interrupt. What could not be read of it is `undefined`; what it does not have is null. */
export interface Interrupt {
  /** The first column of /proc/interrupts: its number, or `NMI`, `IPI0`, … */
  readonly label: string;
  /** Its number; null for the architecture's own, which are only counted. */
  readonly irq: number | null;
  /** Of each CPU that may be there. */
  readonly counts: readonly InterruptCount[];
  /** The sum of those that could be read. */
  readonly total: number | undefined;
  /** What the architecture says that it is; null for those of devices. */
  readonly description: string | null;
  /** The name of its controller. */
  readonly chip: string | null | undefined;
  /** Its number there. */
  readonly hwirq: bigint | null | undefined;
  /** The name of the space that this number is of. */
  readonly domain: string | null | undefined;
  /** Level-triggered, else by edges. */
  readonly level: boolean | null | undefined;
  /** Which: `rising`, `falling`, `both`, `high`, `low`; `none` if nobody said. */
  readonly trigger: string | null | undefined;
  /** The name of the way that it is handled, such as `edge` or `fasteoi`, where the kernel gave it one. */
  readonly flow: string | null | undefined;
  /** The function for that: `handle_edge_irq`. */
  readonly flowHandler: string | null | undefined;
  /** CPUs that it may go to. */
  readonly affinity: readonly number[] | null | undefined;
  /** CPUs that it goes to, where the kernel keeps these. */
  readonly effectiveAffinity: readonly number[] | null | undefined;
  /** Who handles it: several for one that is shared. */
  readonly actions: readonly IrqAction[];
  /** /proc/interrupts leaves it out, or shows it as the architecture's. */
  readonly hidden: boolean | undefined;
  /** Of its `struct irq_desc`; null for the architecture's own. */
  readonly address: bigint | null;
}

/** Options of {@link listIrqs}. */
export interface IrqOptions extends DamageOptions {
  /** Also those that nobody handles and that never came, which /proc/interrupts leaves out; default false. */
  readonly all?: boolean | undefined;
}

/** Interrupts by number, then those of the architecture, as /proc/interrupts has them. */
export function listIrqs(kernel: LinuxKernel, options: IrqOptions = {}): IoSequence<Interrupt> {
  return IoSequence.of(kernel.memory.scheduler, irqsRoutine, kernel, options);
}

function* irqsRoutine(sink: Sink<Interrupt>, kernel: LinuxKernel, options: IrqOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const perCpu = yield* perCpuAreas(data, log.report);
  const places = yield* irqPlaces(data, log.report);
  const seen = new Set<bigint>();
  const later: Interrupt[] = [];
  const step = Math.max(1, Math.min(PIECE, Math.floor(MAX_COUNTS / Math.max(1, perCpu.areas.length))));
  for (let from = 0; from < places.length; from += step) {
    const piece = places.slice(from, from + step);
    for (const each of yield* readInterrupts(data, perCpu, piece, seen, log.report)) {
      if (isIpi(each)) later.push(each);
      else if (options.all === true || isShown(each)) yield sink.emit(each);
    }
  }
  const descriptions = yield* ipiDescriptions(data, later.length, log.report);
  for (const [i, each] of later.entries()) {
    yield sink.emit({ ...each, label: `IPI${i}`, description: descriptions[i] ?? null });
  }
  for (const each of yield* archInterrupts(data, perCpu, log.report)) yield sink.emit(each);
  log.end();
}

/** Calls from one CPU to another are interrupts like others on arm64 and RISC-V, whose handler tells them apart. */
function isIpi({ hidden, actions }: Interrupt): boolean {
  return hidden === true && actions.some(({ handler }) => IPI_HANDLERS.has(handler ?? ""));
}

function isShown({ hidden, actions, total }: Interrupt): boolean {
  if (hidden === true) return false;
  return (total ?? 0) > 0 || actions.some(({ handler }) => handler !== "bad_chained_irq");
}

type Desc = Row<Values<typeof DESC.fields>>;

function* readInterrupts(
  data: KernelData,
  perCpu: PerCpu,
  places: readonly { readonly irq: number; readonly address: bigint }[],
  seen: Set<bigint>,
  report: OnDamage,
): Routine<Interrupt[]> {
  const { types, memory } = data;
  const addresses = places.map(({ address }) => address);
  const rows = yield* DESC.on(types).read(memory, addresses);
  for (const [i, { address, fault }] of rows.entries()) {
    if (fault === 0) continue;
    report(damage(`the descriptor of interrupt ${places[i]?.irq}`, address, "unreadable", fault));
  }
  const counts = yield* readCounters(
    data,
    perCpu,
    rows.map(({ partial }) => partial.counts),
    report,
  );
  const actions = yield* readActions(
    data,
    rows.map(({ partial }) => partial.action),
    seen,
    report,
  );
  const chips = yield* namesOf(data, CHIP, rows, "chip", "an irq_chip", report);
  const domains = yield* namesOf(data, DOMAIN, rows, "domain", "an irq_domain", report);
  const flows = yield* readStrings(
    memory,
    rows.map(({ partial }) => partial.name),
    "the name of an interrupt's handling",
    report,
    MAX_NAME,
  );
  const last = perCpu.cpus.at(-1) ?? 0;
  const masks = (path: string) =>
    readCpuMasks(memory, types, { struct: "irq_desc", path }, addresses, last, report);
  const affinity = yield* masks("irq_common_data.affinity");
  const effective = yield* masks("irq_common_data.effective_affinity");
  const found: Interrupt[] = [];
  for (const [i, { partial }] of rows.entries()) {
    const { irq, address } = places[i] as { irq: number; address: bigint };
    const { state, status, handle, domain } = partial;
    found.push({
      label: `${irq}`,
      irq,
      counts: counts[i] ?? [],
      total: totalOf(counts[i] ?? []),
      description: null,
      chip: chips[i],
      hwirq: domain === 0n ? null : partial.hwirq,
      domain: domains[i],
      level: state === undefined ? undefined : (state & LEVEL) !== 0,
      trigger: state === undefined ? undefined : TRIGGERS[state & 15] || `${state & 15}`,
      flow: partial.name === 0n ? null : flows[i],
      flowHandler: handle === undefined ? undefined : ((yield* nameOfFunction(data, handle)) ?? null),
      affinity: affinity[i],
      effectiveAffinity: effective[i],
      actions: actions[i] ?? [],
      hidden: status === undefined ? undefined : (status & HIDDEN) !== 0,
      address,
    });
  }
  return found;
}

/** The names of what a member of some descriptors points to. */
function* namesOf(
  data: KernelData,
  plan: typeof CHIP | typeof DOMAIN,
  rows: readonly Desc[],
  member: "chip" | "domain",
  what: string,
  report: OnDamage,
): Routine<(string | null | undefined)[]> {
  const pointers = rows.map(({ partial }) => partial[member]);
  const structures = yield* readEach(data, plan, pointers, what, report);
  const names = structures.map((each) => each?.name);
  const texts = yield* readStrings(data.memory, names, `the name of ${what}`, report, MAX_NAME);
  return pointers.map((pointer, i) => (pointer === 0n || names[i] === 0n ? null : texts[i]));
}
