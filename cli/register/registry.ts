/** What commands are registered with. */
import type { Command } from "commander";
import { type AddressExpression, parseAddress } from "../parse.js";
import type { RowChoice } from "../rows/choice.js";
import type { Environment, GlobalOptions, Purpose, Session } from "../session.js";

/** The command line that commands are added to, and what they do with it. */
export interface Registry {
  readonly program: Command;
  readonly environment: Environment;
  readonly version: string;
  /** The options that all commands have, as they were given. */
  globals(): GlobalOptions;
  /** Runs a command over the target; what it returns is the exit status. */
  session(action: (session: Session) => Promise<number>, purpose?: Purpose, rows?: RowChoice): Promise<void>;
  /** The exit status of a command that opens its targets itself. */
  end(status: number): void;
}

/** The dump of all examples. */
export const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";

/** The end of a command's help. */
export function example(command: string): string {
  return `\nExample:\n  $ memtool ${command}`;
}

/** The values of an option that may be given several times. */
export function several(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** Addresses are checked before the target is opened. */
export function checkAddresses(
  addresses: readonly string[],
  stdin: boolean | undefined,
): AddressExpression[] {
  return stdin === true ? [] : addresses.map(parseAddress);
}
