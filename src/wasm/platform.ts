/**
 * WebAssembly as the core takes it from its caller. It isn't part of ECMAScript, so nothing may depend on it: whoever
 * generates code has a plain loop that does the same, and takes that where there is none, or where a page's policy
 * forbids to compile.
 */

/** Exported functions by name. */
export type WasmExports = Readonly<Record<string, (...values: number[]) => number>>;

/** A linear memory. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** A linear memory that several threads have. */
export interface SharedWasmMemory {
  readonly buffer: SharedArrayBuffer;
}

/** What the core needs of a host's `WebAssembly`; that object itself will do. */
export interface Wasm {
  /** (With `shared`, it is a {@link SharedWasmMemory}.) */
  readonly Memory: new (size: {
    initial: number;
    maximum: number;
    shared?: boolean;
  }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  /** (Of a module and its imports. Hosts' declarations of these differ.) */
  readonly Instance: new (
    module: never,
    imports: never,
  ) => { readonly exports: unknown };
}

/** Bytes of a page of a linear memory. */
export const WASM_PAGE = 65_536;

/** An instance whose memory is imported as `host.memory`. */
export function instantiate(wasm: Wasm, module: object, memory: WasmMemory | SharedWasmMemory): WasmExports {
  const imports = { host: { memory } };
  return new wasm.Instance(module as never, imports as never).exports as WasmExports;
}
