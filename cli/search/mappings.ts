/** What a process has mapped, as its system lists it: where it is searched, and what its hits are in. */
import type { MappedRange } from "../../connectors/connectors.js";
import type { ScanRange } from "../../src/search/index.js";
import { processOf } from "../process-pages.js";
import type { Session } from "../session.js";

/** What a process has mapped, and which process it is, as far as that is known. */
export interface Mappings {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly ranges: readonly MappedRange[];
}

/**
 * Pages that the kernel lends to a process, and lets nobody read from outside: the clock and the old calls
 * (arch/x86/entry/vdso/vma.c, vsyscall_64.c), and copies of probed instructions (kernel/events/uprobes.c).
 */
const LENT = /^\[(?:vvar|vvar_vclock|vsyscall|uprobes)\]$/;

/** `undefined` where the target is no process. */
export function mappingsOf({ machine }: Session): Mappings | undefined {
  const ranges = machine.ranges?.ranges();
  // (Ranges that nothing is known of but their bounds may be anything's.)
  if (ranges === undefined || !ranges.some(({ path }) => path !== undefined)) return undefined;
  const process = processOf(machine);
  return { pid: process?.pid, comm: process?.processName, ranges };
}

/** What there is to search: each mapping by itself. The pages that the kernel lends only where a range is asked for. */
export function memoryIn(
  { ranges }: Mappings,
  asked?: { readonly start: bigint; readonly end: bigint },
): ScanRange[] {
  if (asked === undefined)
    return ranges.filter(({ path = "" }) => !LENT.test(path)).map(({ start, end }) => ({ start, end }));
  const parts: ScanRange[] = [];
  for (const range of ranges) {
    let { start, end } = range;
    if (start < asked.start) start = asked.start;
    if (end > asked.end) end = asked.end;
    if (start < end) parts.push({ start, end });
  }
  return parts;
}
