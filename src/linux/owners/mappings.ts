/** Where page tables map pages: one pass over all of them, however many pages are asked for. */
import { describeFault, type Routine } from "../../io/index.js";
import { findMappings } from "../../paging/virtual-memory.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { Task } from "../tasks/task.js";
import type { Processes } from "./processes.js";

/** A virtual page that maps a physical one. @internal */
export interface PageMapping {
  readonly virtual: bigint;
  /** Whose; null for the kernel. */
  readonly task: Task | null;
}

/** The root of a space, as one number. */
function keyOf(
  root: number | { readonly lower?: number | undefined; readonly upper?: number | undefined },
): number {
  return typeof root === "number" ? root : (root.lower ?? -1);
}

/**
 * Mappings of pages by their frames' numbers; the kernel's half of processes is the kernel's alone.
 *
 * @param pfns Ascending. @internal
 */
export function* findPageMappings(
  data: KernelData,
  processes: Processes | undefined,
  pfns: Float64Array,
  pageSize: number,
  report: OnDamage,
): Routine<ReadonlyMap<number, readonly PageMapping[]>> {
  const { kernel } = data;
  const tasks = new Map<number, Task>();
  const spaces = [kernel.memory];
  for (const { task, memory } of processes?.spaces ?? []) {
    tasks.set(keyOf(memory.roots), task);
    spaces.push(memory);
  }
  const found = new Map<number, PageMapping[]>();
  const wanted = Array.from(pfns, (pfn) => ({ start: pfn * pageSize, end: (pfn + 1) * pageSize }));
  const cursor = findMappings(spaces, wanted).cursor();
  const kernelRoot = kernel.memory.roots;
  try {
    for (;;) {
      const next = yield* cursor.next();
      if (next.done === true) break;
      const result = next.value;
      const isKernels = result.roots[0] === kernelRoot;
      if (result.state !== undefined) {
        const whose = isKernels ? "the kernel" : `process ${tasks.get(keyOf(result.root))?.tgid ?? "?"}`;
        const why = describeFault(result.fault);
        report(damage(`a part of the page tables of ${whose}`, result.start, "invalid", 0, why));
        continue;
      }
      const { physical, length } = result;
      const first = Math.floor(physical / pageSize);
      const last = Math.ceil((physical + length) / pageSize);
      const owners = isKernels ? [null] : result.roots.flatMap((root) => tasks.get(keyOf(root)) ?? []);
      for (let i = lowerBound(pfns, first); i < pfns.length && (pfns[i] as number) < last; i++) {
        const pfn = pfns[i] as number;
        const virtual = BigInt.asUintN(64, result.virtual + BigInt(pfn * pageSize - physical));
        let own = found.get(pfn);
        if (own === undefined) {
          own = [];
          found.set(pfn, own);
        }
        for (const task of owners) own.push({ virtual, task });
      }
    }
  } finally {
    yield* cursor.end();
  }
  return found;
}

/** Index of the first that is not below a number. */
function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
