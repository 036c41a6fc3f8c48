/**
 * Whose code an address is: the kernel's own, a module's, or what BPF has translated. What hides itself is nobody's.
 *
 * Facts: include/asm-generic/sections.h (`_stext`, `_etext`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { partsOf, readModules } from "./module-parts.js";

/** The name of the module; null for the kernel itself, "bpf" for a BPF program; `undefined` where nobody owns the address. */
export type CodeOwner = string | null | undefined;

interface Part {
  readonly start: bigint;
  readonly end: bigint;
  readonly module: string;
}

/** Finds out whose code an address is. @internal */
export class CodeOwners {
  readonly #data: KernelData;
  /** By where they begin. */
  readonly #parts: readonly Part[];
  /** Of each part, the one among those up to it that ends last: it is around an address if any of them is. */
  readonly #widest: readonly Part[];
  readonly #text: { readonly start: bigint; readonly end: bigint } | undefined;

  private constructor(data: KernelData, parts: readonly Part[], start?: bigint, end?: bigint) {
    this.#data = data;
    this.#parts = [...parts].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    let widest: Part | undefined;
    this.#widest = this.#parts.map((part) => {
      if (widest === undefined || part.end > widest.end) widest = part;
      return widest;
    });
    this.#text = start === undefined || end === undefined ? undefined : { start, end };
  }

  /** Reads where the modules are. */
  static *read(data: KernelData, report: OnDamage): Routine<CodeOwners> {
    const parts: Part[] = [];
    for (const row of yield* readModules(data, report)) {
      for (const { address, size } of partsOf(data, row)) {
        parts.push({ start: address, end: address + BigInt(size), module: row.partial.name ?? "?" });
      }
    }
    const start = yield* symbolAddress(data, "_stext");
    return new CodeOwners(data, parts, start, yield* symbolAddress(data, "_etext"));
  }

  /** Whose it is. */
  *of(address: bigint): Routine<CodeOwner> {
    const text = this.#text;
    if (text !== undefined && address >= text.start && address < text.end) return null;
    const part = this.#partAt(address);
    if (part !== undefined) return part.module;
    const named = yield* this.#data.kernel.nameOf(address);
    if (named?.module === "bpf") return "bpf";
    // (Without the symbols of its ends, the kernel's text is where its symbols of text are.)
    return text === undefined && named?.module === undefined && /^[tTwW]$/.test(named?.type ?? "")
      ? null
      : undefined;
  }

  /** By halves: hooks and modules are as many as the dump claims. */
  #partAt(address: bigint): Part | undefined {
    let from = 0;
    let to = this.#parts.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((this.#parts[middle] as Part).start <= address) from = middle + 1;
      else to = middle;
    }
    const part = this.#widest[from - 1];
    return part !== undefined && address < part.end ? part : undefined;
  }
}
