/**
 * WebAssembly, where the host has it. It isn't part of ECMAScript, so nothing may depend on it: whoever generates code
 * has a plain loop that does the same, and takes that where there is none (or where a page's policy forbids to compile).
 */

/** Exported functions by name. */
export type WasmExports = Readonly<Record<string, (...values: number[]) => number>>;

/** A linear memory. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** What the core needs of the global `WebAssembly`. */
export interface Wasm {
  readonly Memory: new (size: { initial: number; maximum: number }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => { readonly exports: unknown };
}

/** Bytes of a page of a linear memory. */
export const WASM_PAGE = 65_536;

/** The host's WebAssembly, if it has one. */
export function hostWasm(): Wasm | undefined {
  return (globalThis as { readonly WebAssembly?: Wasm }).WebAssembly;
}
