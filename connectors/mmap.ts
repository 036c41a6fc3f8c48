/** mmap(2) and munmap(2) through the optional package `ffi-rs`, which is loaded when it is asked for. */
import { ConnectorError } from "./errors.js";
import { addressOf, bytesAt, type Ffi, LIBC, loadFfi, noFfi } from "./ffi.js";

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

/** The same numbers on Linux (asm-generic/mman-common.h, mman.h) and macOS (sys/mman.h). */
const PROT_READ = 1;
/**
 * Of the two kinds of mapping the one that is sure to show what is written to the file later (mmap(2) leaves that open
 * for `MAP_PRIVATE`). Read-only pages cost the same memory either way: the page cache's own.
 */
const MAP_SHARED = 1;
const MAP_FAILED = -1n;

/**
 * Loads `ffi-rs`.
 *
 * @param target For messages, as `ConnectorError` has it.
 * @param load Gets the package; for tests.
 * @throws {ConnectorError} `NO_MMAP` where there is no mmap(2); `NO_FFI` where the package is missing.
 */
export async function loadMapper(
  target: string,
  load?: () => Promise<unknown>,
  platform: string = process.platform,
): Promise<Mapper> {
  if (platform === "win32") {
    throw new ConnectorError(
      "NO_MMAP",
      target,
      "files can't be mapped on Windows yet: leave out the option map, and it is read with positioned reads",
    );
  }
  try {
    return new FfiMapper(await loadFfi(load));
  } catch (cause) {
    throw noFfi(
      target,
      "mapping a file",
      "leave out the option map, and it is read with positioned reads",
      cause,
    );
  }
}

class FfiMapper implements Mapper {
  readonly #ffi: Ffi;

  constructor(ffi: Ffi) {
    this.#ffi = ffi;
  }

  try(fd: number): void {
    const { address, bytes, unmap } = this.#map(fd, 0, 1);
    const isCopy = addressOf(this.#ffi, bytes) !== BigInt.asUintN(64, address);
    unmap();
    if (isCopy) throw new MapError(0, "this runtime copies foreign memory");
  }

  map(fd: number, offset: number, length: number): MappedBytes {
    return this.#map(fd, offset, length);
  }

  #map(fd: number, offset: number, length: number): MappedBytes & { readonly address: bigint } {
    const { I32, I64, BigInt: Pointer } = this.#ffi.DataType;
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
    const bytes = bytesAt(this.#ffi, address, length);
    return { address, bytes, unmap };
  }
}
