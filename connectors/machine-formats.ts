/** The page-table formats of one machine: with what its Linux means by absent entries, and a cache of tables for each form. */
import {
  type LinuxAbsentEntries,
  linuxEntries,
  type SwapTypes,
  type Vmcoreinfo,
} from "../src/linux/index.js";
import { type MmuDef, TableCache, withAbsentEntries, X86_32, X86_PAE } from "../src/paging/index.js";
import { hostWasm } from "./host-wasm.js";

/** See the module's comment. */
export class MachineFormats {
  /** By the plain format. */
  readonly #formats = new Map<MmuDef, MmuDef>();
  readonly #entries: LinuxAbsentEntries[] = [];
  readonly #caches: TableCache[] = [];
  #swapTypes: SwapTypes | undefined;

  /** What the kernel's numbers of swap areas stand for, once somebody has found out. */
  get swapTypes(): SwapTypes | undefined {
    return this.#swapTypes;
  }

  /** From now on, absent entries are read by these, also in address spaces that there are already. */
  useSwapTypes(types: SwapTypes): void {
    this.#swapTypes = types;
    for (const entries of this.#entries) entries.useSwapTypes(types);
    for (const cache of this.#caches) cache.flush();
  }

  /**
   * A format with what the kernel means by entries that are not present; the same object for the same one.
   *
   * @param info Of the machine's Linux; without, the format stays as it is.
   */
  ofLinux(paging: MmuDef, info: Vmcoreinfo | undefined): MmuDef {
    if (paging.absentEntries !== undefined) return paging;
    const known = this.#formats.get(paging);
    const architecture = architectureOf(paging);
    if (known !== undefined || info?.release === undefined || architecture === undefined)
      return known ?? paging;
    const bits = info.numbers.get("MAX_PHYSMEM_BITS");
    const entries = linuxEntries({
      architecture,
      paging,
      release: info.release,
      swapTypes: this.#swapTypes,
      physicalBits: bits !== undefined && bits >= 32n && bits <= 52n ? Number(bits) : undefined,
    });
    if (entries !== undefined) this.#entries.push(entries);
    const format = entries === undefined ? paging : withAbsentEntries(paging, entries);
    this.#formats.set(paging, format);
    return format;
  }

  /** The format that {@link ofLinux} made this of. */
  plainOf(format: MmuDef): MmuDef {
    for (const [plain, own] of this.#formats) if (own === format) return plain;
    return format;
  }

  /** The cache of page tables for a format: one for all roots, and the bound is one for all of them. */
  cacheOf(mmu: MmuDef): TableCache {
    let cache = this.#caches.find((one) => one.takes(mmu));
    if (cache === undefined) {
      cache = new TableCache({ wasm: hostWasm, mmu });
      this.#caches.push(cache);
    }
    return cache;
  }
}

/**
 * The architecture of a format: a dump's header may name the processor of a 32-bit guest. `undefined` for a hypervisor's nested
 * tables: what KVM keeps in their absent entries is no swap entry.
 */
function architectureOf({ name }: MmuDef): "x86_64" | "i386" | "aarch64" | "riscv64" | undefined {
  if (name === X86_32.name || name === X86_PAE.name) return "i386";
  if (name.startsWith("aarch64")) return "aarch64";
  if (name.startsWith("riscv")) return "riscv64";
  return name.startsWith("x86") ? "x86_64" : undefined;
}
