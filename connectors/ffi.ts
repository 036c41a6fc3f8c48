/** C functions through the optional package `ffi-rs`, which is loaded when it is asked for (13 to 80 ms). */
import { createRequire } from "node:module";
import { ConnectorError, errnoName } from "./errors.js";

/** What is used of `ffi-rs`. */
export interface Ffi {
  open(library: { library: string; path: string }): void;
  load(call: FfiCall): unknown;
  createExternalBuffer(external: never, length: number): Uint8Array;
  readonly DataType: Readonly<
    Record<"Void" | "I32" | "I64" | "U64" | "U8Array" | "String" | "External" | "BigInt", number>
  >;
}

/** A call of a C function. */
export interface FfiCall {
  readonly library: string;
  readonly funcName: string;
  readonly retType: number;
  readonly paramsType: number[];
  readonly paramsValue: unknown[];
  /** The result is then `{ value, errnoCode, errnoMessage }`. */
  readonly errno?: true;
  /** The result is then a promise. What is passed must be kept alive until it settles. */
  readonly runInNewThread?: boolean;
}

/** `ffi-rs` calls a library by a name that the caller chooses; this is the C library that Node itself uses. */
export const LIBC = "memtool:libc";

/** The version of `ffi-rs` that is tested, for what messages say to install. */
export const FFI_PACKAGE = "ffi-rs@1.3.7";

/**
 * Loads `ffi-rs`, and the C library as {@link LIBC} (not on Windows).
 *
 * @param load Gets the package; for tests.
 * @throws whatever it is that went wrong: see {@link noFfi}.
 */
export async function loadFfi(load: () => Promise<unknown> = () => import("ffi-rs")): Promise<Ffi> {
  return ready((await load()) as Ffi & { readonly default?: Ffi });
}

/**
 * The same for those who can't wait: a transfer that is to be over when it returns.
 *
 * @throws whatever it is that went wrong.
 */
export function loadFfiNow(load: () => unknown = () => createRequire(import.meta.url)("ffi-rs")): Ffi {
  return ready(load() as Ffi & { readonly default?: Ffi });
}

function ready(module: Ffi & { readonly default?: Ffi }): Ffi {
  const ffi = module.default ?? module;
  if (process.platform !== "win32") ffi.open({ library: LIBC, path: "" });
  return ffi;
}

/**
 * What to throw where `loadFfi` failed.
 *
 * @param what    That needs it: "mapping a file".
 * @param instead What to do without it; begins the rest of the sentence behind ", or ".
 */
export function noFfi(
  target: string,
  what: string,
  instead: string | undefined,
  cause: unknown,
): ConnectorError {
  const missing = ["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes(errnoName(cause) ?? "");
  return new ConnectorError(
    "NO_FFI",
    target,
    `${what} needs the package ffi-rs, which ${missing ? "is not installed" : "could not be loaded"}: ` +
      `npm install ${FFI_PACKAGE}${instead === undefined ? "" : `, or ${instead}`}`,
    { cause },
  );
}

/** Where a piece of memory lies. It stays there while it is referenced. */
export function addressOf(ffi: Ffi, bytes: Uint8Array): bigint {
  const { U8Array, BigInt: Pointer } = ffi.DataType;
  return BigInt.asUintN(64, givenBack(ffi, bytes, U8Array, Pointer) as bigint);
}

/**
 * Foreign memory as bytes: no copy (except under Electron, which copies).
 *
 * @param length Up to 4 GiB.
 */
export function bytesAt(ffi: Ffi, address: bigint, length: number): Uint8Array {
  const { BigInt: Pointer, External } = ffi.DataType;
  const external = givenBack(ffi, BigInt.asIntN(64, address), Pointer, External);
  const buffer = ffi.createExternalBuffer(external as never, length);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

/** A pointer of one form in another: by a function of C's that gives back its first argument, and does nothing else. */
function givenBack(ffi: Ffi, pointer: unknown, from: number, to: number): unknown {
  return ffi.load({
    library: LIBC,
    funcName: "memmove",
    retType: to,
    paramsType: [from, from, ffi.DataType.I64],
    paramsValue: [pointer, pointer, 0],
  });
}
