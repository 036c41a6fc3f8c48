/** What is said of pages in swap areas that were not given. */
import type { AbsentEntry, VirtualMemory } from "../src/paging/index.js";
import { swapHint } from "./render/absent.js";
import { hex } from "./render/numbers.js";
import type { Session } from "./session.js";

/** What the operating system means by an entry that the processor calls not present; `undefined` where nothing is known. */
export function describeEntry(memory: VirtualMemory, level: number, entry: bigint): AbsentEntry | undefined {
  return entry === 0n ? undefined : memory.mmu.absentEntries?.describe(level, entry);
}

/** Says once in a run, on standard error, what to give so that a page in a swap area can be read. */
export function noteSwapped(session: Session, address: bigint, entry: AbsentEntry): void {
  if (entry.kind !== "swap" || session.hinted || session.options.json === true) return;
  const areas = session.machine.swapAreas;
  if (areas.some(({ type }) => type === entry.type)) return;
  session.hinted = true;
  session.warn(swapHint(hex(address), entry, areas.length > 0));
}

/** Says how the page at an address, which is in a swap area, could be read. */
export async function noteSwappedAt(session: Session, memory: VirtualMemory, address: bigint): Promise<void> {
  const absent = (await memory.walk(address)).steps.at(-1)?.absent;
  if (absent !== undefined) noteSwapped(session, address, absent);
}
