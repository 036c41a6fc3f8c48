/** The page-table roots of a target. */
import type { Machine } from "../connectors/connectors.js";
import { alignRoot, type Root, rootName } from "../src/paging/index.js";

/** A root, and who says that it is one. */
export interface KnownRoot {
  readonly root: Root;
  readonly from: string;
}

/** Score of roots that more than their shape speaks for. */
const CONVINCING = 50;

/**
 * The roots of a machine, each once: that of the address space in use, then those that the dump's CPUs had loaded, the kernel's,
 * and those that a search of RAM finds by more than their shape.
 *
 * @param own Root of the address space in use.
 */
export async function rootsOf(machine: Machine, own: KnownRoot): Promise<KnownRoot[]> {
  const found: KnownRoot[] = [own];
  const mmu = machine.paging?.mmu;
  const add = (root: number, half: "lower" | "upper" | undefined, from: string) => {
    // A processor that ran with another format may have a root that this one can't have.
    const fits = (half === undefined) === (mmu?.halves === undefined);
    if (fits && (mmu === undefined || alignRoot(root, mmu) === root))
      found.push({ root: half === undefined ? root : { [half]: root }, from });
  };
  for (const { root, half, reason } of machine.dumpRoots) add(root, half, reason);
  const { kernel } = machine;
  if (kernel !== undefined) found.push({ root: kernel.memory.roots, from: "kernel" });
  for (const { root, half, score, kind } of (await machine.findRoots()).roots) {
    if (score >= CONVINCING) add(root, half, kind);
  }
  const seen = new Set<string>();
  return found.filter(({ root }) => !seen.has(rootName(root)) && seen.add(rootName(root)));
}
