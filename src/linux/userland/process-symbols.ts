/** The symbols of one process of a kernel. */
import { Io, type Routine } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import type { Damage } from "../objects/damage.js";
import { MappedFiles } from "../pagecache/mapped-files.js";
import { memoryOfTask, type Task } from "../tasks/task.js";
import { CachedBytes } from "./byte-source.js";
import { rangeAt, readSpaces } from "./process-images.js";
import { type FileOf, readUserSymbols } from "./read-user-symbols.js";
import { UserSymbols } from "./user-symbols.js";

/** Things that are kept of what is damaged. */
const KEPT = 1000;

/** The symbols of a process, and what of them could not be read. */
export class UserSymbolTable extends UserSymbols {
  /** The first thousand things that were wrong. */
  damage: readonly Damage[] = [];
}

/**
 * The symbols of a process: those of its program, its libraries and the vDSO, out of their images in its memory, and of what the kernel
 * has cached of their files.
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
  const fileOf = cachedFiles(new MappedFiles(data, report));
  const objects = space === undefined ? [] : yield* readUserSymbols(space, report, fileOf);
  const table = new UserSymbolTable(objects);
  table.damage = damage;
  return table;
}

/** What is cached of the file that an image is mapped from, where its mapping begins with the file. */
function cachedFiles(files: MappedFiles): FileOf {
  return function* ({ image, how }, space) {
    const range = rangeAt(space, image.base);
    if (how !== "mapping" || range === undefined) return undefined;
    const found = yield* files.of(range.file);
    return found === undefined ? undefined : new CachedBytes(found.memory);
  };
}
