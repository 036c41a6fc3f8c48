/**
 * The top table that a process runs with.
 *
 * Facts: arch/x86/mm/pti.c (`__pti_set_user_pgtbl`: with page table isolation, the kernel's copy of a process's top table has its half of the entries marked
 * as not executable, and user mode has a table of its own in the next page, where they are not).
 */
import { Io, type Routine } from "../../io/index.js";
import { readPartial } from "../../io/requests.js";
import type { LinuxKernel } from "../kernel.js";

const NO_EXECUTE = 1n << 63n;
/** Bits that the processor sets: accessed, dirty. */
const BY_PROCESSOR = 0x60n;
const PAGE = 4096;
const HALF = PAGE / 2;

/**
 * The top table that a process runs with in user mode: the one that tells what it may execute. With page table isolation it is not the
 * kernel's own for that process ({@link Task.root}), which has all of the process's memory, and calls none of it executable. Most of the
 * kernel's memory is missing in it.
 *
 * @param root Physical address of the kernel's own for the process.
 * @returns Its physical address; `root` itself where there is but one, or where the tables can't be read.
 */
export function findUserRoot(kernel: LinuxKernel, root: number): Io<number> {
  return Io.of(kernel.memory.scheduler, userRoot, kernel, root);
}

/** As {@link findUserRoot}. @internal */
export function* userRoot(kernel: LinuxKernel, root: number): Routine<number> {
  if (kernel.architecture !== "x86_64") return root;
  const { physical } = kernel.memory;
  const own = yield* readPartial(physical, root, new Uint8Array(HALF));
  const users = yield* readPartial(physical, root + PAGE, new Uint8Array(HALF));
  if (own.holes.length > 0 || users.holes.length > 0) return root;
  const [one, other] = [own, users].map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset, HALF));
  let pairs = 0;
  for (let at = 0; at < HALF; at += 8) {
    const entry = (one as DataView).getBigUint64(at, true);
    if ((entry & 1n) === 0n || (entry & NO_EXECUTE) === 0n) continue;
    const user = (other as DataView).getBigUint64(at, true);
    if (((entry ^ user) & ~BY_PROCESSOR) !== NO_EXECUTE) return root;
    pairs++;
  }
  return pairs > 0 ? root + PAGE : root;
}
