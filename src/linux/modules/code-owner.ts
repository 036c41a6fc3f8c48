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
  readonly #parts: readonly Part[];
  readonly #text: { readonly start: bigint; readonly end: bigint } | undefined;

  private constructor(data: KernelData, parts: readonly Part[], start?: bigint, end?: bigint) {
    this.#data = data;
    this.#parts = parts;
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
    const part = this.#parts.find(({ start, end }) => address >= start && address < end);
    if (part !== undefined) return part.module;
    const named = yield* this.#data.kernel.nameOf(address);
    if (named?.module === "bpf") return "bpf";
    // (Without the symbols of its ends, the kernel's text is where its symbols of text are.)
    return text === undefined && named?.module === undefined && /^[tTwW]$/.test(named?.type ?? "")
      ? null
      : undefined;
  }
}
