/** The page-table roots that are known in a target. */
import type { Machine } from "../connectors/connectors.js";
import { type Root, rootName } from "../src/paging/index.js";
import { rootOf } from "./parse.js";

/** A root, and who says that it is one. */
export interface KnownRoot {
  readonly root: Root;
  readonly from: string;
}

/**
 * The roots of a machine, each once: that of the address space in use, then those that the dump's CPUs had loaded.
 *
 * @param own Root of the address space in use.
 */
export function rootsOf(machine: Machine, own: KnownRoot | undefined): KnownRoot[] {
  const found: KnownRoot[] = own === undefined ? [] : [own];
  for (const [cpu, { registers }] of (machine.image?.notes.cpus ?? []).entries()) {
    if (registers.cr3 !== undefined) found.push({ root: rootOf(registers.cr3), from: `CR3 of CPU ${cpu}` });
  }
  const { kernel } = machine;
  if (kernel !== undefined) found.push({ root: kernel.memory.roots, from: "kernel" });
  return found.filter(
    ({ root }, i) => found.findIndex((other) => rootName(other.root) === rootName(root)) === i,
  );
}
