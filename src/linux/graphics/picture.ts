/**
 * What a framebuffer shows, line by line, where its memory is in the dump.
 *
 * Facts: include/uapi/linux/fb.h (`fb_bitfield`: a pixel is a number of its bits in the machine's byte order), include/linux/fb.h (`screen_base`, or
 * `screen_buffer` where it is RAM: the first byte of the memory that begins at `smem_start`).
 */
import { IoSequence, MemtoolError, type Routine, readPartial, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import type { ColourBits, Framebuffer } from "./framebuffer.js";

/** A line of a picture. */
export interface PictureLine {
  /** Four bytes a pixel: red, green, blue, and 255; all of them 0 for a pixel that is not in the dump. */
  readonly pixels: Uint8Array;
  /** How many of its pixels are not in the dump. */
  readonly missing: number;
}

/** Pixels of a line, and lines: larger screens are not believed. */
const MAX_SIDE = 1 << 15;
/** Pixels of a picture: a screen of 8K has 2^25. */
const MAX_PIXELS = 1 << 26;
/** Bytes that are read at once. */
const PIECE = 1 << 20;

/** How pixels lie. @internal */
interface Shape {
  readonly width: number;
  readonly height: number;
  /** Bytes of a pixel. */
  readonly bytes: number;
  readonly lineLength: number;
  /** Bytes from the beginning of its memory to the first pixel that is shown. */
  readonly first: number;
  readonly colours: readonly [ColourBits, ColourBits, ColourBits];
}

/**
 * The lines of what a framebuffer shows, from the top.
 *
 * @throws {MemtoolError} `NO_PICTURE` for a palette, other ways of pixels than packed ones, and numbers that can't be.
 */
export function framebufferLines(kernel: LinuxKernel, framebuffer: Framebuffer): IoSequence<PictureLine> {
  return IoSequence.of(kernel.memory.scheduler, linesRoutine, kernel, framebuffer);
}

function* linesRoutine(
  sink: Sink<PictureLine>,
  kernel: LinuxKernel,
  framebuffer: Framebuffer,
): Routine<void> {
  const shape = shapeOf(framebuffer);
  const { width, height, bytes, lineLength, first } = shape;
  const lines = Math.max(1, Math.floor(PIECE / lineLength));
  for (let y = 0; y < height; y += lines) {
    const count = Math.min(lines, height - y);
    const length = (count - 1) * lineLength + width * bytes;
    const memory = yield* bytesOf(kernel, framebuffer, first + y * lineLength, length);
    for (let i = 0; i < count; i++)
      yield sink.emit(lineOf(memory, i * lineLength, shape, kernel.memory.littleEndian));
  }
}

interface Memory {
  readonly bytes: Uint8Array;
  /** 1 for each byte that is there. */
  readonly good: Uint8Array;
}

/** By the kernel's mapping, else by physical addresses. */
function* bytesOf(
  kernel: LinuxKernel,
  { virtual = 0n, physical = 0n }: Framebuffer,
  at: number,
  length: number,
): Routine<Memory> {
  const bytes = new Uint8Array(length);
  const good = new Uint8Array(length);
  if (virtual !== 0n) {
    const found = yield* kernel.memory.readPartial(BigInt.asUintN(64, virtual + BigInt(at)), length);
    bytes.set(found.bytes);
    good.fill(1);
    for (const { start, end } of found.holes) good.fill(0, start, end);
    if (found.holes.length === 0) return { bytes, good };
  }
  const start = Number(physical) + at;
  if (physical === 0n || !Number.isSafeInteger(start + length)) return { bytes, good };
  const target = new Uint8Array(length);
  const found = yield* readPartial(kernel.memory.physical, start, target);
  for (const part of found.good) {
    for (let i = part.start; i < part.end; i++) {
      if (good[i] === 1) continue;
      bytes[i] = target[i] as number;
      good[i] = 1;
    }
  }
  return { bytes, good };
}

function lineOf({ bytes, good }: Memory, from: number, shape: Shape, littleEndian: boolean): PictureLine {
  const { width, bytes: size, colours } = shape;
  const pixels = new Uint8Array(width * 4);
  let missing = 0;
  for (let x = 0; x < width; x++) {
    const at = from + x * size;
    let value = 0;
    let isThere = true;
    for (let i = 0; i < size; i++) {
      if (good[at + i] !== 1) isThere = false;
      value = value * 256 + (bytes[littleEndian ? at + size - 1 - i : at + i] as number);
    }
    if (!isThere) {
      missing++;
      continue;
    }
    for (let i = 0; i < 3; i++) pixels[4 * x + i] = level(value, colours[i] as ColourBits);
    pixels[4 * x + 3] = 255;
  }
  return { pixels, missing };
}

/** A colour of a pixel, from 0 to 255. */
function level(value: number, { offset, length }: ColourBits): number {
  if (length === 0) return 0;
  const most = 2 ** length - 1;
  return Math.round(((Math.floor(value / 2 ** offset) % 2 ** length) * 255) / most);
}

function shapeOf(framebuffer: Framebuffer): Shape {
  const { number, width, height, left, top, bitsPerPixel, lineLength, visual, layout, size } = framebuffer;
  const { red, green, blue } = framebuffer;
  const fail = (why: string) => new MemtoolError("NO_PICTURE", `framebuffer ${number}: ${why}`);
  if (width === undefined || height === undefined || left === undefined || top === undefined) {
    throw fail("its size can't be read");
  }
  if (bitsPerPixel === undefined || lineLength === undefined || size === undefined) {
    throw fail("how its pixels lie can't be read");
  }
  if (red === undefined || green === undefined || blue === undefined) throw fail("its colours can't be read");
  if (layout !== "packed")
    throw fail(`its pixels are not packed (type ${layout ?? "?"}), which is not drawn`);
  if (visual !== "truecolor" && visual !== "directcolor") {
    throw fail(`its pixels are no colours (${visual ?? "?"}), which is not drawn`);
  }
  const bytes = bitsPerPixel / 8;
  if (![1, 2, 3, 4].includes(bytes)) throw fail(`${bitsPerPixel} bits of a pixel are not drawn`);
  const colours = [red, green, blue] as const;
  for (const { offset, length } of colours) {
    if (offset + length > bitsPerPixel) throw fail("its colours have more bits than its pixels");
  }
  const isSane =
    width > 0 && height > 0 && Math.max(width, height) <= MAX_SIDE && width * height <= MAX_PIXELS;
  if (!isSane) throw fail(`${width} by ${height} pixels can't be`);
  if (lineLength < (left + width) * bytes) throw fail(`lines of ${lineLength} bytes are too short`);
  const first = top * lineLength + left * bytes;
  if (first + (height - 1) * lineLength + width * bytes > Number(size)) {
    throw fail(`its picture is larger than its memory of ${size} bytes`);
  }
  return { width, height, bytes, lineLength, first, colours };
}
