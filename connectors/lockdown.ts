/** The kernel's lockdown, by which it refuses its memory even to root (kernel_lockdown(7)). */
import { readFileSync } from "node:fs";
import { ConnectorError } from "./errors.js";

const PATH = "/sys/kernel/security/lockdown";

/** `none`, `integrity` or `confidentiality`; `undefined` where nothing tells. */
function lockdownMode(): string | undefined {
  try {
    return /\[(\w+)\]/.exec(readFileSync(PATH, "latin1"))?.[1];
  } catch {
    return undefined;
  }
}

/**
 * The error for a file that was refused, where that is by the lockdown.
 *
 * @param modes Those in which this file is refused. @param code Name of the system's error.
 * @returns `undefined` where it is not, or can't be known to be: others than root are refused anyway.
 */
export function lockdownError(
  name: string,
  file: string,
  modes: readonly string[],
  code: string,
  cause: unknown,
): ConnectorError | undefined {
  const mode = process.getuid?.() === 0 ? lockdownMode() : undefined;
  if (mode === undefined || !modes.includes(mode)) return undefined;
  return new ConnectorError(
    "LOCKED_DOWN",
    name,
    `the kernel is locked down (${mode}: ${PATH}), as with Secure Boot, and lets nobody read ${file} (${code}): ` +
      "boot without Secure Boot, or take a dump by other means",
    { cause },
  );
}
