/** The commands over a kernel, in the order of the help. */
import type { Command } from "commander";
import { EXIT, UsageError } from "../errors.js";
import type { RowChoice } from "../rows/choice.js";
import { addRowOptions, rowsOf } from "../rows/options.js";
import type { GlobalOptions, Session } from "../session.js";
import { BANNER } from "./banner.js";
import { BASH } from "./bash.js";
import { CAPABILITIES_COMMAND } from "./capabilities.js";
import { CGROUPS } from "./cgroups.js";
import { CHECK } from "./check.js";
import type { CommandOptions, KernelCommand } from "./command.js";
import { CONFIG } from "./config.js";
import { CPUS } from "./cpus.js";
import { DMESG } from "./dmesg.js";
import { DUMP } from "./dump.js";
import { EBPF } from "./ebpf.js";
import { ELFS } from "./elfs.js";
import { ENV } from "./env.js";
import { FILES } from "./files.js";
import { FRAMEBUFFERS } from "./framebuffers.js";
import { INTERFACES } from "./interfaces.js";
import { IOMEM } from "./iomem.js";
import { IRQS } from "./irqs.js";
import { ISF } from "./isf.js";
import { LIBRARIES } from "./libraries.js";
import { MALFIND } from "./malfind.js";
import { MODULES } from "./modules.js";
import { MOUNTS } from "./mounts.js";
import { NAMESPACES } from "./namespaces.js";
import { NETFILTER } from "./netfilter.js";
import { OWNERS } from "./owners.js";
import { PAGECACHE } from "./pagecache.js";
import { PERF_EVENTS } from "./perf-events.js";
import { KTHREADS, PS } from "./ps.js";
import { PTRACE } from "./ptrace.js";
import { SLABS } from "./slabs.js";
import { SOCKETS } from "./sockets.js";
import { STACKS_COMMAND } from "./stacks.js";
import { TIMELINE } from "./timeline.js";
import { TIMERS } from "./timers.js";
import { TTY } from "./tty.js";
import { TYPES } from "./types.js";
import { VMAS } from "./vmas.js";

/** All of them. */
export const KERNEL_COMMANDS: readonly KernelCommand[] = [
  PS,
  VMAS,
  ELFS,
  LIBRARIES,
  MALFIND,
  DUMP,
  FILES,
  PAGECACHE,
  SOCKETS,
  INTERFACES,
  MOUNTS,
  NAMESPACES,
  CGROUPS,
  CAPABILITIES_COMMAND,
  PTRACE,
  ENV,
  BASH,
  KTHREADS,
  STACKS_COMMAND,
  MODULES,
  EBPF,
  PERF_EVENTS,
  DMESG,
  TIMELINE,
  IOMEM,
  CPUS,
  SLABS,
  OWNERS,
  TIMERS,
  IRQS,
  NETFILTER,
  CHECK,
  BANNER,
  CONFIG,
  TTY,
  FRAMEBUFFERS,
  TYPES,
  ISF,
];

/**
 * Adds them to the program.
 *
 * @param example A text for the help, of a command line.
 * @param session Opens the target, and gives it to what is to be done with it.
 */
export function addKernelCommands(
  program: Command,
  example: (command: string) => string,
  session: (action: (session: Session) => Promise<number>, rows: RowChoice | undefined) => Promise<void>,
): void {
  const version = program.version() ?? "";
  for (const command of KERNEL_COMMANDS) {
    const added = program.command(command.name).description(command.description);
    for (const [name, description] of command.arguments ?? []) added.argument(name, description);
    for (const [flags, description] of command.options ?? []) added.option(flags, description);
    if (command.isNoList !== true) addRowOptions(added);
    for (const line of command.examples) added.addHelpText("after", example(line));
    added.action(async (...given: unknown[]) => {
      // Commander gives arguments, options, the command itself.
      const options = given.at(-2) as CommandOptions;
      const args = given
        .slice(0, -2)
        .flat()
        .filter((each): each is string => typeof each === "string");
      command.check?.(args, options, program.opts<GlobalOptions>());
      if (command.needsProcess === true && program.opts<GlobalOptions>().pid === undefined) {
        throw new UsageError(`${command.name}: of which process? Give --pid NUMBER (memtool ps lists them)`);
      }
      const rows = command.isNoList === true ? undefined : rowsOf(program, command.name, options);
      await session(async (opened) => {
        if (opened.pid !== undefined && command.ofProcess !== true && command.needsProcess !== true) {
          throw new UsageError(
            `${command.name}: what it lists is the kernel's, not a process's: leave out --pid`,
          );
        }
        const kernel = await opened.machine.linux();
        opened.clearProgress();
        const status = await command.run({
          session: opened,
          kernel,
          args,
          options,
          pid: opened.pid,
          version,
        });
        const { typeDamage, symbolDamage } = kernel;
        const damage = [symbolDamage, typeDamage].filter((each) => each !== undefined);
        for (const each of damage) opened.warn(each);
        return status === EXIT.ok && damage.length > 0 ? EXIT.partial : status;
      }, rows);
    });
  }
}
