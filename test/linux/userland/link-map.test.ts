import { describe, expect, it } from "vitest";
import type { Damage } from "../../../src/linux/index.js";
import { readElfImage } from "../../../src/linux/userland/elf-image.js";
import { type LinkEntry, readLinkList } from "../../../src/linux/userland/link-map.js";
import type { ProcessImage, ProcessSpace } from "../../../src/linux/userland/process-images.js";
import { PieceSource, runNow, type WrittenElf, writeUserElf } from "../../support/write-user-elf.js";

const PROGRAM = 0x5500_0000_0000n;
const LINKER = 0x7f00_0000_0000n;
const HEAP = 0x6000_0000_0000n;
const DEBUG = HEAP;

interface Entry {
  readonly at: number;
  readonly bias?: bigint;
  readonly name?: string;
  readonly next?: number;
  readonly previous?: number;
}

/** A process whose linker's list is on a page of its heap. */
function listOf(
  entries: readonly Entry[],
  {
    debug = DEBUG,
    version = 1,
    next = 0n,
    linker,
  }: { debug?: bigint; version?: number; next?: bigint; linker?: WrittenElf } = {},
): { entries: readonly LinkEntry[]; origin: string | undefined; damage: Damage[] } {
  const heap = new Uint8Array(0x8000);
  const view = new DataView(heap.buffer);
  view.setUint32(0, version, true);
  view.setBigUint64(8, HEAP + BigInt(entries[0]?.at ?? 0), true);
  view.setBigUint64(40, next, true);
  const pointer = (at: number | undefined) => (at === undefined ? 0n : HEAP + BigInt(at));
  for (const { at, bias = 0n, name, next: to, previous } of entries) {
    const nameAt = at + 0x40;
    [
      bias,
      pointer(name === undefined ? undefined : nameAt),
      bias + 0x400n,
      pointer(to),
      pointer(previous),
    ].forEach((value, i) => {
      view.setBigUint64(at + 8 * i, value, true);
    });
    if (name !== undefined) heap.set(new TextEncoder().encode(`${name}\0`), nameAt);
  }
  const written = writeUserElf({ interpreter: "/lib/ld.so", debug });
  const pieces = [
    { at: PROGRAM, bytes: written.bytes },
    { at: HEAP, bytes: heap },
  ];
  if (linker !== undefined) pieces.push({ at: LINKER, bytes: writeUserElf(linker).bytes });
  const source = new PieceSource(...pieces);
  const damage: Damage[] = [];
  const report = (each: Damage) => void damage.push(each);
  const images = [PROGRAM, LINKER].flatMap((base): ProcessImage[] => {
    const image = runNow(readElfImage(source, base, "of a test", report));
    if (image === undefined) return [];
    return [
      {
        image,
        how: "mapping",
        kind: base === PROGRAM ? "program" : "interpreter",
        path: undefined,
        executable: true,
      },
    ];
  });
  const space = {
    source,
    auxv: { values: new Map() },
    ranges: [],
    task: { tgid: 7 },
  } as unknown as ProcessSpace;
  return { ...runNow(readLinkList(space, images, report)), damage };
}

const THREE: readonly Entry[] = [
  { at: 0x100, bias: PROGRAM, name: "", next: 0x200 },
  { at: 0x200, bias: LINKER, name: "/lib/\x1b[2Jld.so", next: 0x300, previous: 0x100 },
  { at: 0x300, bias: 0x7000n, previous: 0x200 },
];

describe("the list of a dynamic linker", () => {
  it("is followed from DT_DEBUG, names as they are", () => {
    const { entries, origin, damage } = listOf(THREE);
    expect(entries.map(({ bias, name, namespace }) => [bias, name, namespace])).toEqual([
      [PROGRAM, "", 0],
      [LINKER, "/lib/\x1b[2Jld.so", 0],
      [0x7000n, "", 0],
    ]);
    expect([origin, damage]).toEqual(["DT_DEBUG", []]);
  });

  it("that comes back to itself ends there, and says so", () => {
    const [first, second, third] = THREE as [Entry, Entry, Entry];
    const { entries, damage } = listOf([first, second, { ...third, next: 0x200 }]);
    expect(entries.length).toBe(3);
    expect(damage.map(({ reason }) => reason)).toEqual(["loop"]);
  });

  it("whose entry was unlinked one way only is told", () => {
    const [first, , third] = THREE as [Entry, Entry, Entry];
    const { entries, damage } = listOf([{ ...first, next: 0x300 }, third]);
    expect(entries.length).toBe(2);
    expect(damage.map(({ message }) => message)).toEqual([
      "the linker's list of process 7 at 0x600000000300: mismatch: l_prev is 0x600000000200, and it comes from 0x600000000100",
    ]);
  });

  it("that leads to where nothing is gives what comes before", () => {
    const [first] = THREE as [Entry];
    const { entries, damage } = listOf([{ ...first, next: 0x10_0000 }]);
    expect(entries.length).toBe(1);
    expect(damage.map(({ reason }) => reason)).toEqual(["unreadable"]);
  });

  it("of a second namespace comes behind the first one's, and namespaces that loop end", () => {
    const { entries, damage } = listOf(THREE, { version: 2, next: HEAP });
    expect(entries.length).toBe(3);
    expect(damage.map(({ reason }) => reason)).toEqual(["loop"]);
  });

  it.each([0n, 0x1234n])("is found by the linker's own _r_debug where DT_DEBUG is %i", (debug) => {
    const symbols = [{ name: "_r_debug", value: 0, size: 40 }];
    // As linked at an address from which the symbol's value leads to the heap.
    const linker = {
      symbols: [{ ...symbols[0], name: "_r_debug", value: Number(HEAP) - Number(LINKER), size: 40 }],
    };
    const { entries, origin } = listOf(THREE, { debug, linker: { ...linker, type: 3 } });
    expect([entries.length, origin]).toEqual([3, "_r_debug"]);
  });

  it("is none where neither is there", () => {
    expect(listOf(THREE, { debug: 0n })).toMatchObject({ entries: [], origin: undefined, damage: [] });
  });
});
