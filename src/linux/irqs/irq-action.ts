/**
 * Who handles an interrupt.
 *
 * Facts: include/linux/interrupt.h (`struct irqaction`: a chain by `next` where several share one; IRQF_…),
 * kernel/irq/chip.c (`chained_action`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, nameOfFunction } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { int, record, text, type Values, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const ACTION = record("irqaction", {
  handler: word("handler"),
  device: word("dev_id"),
  next: word("next"),
  threadFunction: word("thread_fn"),
  thread: word("thread"),
  flags: int("flags"),
  name: word("name"),
});
const TASK = record("task_struct", { pid: int("pid"), comm: text("comm") });

/** IRQF_…, by bit, as include/linux/interrupt.h writes them, in lower case. */
const FLAGS: readonly string[] = [
  "trigger_rising",
  "trigger_falling",
  "trigger_high",
  "trigger_low",
  "trigger_probe",
  "5",
  "6",
  "shared",
  "probe_shared",
  "timer",
  "percpu",
  "nobalancing",
  "irqpoll",
  "oneshot",
  "no_suspend",
  "force_resume",
  "no_thread",
  "early_resume",
  "cond_suspend",
  "no_autoen",
  "no_debug",
  "cond_oneshot",
];
/** More handlers of one interrupt are not believed. */
const MAX_SHARED = 4096;
/** Longest name of a handler. */
const MAX_NAME = 256;

/** A handler. What could not be read of it is `undefined`; what it does not have is null. */
export interface IrqAction {
  /** As the last column of /proc/interrupts has it. */
  readonly name: string | null | undefined;
  /** The function; null if no symbol begins where it points. */
  readonly handler: string | null | undefined;
  readonly handlerAddress: bigint | undefined;
  /** What its thread runs; null if it has none, or no symbol begins there. */
  readonly threadFunction: string | null | undefined;
  readonly threadFunctionAddress: bigint | undefined;
  /** Number and name of its thread; null if it has none. */
  readonly threadPid: number | null | undefined;
  readonly threadComm: string | null | undefined;
  /** IRQF_…, such as `shared`, `oneshot`. */
  readonly flags: readonly string[] | undefined;
  /** What it was registered with: mostly the device's structure. */
  readonly device: bigint | undefined;
  /** Of its `struct irqaction`. */
  readonly address: bigint;
}

/**
 * The handlers of some interrupts: all chains are followed side by side.
 *
 * @param seen Handlers that other interrupts have: behind the first, one is in one chain only.
 */
export function* readActions(
  data: KernelData,
  firsts: readonly (bigint | undefined)[],
  seen: Set<bigint>,
  report: OnDamage,
): Routine<IrqAction[][]> {
  const layout = ACTION.on(data.types);
  const what = "the handlers of an interrupt";
  const chains: { at: bigint; value: Partial<Values<typeof ACTION.fields>> }[][] = firsts.map(() => []);
  let level = firsts.map((at, chain) => ({ at: at ?? 0n, chain }));
  for (let depth = 0; ; depth++) {
    level = level.filter(({ at }) => {
      if (at === 0n) return false;
      // (The first may be that of several: all chained interrupts have one, which has no next.)
      if (depth > 0 && seen.has(at)) report(damage(what, at, "loop"));
      else if (depth === MAX_SHARED) report(damage(what, at, "too long"));
      else {
        seen.add(at);
        return true;
      }
      return false;
    });
    if (level.length === 0) break;
    const rows = yield* layout.read(
      data.memory,
      level.map(({ at }) => at),
    );
    for (const [i, { address, partial, fault }] of rows.entries()) {
      if (fault !== 0) report(damage(what, address, "unreadable", fault));
      // (Of what is not there at all, there is nothing to give.)
      if (fault === 0 || Object.values(partial).some((each) => each !== undefined)) {
        chains[level[i]?.chain as number]?.push({ at: address, value: partial });
      }
    }
    level = level.map(({ chain }, i) => ({ at: rows[i]?.partial.next ?? 0n, chain }));
  }
  return yield* withNames(data, chains, report);
}

function* withNames(
  data: KernelData,
  chains: readonly (readonly { at: bigint; value: Partial<Values<typeof ACTION.fields>> }[])[],
  report: OnDamage,
): Routine<IrqAction[][]> {
  const all = chains.flat();
  const pointers = all.map(({ value }) => value.name);
  const names = yield* readStrings(data.memory, pointers, "the name of a handler", report, MAX_NAME);
  const threads = all.map(({ value }) => value.thread);
  const tasks = yield* readEach(data, TASK, threads, "the thread of a handler", report);
  const found: IrqAction[] = [];
  for (const [i, { at, value }] of all.entries()) {
    const { handler, threadFunction, thread, flags } = value;
    found.push({
      name: value.name === 0n ? null : names[i],
      handler: yield* functionName(data, handler),
      handlerAddress: handler,
      threadFunction: yield* functionName(data, threadFunction),
      threadFunctionAddress: threadFunction,
      threadPid: thread === 0n ? null : tasks[i]?.pid,
      threadComm: thread === 0n ? null : tasks[i]?.comm,
      flags: flags === undefined ? undefined : flagNames(flags),
      device: value.device,
      address: at,
    });
  }
  let next = 0;
  return chains.map((chain) => chain.map(() => found[next++] as IrqAction));
}

function* functionName(data: KernelData, address: bigint | undefined): Routine<string | null | undefined> {
  if (address === undefined) return undefined;
  return address === 0n ? null : ((yield* nameOfFunction(data, address)) ?? null);
}

function flagNames(flags: number): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) if ((flags >>> bit) & 1) names.push(FLAGS[bit] ?? `${bit}`);
  return names;
}
