/**
 * Blocks of snappy with every element that there is (compressors leave some out), what they decompress to, and streams of
 * chunks. Written from google/snappy's format_description.txt and framing_format.txt, on its own: it shares nothing with
 * the decompressor.
 */
import fc from "fast-check";
import type { Written } from "./write-lzo1x.js";

interface Element {
  readonly form: number;
  readonly distance: number;
  readonly length: number;
  readonly seed: number;
}

/** The length before a block. */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push(128 + (left % 128));
  bytes.push(left);
  return bytes;
}

const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);

function write(elements: readonly Element[]): Written {
  const out: number[] = [];
  const text: number[] = [];
  for (const { form, distance, length, seed } of elements) {
    const kind = text.length === 0 ? 0 : form % 4;
    if (kind === 0) {
      const count = 1 + (length % 2000);
      // In as many bytes as it takes, or in more.
      const least = count <= 60 ? 0 : count <= 256 ? 1 : 2;
      const bytes = least + (seed % (5 - least));
      if (bytes === 0) out.push((count - 1) << 2);
      else out.push((59 + bytes) << 2, ...little(count - 1, bytes));
      for (let i = 0; i < count; i++) {
        out.push((seed * 3 + i * 57) & 255);
        text.push((seed * 3 + i * 57) & 255);
      }
      continue;
    }
    const d = 1 + (distance % Math.min(text.length, [0, 2047, 65_535, text.length][kind] as number));
    const size = kind === 1 ? 4 + (length % 8) : 1 + (length % 64);
    if (kind === 1) out.push(1 | ((size - 4) << 2) | ((d >> 8) << 5), d & 255);
    else out.push(kind | ((size - 1) << 2), ...little(d, kind === 2 ? 2 : 4));
    for (let i = 0; i < size; i++) text.push(text[text.length - d] as number);
  }
  return { compressed: Uint8Array.from([...varint(text.length), ...out]), block: Uint8Array.from(text) };
}

const element = fc.record<Element>({
  form: fc.nat(1000),
  distance: fc.nat(200_000),
  length: fc.oneof(fc.nat(70), fc.nat(100_000)),
  seed: fc.nat(255),
});

/** Short blocks. */
export const shortSnappy = fc.array(element, { maxLength: 10, size: "max" }).map(write);

/** Long blocks, of more than 64 KiB too. */
export const anySnappy = fc.array(element, { maxLength: 200, size: "max" }).map(write);

/** CRC-32C, bit by bit (RFC 3720, B.4), as chunks mask it. */
export function maskedSum(bytes: Uint8Array): number {
  let sum = 0xffffffffn;
  for (const byte of bytes) {
    sum ^= BigInt(byte);
    for (let i = 0; i < 8; i++) sum = sum & 1n ? (sum >> 1n) ^ 0x82f63b78n : sum >> 1n;
  }
  sum ^= 0xffffffffn;
  return Number(BigInt.asUintN(32, ((sum >> 15n) | (sum << 17n)) + 0xa282ead8n));
}

/** A chunk: its type, its length, its body. */
export function writeChunk(type: number, body: readonly number[] | Uint8Array): Uint8Array {
  return Uint8Array.from([type, ...little(body.length, 3), ...body]);
}

/** A chunk with data; `compressed` is what it compresses to. */
export function writeDataChunk(data: Uint8Array, compressed?: Uint8Array): Uint8Array {
  const body = [...little(maskedSum(data), 4), ...(compressed ?? data)];
  return writeChunk(compressed === undefined ? 1 : 0, body);
}
