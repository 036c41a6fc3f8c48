/**
 * What processes may do beyond their user: capabilities, as /proc/PID/status shows them (CapInh and the others).
 *
 * Facts: include/linux/cred.h (`struct cred`), fs/proc/array.c (`task_cap`: of the real credentials),
 * include/uapi/linux/capability.h (numbers). A `kernel_cap_t` is one 64-bit number since 6.3 (f122a08b197d), and was two of 32
 * bits, the lower first, before: on little-endian machines, which all of those read here are, the same bytes.
 */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { DamageLog } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { maybe, record, word } from "../objects/record.js";
import { readTasks, type TaskOptions } from "../tasks/task.js";

const CRED = record("cred", {
  inheritable: word("cap_inheritable"),
  permitted: word("cap_permitted"),
  effective: word("cap_effective"),
  bounding: word("cap_bset"),
  // Since 4.3 (58319057b784).
  ambient: maybe(word("cap_ambient")),
});

/** Names by their number, as include/uapi/linux/capability.h writes them, without `CAP_`, in lower case. */
export const CAPABILITIES: readonly string[] = [
  "chown",
  "dac_override",
  "dac_read_search",
  "fowner",
  "fsetid",
  "kill",
  "setgid",
  "setuid",
  "setpcap",
  "linux_immutable",
  "net_bind_service",
  "net_broadcast",
  "net_admin",
  "net_raw",
  "ipc_lock",
  "ipc_owner",
  "sys_module",
  "sys_rawio",
  "sys_chroot",
  "sys_ptrace",
  "sys_pacct",
  "sys_admin",
  "sys_boot",
  "sys_nice",
  "sys_resource",
  "sys_time",
  "sys_tty_config",
  "mknod",
  "lease",
  "audit_write",
  "audit_control",
  "setfcap",
  "mac_override",
  "mac_admin",
  "syslog",
  "wake_alarm",
  "block_suspend",
  "audit_read",
  "perfmon",
  "bpf",
  "checkpoint_restore",
];

/** The sets of a process or thread: bit n is the capability of number n. `undefined` if they could not be read. */
export interface TaskCapabilities {
  readonly pid: number | undefined;
  readonly tgid: number | undefined;
  readonly comm: string | undefined;
  readonly inheritable: bigint | undefined;
  readonly permitted: bigint | undefined;
  readonly effective: bigint | undefined;
  readonly bounding: bigint | undefined;
  /** `undefined` also for kernels before 4.3. */
  readonly ambient: bigint | undefined;
}

/** Names of the capabilities in a set; numbers for those that have none here. */
export function capabilityNames(set: bigint): string[] {
  const names: string[] = [];
  for (let i = 0; i < 64; i++) {
    if (((set >> BigInt(i)) & 1n) === 1n) names.push(CAPABILITIES[i] ?? `${i}`);
  }
  return names;
}

/** Capabilities of processes, in the order of their list. */
export function listCapabilities(
  kernel: LinuxKernel,
  options: TaskOptions = {},
): IoSequence<TaskCapabilities> {
  return IoSequence.of(kernel.memory.scheduler, capabilitiesRoutine, kernel, options);
}

function* capabilitiesRoutine(
  sink: Sink<TaskCapabilities>,
  kernel: LinuxKernel,
  options: TaskOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const tasks = yield* readTasks(data, options, log.report);
  const pointers = tasks.map(({ raw }) => raw.realCred);
  const creds = yield* readEach(data, CRED, pointers, "a cred", log.report);
  for (const [i, { pid, tgid, comm }] of tasks.entries()) {
    const cred = creds[i];
    yield sink.emit({
      pid,
      tgid,
      comm,
      inheritable: cred?.inheritable,
      permitted: cred?.permitted,
      effective: cred?.effective,
      bounding: cred?.bounding,
      ambient: cred?.ambient,
    });
  }
  log.end();
}
