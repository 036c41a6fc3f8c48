/** A table of symbols from a file, for a kernel whose own lists no variables, is damaged, or was left out of the dump. */
import { hex } from "../io/index.js";
import type { Kallsyms } from "./kallsyms.js";
import type { LinuxKernel } from "./kernel.js";
import { parseSystemMap, SystemMapError } from "./system-map.js";

/**
 * The symbols of a System.map, moved to where KASLR has put the kernel; or of a saved /proc/kallsyms, which are there already. Which
 * of both it is, the symbols that VMCOREINFO names tell; and how far, where nothing else says it.
 *
 * @param name Of the file, for messages.
 * @throws {SystemMapError} for what is no table of symbols, or not this kernel's.
 */
export function symbolsFor(kernel: LinuxKernel, text: Uint8Array, name: string): Kallsyms {
  let other: string | undefined;
  for (const kaslr of new Set([0n, kernel.isKaslrKnown ? kernel.kaslrOffset : slideOf(kernel, text, name)])) {
    const kallsyms = parse(text, kaslr, name);
    const wrong = disagreement(kernel, kallsyms);
    if (wrong === undefined) return kallsyms;
    other = wrong;
  }
  throw new SystemMapError(`${name} is of another kernel: ${other}`);
}

/** How far a symbol that is known is from where the file has it; 0 if it has none. All others must then agree. */
function slideOf(kernel: LinuxKernel, text: Uint8Array, name: string): bigint {
  const linked = parse(text, 0n, name);
  for (const [symbol, address] of kernel.named) {
    const [only, other] = linked.symbol(symbol);
    if (only !== undefined && other === undefined) return address - only.address;
  }
  return 0n;
}

function parse(text: Uint8Array, kaslr: bigint, name: string): Kallsyms {
  try {
    return parseSystemMap(text, { kaslr }).kallsyms;
  } catch (error) {
    if (error instanceof SystemMapError) throw new SystemMapError(`${name}: ${error.message}`);
    throw error;
  }
}

/** What VMCOREINFO says otherwise; `undefined` if it agrees. One symbol must be in both: else nobody knows where it belongs. */
function disagreement(kernel: LinuxKernel, kallsyms: Kallsyms): string | undefined {
  let agreed = 0;
  for (const [name, address] of kernel.named) {
    const found = kallsyms.symbol(name);
    if (found.some((symbol) => symbol.address === address)) agreed++;
    if (found.length === 0 || found.some((symbol) => symbol.address === address)) continue;
    return `it has ${name} at ${hex(found[0]?.address ?? 0n)}, and VMCOREINFO says ${hex(address)}`;
  }
  return agreed > 0 ? undefined : "it has none of the symbols that VMCOREINFO names";
}
