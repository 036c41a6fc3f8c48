/** A table of symbols from a file, for a kernel whose own lists no variables, is damaged, or was left out of the dump. */
import { hex } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import type { Kallsyms } from "./kallsyms.js";
import { parseSystemMap, SystemMapError } from "./system-map.js";

/**
 * The symbols of a System.map, moved to where KASLR has put the kernel; or of a saved /proc/kallsyms, which are there already. Which
 * of both it is, the symbols that VMCOREINFO names tell; and how far, where nothing else says it.
 *
 * @param name Of the file, for messages.
 * @throws {SystemMapError} for what is no table of symbols, or not this kernel's.
 */
export function symbolsFor(kernel: LinuxKernel, text: Uint8Array, name: string): Kallsyms {
  const linked = parse(text, 0n, name);
  const wrong = disagreement(kernel, linked);
  if (wrong === undefined) return linked;
  const slide = kernel.isKaslrKnown ? kernel.kaslrOffset : slideOf(kernel, linked);
  const moved = slide === 0n ? linked : parse(text, slide, name);
  const still = slide === 0n ? wrong : disagreement(kernel, moved);
  if (still === undefined) return moved;
  throw new SystemMapError(`${name} is of another kernel: ${still}`);
}

/**
 * What the first symbol that both know is moved by, for kernels whose VMCOREINFO does not say KASLR's offset, as i386's. 0 if only
 * one is known: nothing would tell another kernel's table from this one's.
 */
function slideOf(kernel: LinuxKernel, linked: Kallsyms): bigint {
  const slides = [...kernel.named].flatMap(([name, address]) => {
    const found = linked.symbol(name)[0];
    return found === undefined ? [] : [address - found.address];
  });
  return slides.length > 1 ? (slides[0] as bigint) : 0n;
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
