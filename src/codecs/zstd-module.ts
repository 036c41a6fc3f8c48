/**
 * Zstandard by facebook's own library, as the package `@bokuweb/zstd-wasm` compiles it to WebAssembly. Whoever uses it
 * brings the compiled module: in Node that is `connectors/zstd.ts`.
 *
 * Not the package's own JavaScript: its start-up is asynchronous, while decoders are called synchronously; it allocates
 * by the size that a frame claims; and it makes a context for each call.
 */
import type { Wasm } from "../wasm/platform.js";
import { CodecError } from "./errors.js";
import { checkZstdFrame } from "./zstd-frame.js";

const CODEC = "zstd";

/** What the module exports, of its version 0.0.27 (dist/common/zstd.js has the names: emscripten shortened them). */
interface Exports {
  /** Linear memory. */
  readonly f: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  /** Constructors, to be called first. */
  g(): void;
  /** ZSTD_compressBound */
  i(size: number): number;
  /** ZSTD_createCCtx */
  j(): number;
  /** ZSTD_compress_usingDict(context, to, room, from, length, dictionary, its length, level) */
  l(
    context: number,
    to: number,
    room: number,
    from: number,
    length: number,
    dictionary: number,
    dictionaryLength: number,
    level: number,
  ): number;
  /** ZSTD_createDCtx */
  n(): number;
  /** ZSTD_decompress_usingDict(context, to, room, from, length, dictionary, its length) */
  q(
    context: number,
    to: number,
    room: number,
    from: number,
    length: number,
    dictionary: number,
    dictionaryLength: number,
  ): number;
  /** malloc */
  s(size: number): number;
  /** free */
  t(address: number): void;
}

/** Bytes of a block, compressed or not, at most: far more than any dump's. */
export const ZSTD_MAX_BYTES = 16 * 2 ** 20;
/** The linear memory begins with 16.1 MiB, of which what is unused costs nothing, and becomes no larger than this. */
const MEMORY_LIMIT = 128 * 2 ** 20;
const WASM_PAGE = 65_536;

// Error numbers of zstd_errors.h; functions return them negated.
const CHECKSUM_WRONG = 22;
const DST_SIZE_TOO_SMALL = 70;
const SRC_SIZE_WRONG = 72;

/** One instance of the library, with its memory. */
class Instance {
  readonly exports: Exports;
  #heap: Uint8Array;
  #decompressing = 0;
  #compressing = 0;
  #input = 0;
  #inputRoom = 0;
  #output = 0;
  #outputRoom = 0;

  constructor(wasm: Wasm, module: object) {
    const stop = () => {
      throw new CodecError("BAD_CODE", CODEC, "the library gave up");
    };
    const grow = (bytes: number): number => {
      const { f: memory } = this.exports;
      if (bytes >>> 0 > MEMORY_LIMIT) return 0;
      try {
        memory.grow(Math.ceil(((bytes >>> 0) - memory.buffer.byteLength) / WASM_PAGE));
        return 1;
      } catch {
        return 0;
      }
    };
    // What emscripten's runtime imports: _proc_exit, _emscripten_runtime_keepalive_clear, __abort_js, _setitimer_js,
    // emscripten_resize_heap.
    const imports = { a: { a: stop, b: () => {}, c: stop, d: () => 0, e: grow } };
    this.exports = new wasm.Instance(module as never, imports as never).exports as Exports;
    this.exports.g();
    this.#heap = new Uint8Array(this.exports.f.buffer);
  }

  /** The memory; of another buffer after it has grown. */
  #memory(): Uint8Array {
    const { buffer } = this.exports.f;
    if (this.#heap.buffer !== buffer) this.#heap = new Uint8Array(buffer);
    return this.#heap;
  }

  #put(input: Uint8Array, outputRoom: number): void {
    const { exports } = this;
    if (input.length > this.#inputRoom) {
      if (this.#input !== 0) exports.t(this.#input);
      this.#inputRoom = 0;
      this.#input = needed(exports.s(input.length));
      this.#inputRoom = input.length;
    }
    if (outputRoom > this.#outputRoom) {
      if (this.#output !== 0) exports.t(this.#output);
      this.#outputRoom = 0;
      this.#output = needed(exports.s(outputRoom));
      this.#outputRoom = outputRoom;
    }
    this.#memory().set(input, this.#input);
  }

  /** @returns bytes written, or an error's number negated. */
  decompress(input: Uint8Array, outputLength: number): number {
    this.#put(input, outputLength);
    this.#decompressing ||= needed(this.exports.n());
    return this.exports.q(this.#decompressing, this.#output, outputLength, this.#input, input.length, 0, 0);
  }

  /** @returns bytes written, or an error's number negated. */
  compress(input: Uint8Array, level: number): number {
    const room = this.exports.i(input.length);
    this.#put(input, room);
    this.#compressing ||= needed(this.exports.j());
    return this.exports.l(this.#compressing, this.#output, room, this.#input, input.length, 0, 0, level);
  }

  /** A copy of what was written. */
  take(length: number): Uint8Array {
    return this.#memory().slice(this.#output, this.#output + length);
  }
}

function needed(address: number): number {
  if (address === 0) throw new CodecError("UNSUPPORTED_CODE", CODEC, "there is no memory for it");
  return address;
}

/** See the module's comment. */
export class ZstdModule {
  readonly #wasm: Wasm;
  readonly #module: object;
  #instance: Instance | undefined;

  /** @param module `dist/common/zstd.wasm` of `@bokuweb/zstd-wasm` 0.0.27, compiled. */
  constructor(wasm: Wasm, module: object) {
    this.#wasm = wasm;
    this.#module = module;
  }

  /** Runs it; an instance that stopped in the midst of something is of no use any more. */
  #run<T>(work: (instance: Instance) => T): T {
    const instance = this.#instance ?? new Instance(this.#wasm, this.#module);
    this.#instance = undefined;
    const result = work(instance);
    this.#instance = instance;
    return result;
  }

  /**
   * Decompresses one frame.
   *
   * @param input        The whole frame and nothing behind it.
   * @param outputLength Bytes that it must decompress to: there is room for so many, whatever the frame claims.
   * @returns            A fresh array of just that length.
   * @throws {CodecError} for a frame that is cut, damaged, needs a dictionary, or decompresses to another length; and for
   *                     one of more than 16 MiB.
   */
  decompress(input: Uint8Array, outputLength: number): Uint8Array {
    checkZstdFrame(input, outputLength);
    checkSizes(input.length, outputLength);
    const { result, output } = this.#run((instance) => {
      const result = instance.decompress(input, outputLength);
      return { result, output: result === outputLength ? instance.take(result) : undefined };
    });
    if (output === undefined) throw refusal(result, outputLength);
    return output;
  }

  /**
   * Compresses one block to a frame that says how long its content is.
   *
   * @param level 1 (fast) to 19. @returns A fresh array, which may be longer than the block.
   * @throws {CodecError} for more than 16 MiB.
   */
  compress(input: Uint8Array, level: number): Uint8Array {
    checkSizes(input.length, 0);
    return this.#run((instance) => {
      const result = instance.compress(input, level);
      // Its room is what the library asks for, so this is no fault of the input.
      if (result <= 0) throw new CodecError("UNSUPPORTED_CODE", CODEC, `error ${-result} while compressing`);
      return instance.take(result);
    });
  }
}

/** Why a frame did not decompress to `outputLength` bytes. @param result Bytes that it did, or an error's number negated. */
function refusal(result: number, outputLength: number): CodecError {
  if (result >= 0) {
    return new CodecError(
      "OUTPUT_TOO_SHORT",
      CODEC,
      `decompresses to ${result} bytes, not to ${outputLength}`,
    );
  }
  if (result === -DST_SIZE_TOO_SMALL) {
    return new CodecError("OUTPUT_TOO_LONG", CODEC, `decompresses to more than ${outputLength} bytes`);
  }
  if (result === -SRC_SIZE_WRONG) {
    return new CodecError("CODE_TRUNCATED", CODEC, "is cut, or has bytes behind its end");
  }
  if (result === -CHECKSUM_WRONG) {
    return new CodecError("BAD_CODE", CODEC, "the content has another checksum than the frame says");
  }
  return new CodecError("BAD_CODE", CODEC, `does not decompress (the library's error ${-result})`);
}

/** @throws {CodecError} for blocks that no dump has. */
function checkSizes(inputLength: number, outputLength: number): void {
  if (inputLength > ZSTD_MAX_BYTES || outputLength > ZSTD_MAX_BYTES) {
    const size = Math.max(inputLength, outputLength);
    throw new CodecError("UNSUPPORTED_CODE", CODEC, `a block of ${size} bytes is more than 16 MiB`);
  }
}
