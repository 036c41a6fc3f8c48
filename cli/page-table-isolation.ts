/** What is said of the rights of a process's pages where user mode runs with a page table of its own. */
import { findUserRoot } from "../src/linux/index.js";
import type { VirtualMemory } from "../src/paging/index.js";
import { hex } from "./render/numbers.js";
import type { Session } from "./session.js";

/** Says on standard error, with `--pid`, that the table which is shown calls none of the process's memory executable, and which one doesn't. */
export async function noteIsolation(session: Session, memory: VirtualMemory): Promise<void> {
  if (session.pid === undefined) return;
  const root = await findUserRoot(await session.machine.linux(), memory.root);
  if (root === memory.root) return;
  session.warn(
    `page table isolation: the kernel's table for process ${session.pid} calls none of its memory executable; ` +
      `that of its user mode has --root ${hex(root)} in the place of --pid`,
  );
}
