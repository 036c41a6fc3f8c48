/** Symbols as kallsyms list them without CONFIG_KALLSYMS_ALL. */
import { type Kallsyms, type LinuxKernel, parseSystemMap } from "../../src/linux/index.js";

/** The functions among a kernel's symbols. */
export async function functionsOnly(kernel: LinuxKernel): Promise<Kallsyms> {
  const lines: string[] = [];
  for (const { name, address, type } of await kernel.kallsyms()) {
    if (/^[tTwW]$/.test(type)) lines.push(`${address.toString(16).padStart(16, "0")} ${type} ${name}\n`);
  }
  return parseSystemMap(new TextEncoder().encode(lines.join(""))).kallsyms;
}
