/** The checks of what hides in a kernel, and how they are run. */
import { IoSequence, MemtoolError, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { CodeOwners } from "../modules/code-owner.js";
import { DamageLog, once } from "../objects/damage.js";
import { ProfileError } from "../profile/profile.js";
import { AFINFO } from "./afinfo.js";
import { KEYBOARD, NOTIFIERS } from "./chains.js";
import { type Check, type Checked, type CheckOptions, Examination } from "./check.js";
import { CREDS } from "./creds.js";
import { FTRACE } from "./ftrace.js";
import { IDT } from "./idt.js";
import { MODULES } from "./modules.js";
import { NETFILTER } from "./netfilter.js";
import { PROCESSES } from "./processes.js";
import { SYSCALLS } from "./syscalls.js";
import { TTYS } from "./ttys.js";

/** Names of the checks, in the order in which they run. */
export const CHECK_NAMES = [
  "syscalls",
  "idt",
  "modules",
  "creds",
  "processes",
  "afinfo",
  "tty",
  "ftrace",
  "netfilter",
  "keyboard",
  "notifiers",
] as const;

/** The name of a check. */
export type CheckName = (typeof CHECK_NAMES)[number];

const CHECKS: Readonly<Record<CheckName, Check>> = {
  syscalls: SYSCALLS,
  idt: IDT,
  modules: MODULES,
  creds: CREDS,
  processes: PROCESSES,
  afinfo: AFINFO,
  tty: TTYS,
  ftrace: FTRACE,
  netfilter: NETFILTER,
  keyboard: KEYBOARD,
  notifiers: NOTIFIERS,
};

/** The name of the check that goes by a name; `undefined` if none does. */
export function checkNamed(name: string): CheckName | undefined {
  return CHECK_NAMES.find((each) => each === name || CHECKS[each].also?.includes(name) === true);
}

/** What a check looks for, in a few words. */
export function describeCheck(name: CheckName): string {
  return CHECKS[name].description;
}

/**
 * What checks find, in their order. A check that can't be told of this kernel or dump gives nothing, and `onNote` is told why.
 *
 * @throws {TypesError} for a kernel without types. @throws {RangeError} for a name that no check has.
 */
export function listChecked(
  kernel: LinuxKernel,
  names: CheckName | readonly CheckName[] = CHECK_NAMES,
  options: CheckOptions = {},
): IoSequence<Checked> {
  const wanted = typeof names === "string" ? [names] : names;
  const checks = wanted.map((name) => {
    if (!Object.hasOwn(CHECKS, name)) {
      throw new RangeError(`no check is named "${name}"; there are ${CHECK_NAMES.join(", ")}`);
    }
    return CHECKS[name];
  });
  return IoSequence.of(kernel.memory.scheduler, checksRoutine, kernel, checks, options);
}

function* checksRoutine(
  sink: Sink<Checked>,
  kernel: LinuxKernel,
  checks: readonly Check[],
  options: CheckOptions,
): Routine<void> {
  const log = new DamageLog(options);
  // (Several checks read the same lists.)
  const report = once(log.report);
  const data = yield* kernelData(kernel);
  let knowsModules = true;
  const owners = yield* CodeOwners.read(data, (found) => {
    knowsModules = false;
    report(found);
  });
  for (const check of checks) {
    const examination = new Examination(check.name, data, owners, sink, report, options, knowsModules);
    try {
      yield* check.run(examination);
    } catch (error) {
      // What one kernel lacks must not take the other checks along.
      if (!(error instanceof MemtoolError) || error instanceof ProfileError) throw error;
      examination.untold(error.message);
    }
  }
  log.end();
}
