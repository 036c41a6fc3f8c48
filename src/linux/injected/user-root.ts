/**
 * The top table that a process runs with.
 *
 * Facts: arch/x86/mm/pti.c (`__pti_set_user_pgtbl`: with page table isolation, the kernel's copy of a process's top table has its half of the entries marked
 * as not executable, and user mode has a table of its own in the next page, where they are not).
 */
import type { Routine } from "../../io/index.js";
import { readPartial } from "../../io/requests.js";
import type { KernelData } from "../kernel-data.js";

const NO_EXECUTE = 1n << 63n;
/** Bits that the processor sets: accessed, dirty. */
const BY_PROCESSOR = 0x60n;
const PAGE = 4096;
const HALF = PAGE / 2;

/** Physical address of the table of user mode, which tells what may be executed there. @param root The kernel's, for the process. @internal */
export function* userRoot({ kernel }: KernelData, root: number): Routine<number> {
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
