/** Damage to a kernel's memory as rootkits, torn dumps and broken RAM leave it: pointers above all. */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { random } from "../../support/bytes.js";

const PAGE = 4096;
/** Words that make code change its mind. */
const WORDS = [
  0n,
  1n,
  0xffff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0xffff_8000_0000_0000n,
  0x7fff_ffff_ffffn,
  0x41n,
];

/** A dump's file that is damaged and mended again. */
export class Damaged {
  readonly #file: number;
  readonly #size: number;
  readonly #undo: { readonly at: number; readonly bytes: Buffer }[] = [];
  #tail: Buffer | undefined;

  constructor(path: string) {
    this.#file = openSync(path, "r+");
    this.#size = fstatSync(this.#file).size;
  }

  /** Damages the file in the way that this seed stands for. @returns the way, for the report. */
  damage(seed: number): string {
    const next = random(seed);
    switch (seed % 4) {
      case 0: {
        const size = Math.floor(this.#size * (0.3 + 0.7 * (next(1000) / 1000)));
        this.#tail = this.#read(size, this.#size - size);
        ftruncateSync(this.#file, size);
        return `cut at ${size}`;
      }
      case 1: {
        const count = 1 << next(8);
        for (let i = 0; i < count; i++) this.#page(next);
        return `${count} pages of something else`;
      }
      default: {
        const pages = 1 << (6 + next(8));
        for (let i = 0; i < pages; i++) this.#pointers(next);
        return `pointers in ${pages} pages`;
      }
    }
  }

  /** Puts everything back. */
  mend(): void {
    if (this.#tail !== undefined)
      writeSync(this.#file, this.#tail, 0, this.#tail.length, this.#size - this.#tail.length);
    this.#tail = undefined;
    for (const { at, bytes } of this.#undo.splice(0).reverse())
      writeSync(this.#file, bytes, 0, bytes.length, at);
  }

  close(): void {
    closeSync(this.#file);
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    const read = readSync(this.#file, bytes, 0, length, at);
    return bytes.subarray(0, read);
  }

  #write(at: number, bytes: Buffer): void {
    this.#undo.push({ at, bytes: this.#read(at, bytes.length) });
    writeSync(this.#file, bytes, 0, bytes.length, at);
  }

  /** A page is zeros, noise, or another page. (The headers, in the first, stay: formats have a fuzzer of their own.) */
  #page(next: (below: number) => number): void {
    const pages = Math.floor(this.#size / PAGE);
    const kind = next(3);
    const bytes =
      kind === 0
        ? Buffer.alloc(PAGE)
        : kind === 1
          ? Buffer.from(Uint8Array.from({ length: PAGE }, () => next(256)))
          : this.#read(next(pages) * PAGE, PAGE);
    this.#write((1 + next(pages - 1)) * PAGE, bytes);
  }

  /** Pointers of a page lead elsewhere: to each other, to themselves' beginnings, to nowhere. */
  #pointers(next: (below: number) => number): void {
    const page = this.#read((1 + next(Math.floor(this.#size / PAGE) - 1)) * PAGE, PAGE);
    const at = (1 + next(Math.floor(this.#size / PAGE) - 1)) * PAGE;
    const bytes = this.#read(at, PAGE);
    const places: number[] = [];
    for (let word = 0; word + 8 <= bytes.length; word += 8) {
      if (bytes.readUInt16LE(word + 6) === 0xffff || next(64) === 0) places.push(word);
    }
    if (places.length === 0) return;
    for (let i = 0; i <= next(4); i++) {
      const word = places[next(places.length)] as number;
      const other = places[next(places.length)] as number;
      const value = [
        () => bytes.readBigUInt64LE(other),
        () => bytes.readBigUInt64LE(word) ^ (1n << BigInt(next(48))),
        () => WORDS[next(WORDS.length)] as bigint,
        () => page.readBigUInt64LE(8 * next(PAGE / 8)),
        () => BigInt.asUintN(64, bytes.readBigUInt64LE(word) + BigInt(8 * (next(64) - 32))),
      ][next(5)] as () => bigint;
      bytes.writeBigUInt64LE(BigInt.asUintN(64, value()), word);
    }
    this.#write(at, bytes);
  }
}
