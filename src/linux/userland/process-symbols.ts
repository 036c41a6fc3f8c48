/** The symbols of one process of a kernel. */
import { Io, type Routine } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import type { Damage } from "../objects/damage.js";
import { memoryOfTask, type Task } from "../tasks/task.js";
import { readSpaces } from "./process-images.js";
import { readUserSymbols } from "./read-user-symbols.js";
import { UserSymbols } from "./user-symbols.js";

/** Things that are kept of what is damaged. */
const KEPT = 1000;

/** The symbols of a process, and what of them could not be read. */
export class UserSymbolTable extends UserSymbols {
  /** The first thousand things that were wrong. */
  damage: readonly Damage[] = [];
}

/**
 * The symbols of a process: those of its program, its libraries and the vDSO, out of their images in its memory.
 *
 * @throws {MemtoolError} `NO_MEMORY` for kernel threads and zombies.
 */
export function readProcessSymbols(kernel: LinuxKernel, task: Task): Io<UserSymbolTable> {
  return Io.of(kernel.memory.scheduler, loadUserSymbols, kernel, task);
}

/** @internal */
export function* loadUserSymbols(kernel: LinuxKernel, task: Task): Routine<UserSymbolTable> {
  // (It says what has no memory.)
  memoryOfTask(kernel, task);
  const data = yield* kernelData(kernel);
  const damage: Damage[] = [];
  const report = (found: Damage) => {
    if (damage.length < KEPT) damage.push(found);
  };
  const [space] = yield* readSpaces(data, [task], report);
  const objects = space === undefined ? [] : yield* readUserSymbols(space, report);
  const table = new UserSymbolTable(objects);
  table.damage = damage;
  return table;
}
