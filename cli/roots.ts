/** The page-table roots that are known in a target. */
import type { Machine } from "../connectors/connectors.js";
import { type Root, rootName } from "../src/paging/index.js";

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
  const halves = machine.paging?.mmu.halves;
  for (const { root, half, reason } of machine.dumpRoots) {
    // (A processor that ran with another format has no root of this one.)
    if ((half === undefined) !== (halves === undefined)) continue;
    found.push({ root: half === undefined ? root : { [half]: root }, from: reason });
  }
  const { kernel } = machine;
  if (kernel !== undefined) found.push({ root: kernel.memory.roots, from: "kernel" });
  return found.filter(
    ({ root }, i) => found.findIndex((other) => rootName(other.root) === rootName(root)) === i,
  );
}
