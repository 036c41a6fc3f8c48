/**
 * Whether two kernels are one: the same build, and the same boot of one machine.
 *
 * Facts: drivers/char/random.c (`sysctl_bootid`: random, made when it is first asked for), include/linux/sched.h
 * (`stack_canary`: random for each task, with CONFIG_STACKPROTECTOR), kernel/fork.c (the first process is there from boot on).
 */
import { Io, type Routine } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type KernelData, kernelData, symbolAddress } from "../kernel-data.js";
import { maybe, record, word } from "../objects/record.js";
import { readBanner } from "../system/banner.js";
import { listTasks } from "../tasks/task.js";
import { clocksOf, SECOND } from "../time/clocks.js";
import { onSide } from "./difference.js";

const TASK = record("task_struct", { canary: maybe(word("stack_canary")) });
const BOOT_ID = 16;

/** How two kernels are related. */
export interface BootComparison {
  /** Whether they are the same build; `undefined` if nothing tells it. */
  readonly sameBuild: boolean | undefined;
  /** Whether they are one boot of one machine, so that addresses mean the same in both; `undefined` if nothing tells it. */
  readonly sameBoot: boolean | undefined;
  /** What says so, a sentence each. */
  readonly evidence: readonly string[];
  /** Nanoseconds of CLOCK_BOOTTIME from the first to the second; `undefined` for other boots, and if a clock can't be read. */
  readonly elapsed: bigint | undefined;
}

/** Compares what identifies two kernels. */
export function compareBoots(before: LinuxKernel, after: LinuxKernel): Io<BootComparison> {
  return Io.of(before.memory.scheduler, bootsRoutine, before, after);
}

/** What identifies a boot. */
interface Identity {
  readonly banner: string | undefined;
  readonly buildId: string | undefined;
  readonly bootId: string | undefined;
  readonly slide: bigint | undefined;
  /** The first process: where it is and when it began. */
  readonly first: string | undefined;
  readonly canary: bigint | undefined;
  readonly boottime: bigint | undefined;
}

/** @internal */
export function* bootsRoutine(before: LinuxKernel, after: LinuxKernel): Routine<BootComparison> {
  const a = yield* onSide("first", identityOf(before));
  const b = yield* onSide("second", identityOf(after));
  const evidence: string[] = [];
  const sameBuild = buildsAreSame(a, b, evidence);
  const sameBoot = sameBuild === false ? false : bootsAreSame(a, b, evidence);
  const elapsed =
    sameBoot === true && a.boottime !== undefined && b.boottime !== undefined
      ? b.boottime - a.boottime
      : undefined;
  return { sameBuild, sameBoot, evidence, elapsed };
}

function* identityOf(kernel: LinuxKernel): Routine<Identity> {
  const data = yield* kernelData(kernel);
  const ignore = () => {};
  const names = yield* readBanner(kernel, { onDamage: ignore });
  const tasks = yield* listTasks(kernel, { onDamage: ignore }).toArray();
  const init = tasks.find(({ pid }) => pid === 1);
  const initTask = yield* symbolAddress(data, "init_task");
  const [row] = yield* TASK.on(data.types).read(data.memory, initTask === undefined ? [] : [initTask]);
  const start = init?.raw.start;
  return {
    banner: names.banner?.trim(),
    buildId: names.buildId,
    bootId: yield* bootIdOf(data),
    slide: kernel.isKaslrKnown ? kernel.kaslrOffset : undefined,
    first: init === undefined || start === undefined ? undefined : `${init.address.toString(16)} ${start}`,
    canary: row?.partial.canary === 0n ? undefined : row?.partial.canary,
    boottime: (yield* clocksOf(data, ignore))?.boottime,
  };
}

function* bootIdOf(data: KernelData): Routine<string | undefined> {
  const at = yield* symbolAddress(data, "sysctl_bootid");
  if (at === undefined) return undefined;
  const { bytes, holes } = yield* data.memory.readPartial(at, BOOT_ID);
  if (holes.length > 0 || bytes.every((byte) => byte === 0)) return undefined;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function buildsAreSame(a: Identity, b: Identity, evidence: string[]): boolean | undefined {
  if (a.buildId !== undefined && b.buildId !== undefined && a.buildId !== b.buildId) {
    evidence.push(`build ids ${a.buildId} and ${b.buildId}`);
    return false;
  }
  if (a.banner !== undefined && b.banner !== undefined && a.banner !== b.banner) {
    evidence.push(`"${a.banner}" and "${b.banner}"`);
    return false;
  }
  if (a.buildId !== undefined && a.buildId === b.buildId) return true;
  return a.banner !== undefined && a.banner === b.banner ? true : undefined;
}

function bootsAreSame(a: Identity, b: Identity, evidence: string[]): boolean | undefined {
  const told: boolean[] = [];
  const see = (one: unknown, other: unknown, same: string, different: string) => {
    if (one === undefined || other === undefined) return;
    told.push(one === other);
    evidence.push(one === other ? same : different);
  };
  see(a.bootId, b.bootId, `one boot id, ${a.bootId}`, `boot ids ${a.bootId} and ${b.bootId}`);
  see(a.first, b.first, "process 1 began in the same nanosecond", "process 1 is another one");
  see(a.canary, b.canary, "one stack canary of the idle task", "other stack canaries of the idle task");
  // What KASLR added says something only if it differs: without KASLR it is 0 in every boot.
  if (a.slide !== undefined && b.slide !== undefined && a.slide !== b.slide) {
    told.push(false);
    evidence.push(`KASLR added 0x${a.slide.toString(16)} and 0x${b.slide.toString(16)}`);
  }
  return told.length === 0 ? undefined : told.every(Boolean);
}

/** What is to be said of it. */
export function describeBoots({ sameBuild, sameBoot, evidence, elapsed }: BootComparison): string {
  const why = evidence.length === 0 ? "" : ` (${evidence.join("; ")})`;
  if (sameBoot === true) return `one boot of one machine${why}${elapsedText(elapsed)}`;
  if (sameBuild === false) return `two kernels${why}: names are compared, and no addresses`;
  if (sameBoot === false) return `two boots of one kernel${why}: names are compared, and no addresses`;
  return "nothing tells whether they are one boot: names are compared, and no addresses";
}

function elapsedText(elapsed: bigint | undefined): string {
  if (elapsed === undefined) return "";
  const size = elapsed < 0n ? -elapsed : elapsed;
  const seconds = `${size / SECOND}.${(size % SECOND).toString().padStart(9, "0").slice(0, 3)}`;
  return `, the second ${seconds} s ${elapsed < 0n ? "earlier" : "later"}`;
}
