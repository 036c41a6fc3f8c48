/** Files of modules with thousands of sections in thousands of pieces, against a slow and obvious model. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { moduleFile, sectionsOf } from "../../../src/linux/modules/module-elf.js";
import type { ModuleHole, ModuleRun } from "../../../src/linux/modules/module-memory.js";

const BASE = 0xffff_ffff_c000_0000n;
const UNIT = 16;

/** Memory of a module, a letter for 16 bytes: "." is missing, "w" and "r" are there, with other rights. */
function memoryOf(letters: string): { runs: ModuleRun[]; holes: ModuleHole[] } {
  const runs: ModuleRun[] = [];
  const holes: ModuleHole[] = [];
  for (const { 0: all, index } of letters.matchAll(/\.+|w+|r+/g)) {
    const start = BASE + BigInt(index * UNIT);
    const end = start + BigInt(all.length * UNIT);
    if (all.startsWith(".")) holes.push({ start, end, why: "excluded" });
    else {
      const bytes = new Uint8Array(all.length * UNIT).fill(index + 1);
      runs.push({ address: start, bytes, writable: all.startsWith("w"), executable: false });
    }
  }
  return { runs, holes };
}

const part = (letters: string) => [{ address: BASE, size: letters.length * UNIT }];
const placesOf = (starts: readonly number[]) =>
  starts.map((start, i) => ({ name: `.s${i}`, address: BASE + BigInt(start) }));

/** Pieces of sections as the file's headers have them. */
function headersOf(sections: ReturnType<typeof sectionsOf>, runs: readonly ModuleRun[]) {
  const { size, pieces } = moduleFile({
    sections,
    runs,
    symbols: [],
    pointerSize: 8,
    littleEndian: true,
    architecture: "x86_64",
  });
  const bytes = new Uint8Array(size);
  for (const piece of pieces) bytes.set(piece.bytes, piece.offset);
  const view = new DataView(bytes.buffer);
  const table = Number(view.getBigUint64(40, true));
  return Array.from({ length: view.getUint16(60, true) }, (_, i) => {
    const at = table + 64 * i;
    const [offset, length] = [24, 32].map((more) => Number(view.getBigUint64(at + more, true))) as [
      number,
      number,
    ];
    const isThere = view.getUint32(at + 4, true) === 1;
    return {
      address: view.getBigUint64(at + 16, true),
      size: length,
      bytes: isThere ? bytes.slice(offset, offset + length) : undefined,
    };
  }).slice(1, -3);
}

test("each section is told, and in the file, as its bytes are there or not", () => {
  const letters = fc.array(fc.constantFrom(".", "..", "w", "r", "rr"), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(
      letters.map((each) => each.join("")),
      fc.array(fc.nat(200), { minLength: 1, maxLength: 8 }),
      (text, starts) => {
        const { runs, holes } = memoryOf(text);
        const inside = starts.filter((start) => start < text.length * UNIT);
        fc.pre(inside.length > 0);
        const sections = sectionsOf(placesOf(inside), part(text), [], holes);
        const there = (address: bigint) =>
          text[Number(address - BASE) / UNIT - (Number(address - BASE) % UNIT) / UNIT];
        for (const { address, size, state } of sections) {
          const all = Array.from({ length: size }, (_, i) => there(address + BigInt(i)) !== ".");
          const one = holes.some(({ start, end }) => start <= address && end >= address + BigInt(size));
          expect(state).toBe(all.every(Boolean) ? "present" : one ? "missing" : "partial");
        }
        // Every byte of every section is in a header of its own, once, and has the memory's bytes where it has any.
        const headers = headersOf(sections, runs);
        expect(headers.reduce((sum, { size }) => sum + size, 0)).toBe(
          sections.reduce((sum, { size }) => sum + size, 0),
        );
        for (const { address, size, bytes } of headers) {
          for (let i = 0; i < size; i++) {
            const at = address + BigInt(i);
            const run = runs.find(
              (each) => each.address <= at && at < each.address + BigInt(each.bytes.length),
            );
            expect(bytes?.[i]).toBe(run?.bytes[0]);
          }
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("thousands of sections in a module of thousands of pieces are looked for by halves", () => {
  const text = "w.".repeat(30_000);
  const { runs, holes } = memoryOf(text);
  let looks = 0;
  const counted = <T extends object, K extends keyof T>(each: T, key: K): T => {
    const value = each[key];
    return Object.defineProperty(each, key, {
      get: () => {
        looks++;
        return value;
      },
    });
  };
  for (const each of holes) counted(each, "end");
  for (const each of runs) counted(each, "address");
  const places = placesOf(Array.from({ length: 8000 }, (_, i) => i * UNIT));
  const sections = sectionsOf(places, part(text), [], holes);
  const headers = headersOf(sections, runs);
  expect(headers.filter(({ bytes }) => bytes !== undefined)).toHaveLength(4000 + 26_000);
  expect(looks).toBeLessThan(1_000_000);
});
