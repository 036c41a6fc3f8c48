/** What a command is that answers about the kernel in a target; those of this folder are registered by `commands.ts`. */
import type { LinuxKernel } from "../../src/linux/index.js";
import type { GlobalOptions, Session } from "../session.js";

/** Options of a command, as commander has them. */
export type CommandOptions = Readonly<Record<string, unknown>>;

/** A command over a kernel. */
export interface KernelCommand {
  readonly name: string;
  readonly description: string;
  /** Such as `["[name...]", "names or patterns"]`. */
  readonly arguments?: readonly (readonly [string, string])[];
  /** Such as `["--threads", "every thread"]`. */
  readonly options?: readonly (readonly [string, string])[];
  /** Whether it lists what is some process's, so that `--pid` makes it less; what is the kernel's refuses that. */
  readonly ofProcess?: boolean;
  /** Whether it is about one process: `--pid` must be given. */
  readonly needsProcess?: boolean;
  /** Whether it prints something else than rows of `showList`, so that there is no `--output` for those. */
  readonly isNoList?: boolean;
  /** Command lines behind `memtool`, without the target. */
  readonly examples: readonly string[];
  /** @throws {UsageError} for arguments that can't be, before the target is opened. */
  check?(args: readonly string[], options: CommandOptions, globals: GlobalOptions): void;
  /** @returns the exit status. */
  run(context: KernelContext): Promise<number>;
}

/** What a command gets. */
export interface KernelContext {
  readonly session: Session;
  readonly kernel: LinuxKernel;
  readonly args: readonly string[];
  readonly options: CommandOptions;
  /** `--pid`, if it was given. */
  readonly pid: number | undefined;
  /** Of the program. */
  readonly version: string;
}
