/** Where page tables map pages: one pass over all of them, however many pages are asked for. */
import { describeFault, hex, type Routine } from "../../io/index.js";
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

/** What is kept of the mappings of one call. @internal */
export interface MappingLimits {
  /** Of one page: more than any is shared by. */
  readonly perPage: number;
  /** Of all, those that are not kept too: page tables that share tables map one page as often as they like. */
  readonly all: number;
}

const LIMITS: MappingLimits = { perPage: 1 << 16, all: 1 << 23 };

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
  limits = LIMITS,
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
  const full = new Set<number>();
  let left = limits.all;
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
        left -= owners.length;
        if (own.length + owners.length <= limits.perPage) {
          for (const task of owners) own.push({ virtual, task });
        } else if (!full.has(pfn)) {
          full.add(pfn);
          const what = `the mappings of the page at physical ${hex(BigInt(pfn * pageSize))}`;
          report(damage(what, virtual, "too long", 0, `there are more than ${limits.perPage}`));
        }
      }
      if (left < 0) {
        report(damage("the mappings of pages", result.virtual, "too long", 0, "no more are looked for"));
        break;
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
