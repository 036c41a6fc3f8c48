/**
 * What perf events count, in the words of perf-list(1).
 *
 * Facts: include/uapi/linux/perf_event.h (`perf_type_id`, `perf_hw_id`, `perf_hw_cache_id`, `perf_sw_ids`), include/uapi/linux/hw_breakpoint.h.
 * All of them are part of the interface to programs.
 */

/** PERF_TYPE_…; what is above is the number of a PMU. */
export const HARDWARE = 0;
export const SOFTWARE = 1;
export const TRACEPOINT = 2;
export const HW_CACHE = 3;
export const RAW = 4;
export const BREAKPOINT = 5;

const TYPES = ["hardware", "software", "tracepoint", "hw-cache", "raw", "breakpoint"] as const;

/** The name of a type; `undefined` for a number that a PMU has. */
export function perfTypeName(type: number): string | undefined {
  return TYPES[type];
}

const HARDWARE_EVENTS = [
  "cycles",
  "instructions",
  "cache-references",
  "cache-misses",
  "branches",
  "branch-misses",
  "bus-cycles",
  "stalled-cycles-frontend",
  "stalled-cycles-backend",
  "ref-cycles",
] as const;

const SOFTWARE_EVENTS = [
  "cpu-clock",
  "task-clock",
  "page-faults",
  "context-switches",
  "cpu-migrations",
  "minor-faults",
  "major-faults",
  "alignment-faults",
  "emulation-faults",
  "dummy",
  "bpf-output",
  "cgroup-switches",
] as const;

const CACHES = ["L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node"] as const;
const OPERATIONS = ["load", "store", "prefetch"] as const;

/** What an event of a general type counts; `undefined` where its number has no name. */
export function perfEventName(type: number, config: bigint): string | undefined {
  // (The upper half is of which PMU it is to be, since 5.12: 55bcf6ef314a.)
  const low = Number(BigInt.asUintN(32, config));
  if (type === HARDWARE) return HARDWARE_EVENTS[low];
  if (type === SOFTWARE) return config === BigInt(low) ? SOFTWARE_EVENTS[low] : undefined;
  if (type === RAW) return `r${config.toString(16)}`;
  if (type !== HW_CACHE) return undefined;
  const cache = CACHES[low & 0xff];
  const operation = OPERATIONS[(low >>> 8) & 0xff];
  const result = (low >>> 16) & 0xff;
  if (cache === undefined || operation === undefined || result > 1) return undefined;
  if (result === 1) return `${cache}-${operation}-misses`;
  return `${cache}-${operation}${operation === "prefetch" ? "es" : "s"}`;
}

/** A breakpoint as perf writes it: "mem:0x4d5330/4:w". */
export function breakpointName(address: bigint, length: bigint, kind: number): string {
  const letters = `${(kind & 1) !== 0 ? "r" : ""}${(kind & 2) !== 0 ? "w" : ""}${(kind & 4) !== 0 ? "x" : ""}`;
  return `mem:0x${address.toString(16)}/${length}:${letters}`;
}
