/**
 * zlib streams and bare deflate of this thread: by Node, or in JavaScript where the code that asks may be cut off.
 *
 * `breakOnSigint` of `node:vm`, which `memtool repl` needs for its Ctrl-C, can end the code between Node's making a zlib stream and
 * setting it up. The next garbage collection then ends the program ("close before init", src/node_zlib.cc; seen on Node 20). fflate has
 * no such object. It takes twice as long for a page, and checks no Adler-32, so that is checked here.
 */
import { createRequire } from "node:module";
import { deflateRawSync, inflateRawSync, inflateSync } from "node:zlib";

/** What is used of `fflate`, which only a program that may be cut off loads. */
interface Fflate {
  deflateSync(input: Uint8Array, options: { readonly level: 1 }): Uint8Array;
  inflateSync(input: Uint8Array, options: { readonly out: Uint8Array }): Uint8Array;
}

let fflate: Fflate | undefined;

/** From here on, this module's work in this thread may be cut off at any point; other threads work on as before. */
export function allowCuts(): void {
  fflate ??= createRequire(import.meta.url)("fflate") as Fflate;
}

/**
 * A zlib stream's content (RFC 1950).
 *
 * @param most Bytes at most.
 * @throws {Error} if it is damaged, or longer.
 */
export function inflateZlib(input: Uint8Array, most: number): Uint8Array {
  // A chunk that the page does not fill: zlib then sees its end at once, without a second chunk to look for more.
  if (fflate === undefined) return inflateSync(input, { maxOutputLength: most, chunkSize: most + 1 });
  const [method = 0, flags = 0] = input;
  // Deflate, a window of 32 KiB at most, a sound header, no preset dictionary (RFC 1950, section 2.2).
  if (
    (method & 15) !== 8 ||
    method >> 4 > 7 ||
    ((method << 8) | flags) % 31 !== 0 ||
    (flags & 0x20) !== 0 ||
    input.length < 6
  )
    throw new Error("no zlib stream");
  const content = bounded(fflate, input.subarray(2, -4), most);
  const end = input.length - 4;
  const sum = new DataView(input.buffer, input.byteOffset, input.length).getUint32(end);
  if (adler32(content) !== sum) throw new Error("the Adler-32 is wrong");
  return content;
}

/**
 * A bare deflate stream's content (RFC 1951).
 *
 * @param most Bytes at most.
 * @throws {Error} if it is damaged, or longer.
 */
export function inflateRaw(input: Uint8Array, most: number): Uint8Array {
  return fflate === undefined
    ? inflateRawSync(input, { maxOutputLength: Math.max(1, most) })
    : bounded(fflate, input, most);
}

/** As a bare deflate stream, at the fastest level. */
export function deflateRaw(input: Uint8Array): Uint8Array {
  return fflate === undefined ? deflateRawSync(input, { level: 1 }) : fflate.deflateSync(input, { level: 1 });
}

function bounded(library: Fflate, input: Uint8Array, most: number): Uint8Array {
  // (It drops what is beyond the place that it was given: a byte more tells.)
  const content = library.inflateSync(input, { out: new Uint8Array(most + 1) });
  if (content.length > most) throw new Error(`longer than ${most} bytes`);
  return content;
}

/** Adler-32 (RFC 1950, section 8.2). */
function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let start = 0; start < bytes.length; start += ADLER_RUN) {
    const end = Math.min(bytes.length, start + ADLER_RUN);
    for (let at = start; at < end; at++) {
      a += bytes[at] as number;
      b += a;
    }
    a %= ADLER_BASE;
    b %= ADLER_BASE;
  }
  return b * 0x1_0000 + a;
}

const ADLER_BASE = 65_521;
/** Bytes after which the sums are reduced; they stay small integers until then. */
const ADLER_RUN = 2048;
