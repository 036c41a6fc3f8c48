/** mmap(2) and munmap(2) through the optional package `ffi-rs`, which is loaded when it is asked for. */
import { ConnectorError, errnoName } from "./errors.js";

/** A part of a file that lies in this program's memory. */
export interface MappedBytes {
  /** Not to be touched after `unmap`: that would end the program. */
  readonly bytes: Uint8Array;
  unmap(): void;
}

/** Maps parts of files. */
export interface Mapper {
  /**
   * Tries it on the first byte.
   *
   * @throws {MapError} if the file can't be mapped, or this runtime copies foreign memory (Electron does) instead of
   * showing it, which would bring whole windows into memory.
   */
  try(fd: number): void;
  /** @param offset In the file, a multiple of 64 KiB. @throws {MapError} */
  map(fd: number, offset: number, length: number): MappedBytes;
}

/** A part that could not be mapped. */
export class MapError extends Error {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }
}

/** What is used of `ffi-rs`. */
export interface Ffi {
  open(library: { library: string; path: string }): void;
  load(call: FfiCall): unknown;
  createExternalBuffer(external: never, length: number): Uint8Array;
  readonly DataType: Readonly<Record<"I32" | "I64" | "U8Array" | "External" | "BigInt", number>>;
}

/** A call of a C function. */
export interface FfiCall {
  readonly library: string;
  readonly funcName: string;
  readonly retType: number;
  readonly paramsType: number[];
  readonly paramsValue: unknown[];
  readonly errno?: true;
}

/** The same numbers on Linux (asm-generic/mman-common.h, mman.h) and macOS (sys/mman.h). */
const PROT_READ = 1;
/**
 * Of the two kinds of mapping the one that is sure to show what is written to the file later (mmap(2) leaves that open
 * for `MAP_PRIVATE`). Read-only pages cost the same memory either way: the page cache's own.
 */
const MAP_SHARED = 1;
const MAP_FAILED = -1n;

/** `ffi-rs` calls a library by a name that the caller chooses; this is the C library that Node itself uses. */
const LIBC = "memtool:libc";

/**
 * Loads `ffi-rs`.
 *
 * @param target For messages, as `ConnectorError` has it.
 * @param load Gets the package; for tests.
 * @throws {ConnectorError} `NO_MMAP` where there is no mmap(2); `NO_FFI` where the package is missing.
 */
export async function loadMapper(
  target: string,
  load: () => Promise<unknown> = () => import("ffi-rs"),
  platform: string = process.platform,
): Promise<Mapper> {
  if (platform === "win32") {
    throw new ConnectorError(
      "NO_MMAP",
      target,
      "files can't be mapped on Windows yet: leave out the option map, and it is read with positioned reads",
    );
  }
  let ffi: Ffi;
  try {
    const module = (await load()) as Ffi & { readonly default?: Ffi };
    ffi = module.default ?? module;
    ffi.open({ library: LIBC, path: "" });
  } catch (cause) {
    const missing = ["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes(errnoName(cause) ?? "");
    throw new ConnectorError(
      "NO_FFI",
      target,
      `mapping a file needs the package ffi-rs, which ${missing ? "is not installed" : "could not be loaded"}: ` +
        "npm install ffi-rs@1.3.7, or leave out the option map, and it is read with positioned reads",
      { cause },
    );
  }
  return new FfiMapper(ffi);
}

class FfiMapper implements Mapper {
  readonly #ffi: Ffi;

  constructor(ffi: Ffi) {
    this.#ffi = ffi;
  }

  try(fd: number): void {
    const { address, bytes, unmap } = this.#map(fd, 0, 1);
    const isCopy = this.#addressOf(bytes) !== address;
    unmap();
    if (isCopy) throw new MapError(0, "this runtime copies foreign memory");
  }

  map(fd: number, offset: number, length: number): MappedBytes {
    return this.#map(fd, offset, length);
  }

  #map(fd: number, offset: number, length: number): MappedBytes & { readonly address: bigint } {
    const { I32, I64, BigInt: Pointer, External } = this.#ffi.DataType;
    const { value: address, errnoCode } = this.#ffi.load({
      library: LIBC,
      funcName: "mmap",
      retType: Pointer,
      paramsType: [I64, I64, I32, I32, I32, I64],
      paramsValue: [0, length, PROT_READ, MAP_SHARED, fd, offset],
      errno: true,
    }) as { readonly value: bigint; readonly errnoCode: number };
    if (address === MAP_FAILED) throw new MapError(errnoCode, `errno ${errnoCode}`);
    const unmap = () => {
      this.#ffi.load({
        library: LIBC,
        funcName: "munmap",
        retType: I32,
        paramsType: [Pointer, I64],
        paramsValue: [address, length],
      });
    };
    // The way from a number to the pointer that a buffer is made of: a call that gives back its first argument.
    const external = this.#ffi.load({
      library: LIBC,
      funcName: "memmove",
      retType: External,
      paramsType: [Pointer, Pointer, I64],
      paramsValue: [address, address, 0],
    });
    const buffer = this.#ffi.createExternalBuffer(external as never, length);
    const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
    return { address, bytes, unmap };
  }

  /** Where a piece of memory lies. */
  #addressOf(bytes: Uint8Array): bigint {
    const { U8Array, I64, BigInt: Pointer } = this.#ffi.DataType;
    return this.#ffi.load({
      library: LIBC,
      funcName: "memmove",
      retType: Pointer,
      paramsType: [U8Array, U8Array, I64],
      paramsValue: [bytes, bytes, 0],
    }) as bigint;
  }
}
