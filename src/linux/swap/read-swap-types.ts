/** What a kernel's symbols tell of its numbers of swap areas. */
import { Io, type Routine } from "../../io/index.js";
import { parseRelease, releaseOf } from "../entries/release.js";
import type { LinuxKernel } from "../kernel.js";
import type { Kallsyms } from "../symbols/kallsyms.js";
import { KallsymsError } from "../symbols/kallsyms-tables.js";
import { type SwapTypeFacts, type SwapTypes, swapTypesOf } from "./swap-types.js";

/**
 * What the numbers of swap areas stand for in a kernel: by the room for `swap_info` and by the functions that its options
 * bring along, as far as its kallsyms have them; by its release alone if there are none. Reads kallsyms, if nobody has yet.
 *
 * @param architecture As dumps name it: `x86_64`.
 */
export function readSwapTypes(kernel: LinuxKernel, architecture: string): Io<SwapTypes> {
  return Io.of(kernel.memory.scheduler, swapTypesRoutine, kernel, architecture);
}

/** The routine of {@link readSwapTypes}. @internal */
export function* swapTypesRoutine(kernel: LinuxKernel, architecture: string): Routine<SwapTypes> {
  const { release } = kernel;
  try {
    return swapTypesOf(swapTypeFacts(yield* kernel.loadKallsyms(), release, architecture));
  } catch (error) {
    if (error instanceof KallsymsError) return swapTypesOf({ release, architecture });
    throw error;
  }
}

/**
 * What symbols tell. Functions are listed in any case (`KALLSYMS`), variables such as `swap_info` only with `KALLSYMS_ALL`.
 *
 * `memory_failure` is there with MEMORY_FAILURE (mm/memory-failure.c), `migrate_pages` with MIGRATION (mm/migrate.c). Of
 * DEVICE_PRIVATE: `make_device_exclusive_range` (mm/rmap.c, since 5.14), `make_device_exclusive` since 6.15 (599b684a7854);
 * before 5.14 `migrate_vma_setup` (5.4) or `migrate_vma` (mm/migrate.c). `handle_userfault` with USERFAULTFD.
 */
export function swapTypeFacts(kallsyms: Kallsyms, release: string, architecture: string): SwapTypeFacts {
  const has = (name: string) => kallsyms.symbol(name).length > 0;
  const recent = (parseRelease(release) ?? Number.POSITIVE_INFINITY) >= releaseOf(5, 14);
  const exclusive = recent
    ? ["make_device_exclusive_range", "make_device_exclusive"]
    : ["migrate_vma_setup", "migrate_vma"];
  const [start, ...others] = kallsyms.symbol("swap_info");
  const bytes = start === undefined || others.length > 0 ? undefined : roomOf(kallsyms, start.address);
  const pointerBytes = architecture === "i386" || architecture === "arm" ? 4 : 8;
  return {
    release,
    architecture,
    swapInfo: bytes === undefined ? undefined : { bytes, pointerBytes },
    memoryFailure: has("memory_failure"),
    migration: has("migrate_pages"),
    devicePrivate: exclusive.some(has),
    userfaultfd: has("handle_userfault"),
  };
}

/** More than any array of 32 pointers has with what it is aligned to: nothing is to be learnt from more. */
const MAX_ROOM = 4096n;

/** Bytes from a symbol to the next address that has one. */
function roomOf({ addresses }: Kallsyms, start: bigint): number | undefined {
  let next = start + MAX_ROOM;
  for (const address of addresses) if (address > start && address < next) next = address;
  return next === start + MAX_ROOM ? undefined : Number(next - start);
}
