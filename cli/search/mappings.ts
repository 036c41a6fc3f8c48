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

/** Pages of the kernel that it lends to every process, and lets nobody read from outside (proc_pid_maps(5), vdso(7)). */
const LENT = /^\[(?:vvar|vvar_vclock|vsyscall)\]$/;

/** `undefined` where the target is no process. */
export function mappingsOf({ machine }: Session): Mappings | undefined {
  const ranges = machine.ranges?.ranges();
  // (Ranges that nothing is known of but their bounds may be anything's.)
  if (ranges === undefined || !ranges.some(({ path }) => path !== undefined)) return undefined;
  const process = processOf(machine);
  return { pid: process?.pid, comm: process?.processName, ranges };
}

/** Its rights as /proc/PID/maps has them: `rw-p`; `undefined` where the connector does not tell. */
export function mappingRights({ readable, writable, executable, shared }: MappedRange): string | undefined {
  if (readable === undefined) return undefined;
  return `${readable ? "r" : "-"}${writable ? "w" : "-"}${executable ? "x" : "-"}${shared ? "s" : "p"}`;
}

/** The process's own memory: each mapping by itself, without the kernel's pages. */
export function ownMemory({ ranges }: Mappings): ScanRange[] {
  return ranges.filter(({ path = "" }) => !LENT.test(path)).map(({ start, end }) => ({ start, end }));
}
