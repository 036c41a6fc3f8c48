/** What tells the roots of a Linux kernel from other memory; the search itself is `src/paging/roots/find-roots.ts`. */
import type { KnownRoot } from "../paging/roots/root-evidence.js";
import type { Landmark } from "../paging/roots/scan-roots.js";
import type { LinuxKernel } from "./kernel.js";

/**
 * Texts of a Linux kernel's image. The banner is a constant of its own (init/version.c, `linux_banner`), so that compilers
 * place it at a multiple of at least 8 bytes; copies of it lie in the kernel's log.
 */
export const LINUX_LANDMARKS: readonly Landmark[] = [{ name: "the kernel's banner", text: "Linux version " }];

/** The root of a kernel that was found. */
export function rootsOfKernel({ memory, origin }: LinuxKernel): KnownRoot[] {
  const { roots } = memory;
  const said = { reason: origin.root, ...(origin.root === "swapper_pg_dir" ? { isKernels: true } : {}) };
  if (typeof roots === "number") return [{ root: roots, ...said }];
  return roots.upper === undefined ? [] : [{ root: roots.upper, half: "upper", ...said }];
}
