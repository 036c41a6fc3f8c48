/** Which CPU the registers are of that a dump's notes hold: notes have an order, and no number that could be trusted. */
import { damage, type OnDamage } from "../objects/damage.js";

/** Registers of one CPU, as `DumpNotes.cpus` has them. */
export interface CpuRegisters {
  /** What the note says: a process's number in the kernel's own dumps, one of QEMU's in QEMU's. */
  readonly pid?: number | undefined;
  readonly registers: Readonly<Record<string, bigint>>;
}

/** What is known of a CPU to find its registers by. @internal */
export interface Candidate {
  readonly number: number;
  readonly online: boolean | undefined;
  readonly present: boolean | undefined;
  readonly offset: bigint | undefined;
  readonly pid: number | undefined;
}

/**
 * Registers by CPU. By what `gs` is based on, which on x86-64 is the CPU's own memory (where the dump has it); else by their order,
 * if there are as many as CPUs that are online, or present, or possible; else by the process that the note names. @internal
 */
export function assignStates(
  cpus: readonly Candidate[],
  states: readonly CpuRegisters[],
  report: OnDamage,
): ReadonlyMap<number, CpuRegisters> {
  const found = byGs(cpus, states) ?? byOrder(cpus, states) ?? byProcess(cpus, states);
  if (found.size < states.length) {
    const text = `${states.length} notes, ${cpus.length} CPUs`;
    report(damage("the registers of CPUs", 0n, "mismatch", 0, `nothing says whose they are: ${text}`));
  }
  return found;
}

type Found = Map<number, CpuRegisters>;

function byGs(cpus: readonly Candidate[], states: readonly CpuRegisters[]): Found | undefined {
  const owners = new Map<bigint, number>();
  for (const { offset, number } of cpus)
    if (offset !== undefined && offset !== 0n) owners.set(offset, number);
  const found: Found = new Map();
  for (const state of states) {
    const { gs_base: own, kernel_gs_base: swapped } = state.registers;
    const number = owners.get(own ?? 0n) ?? owners.get(swapped ?? 0n);
    if (number === undefined || found.has(number)) return undefined;
    found.set(number, state);
  }
  return found;
}

function byOrder(cpus: readonly Candidate[], states: readonly CpuRegisters[]): Found | undefined {
  for (const which of [
    cpus.filter(({ online }) => online === true),
    cpus.filter(({ present }) => present === true),
    cpus,
  ]) {
    if (which.length !== states.length) continue;
    return new Map(which.map(({ number }, i) => [number, states[i] as CpuRegisters]));
  }
  return undefined;
}

/** (Idle CPUs all have process 0.) */
function byProcess(cpus: readonly Candidate[], states: readonly CpuRegisters[]): Found {
  const found: Found = new Map();
  for (const { number, pid } of cpus) {
    if (pid === undefined || pid === 0) continue;
    const same = states.filter((state) => state.pid === pid);
    if (same.length === 1) found.set(number, same[0] as CpuRegisters);
  }
  return found;
}
