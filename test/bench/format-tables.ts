/** Page tables of any format that map half a million pages of shuffled frames, each table full. */
import {
  aarch64,
  EPT4,
  type MmuDef,
  type Root,
  SV39,
  SV48,
  SV57,
  X86_32,
  X86_64,
  X86_64_LA57,
  X86_PAE,
} from "../../src/index.js";
import { randomBelow, shuffled } from "./random.js";

/** Pages that are mapped, in a row from `base` on. */
export const FORMAT_PAGES = 2 ** 19;
/** Physical address of the lowest frame. */
const FIRST_FRAME = 2 ** 30;

/** How a format's tables are written here: independently of how they are read. */
interface Writer {
  readonly mmu: MmuDef;
  /** What is mapped begins here. */
  readonly base: bigint;
  /** Index bits of the tables that are written, root first; then the bits of a page. */
  readonly splits: readonly number[];
  /** The root as an address space takes it. */
  readonly root: (address: number) => Root;
  readonly table: (address: number) => bigint;
  readonly page: (address: number) => bigint;
}

const like = (mmu: MmuDef, base: bigint, splits: readonly number[], flags: bigint): Writer => ({
  mmu,
  base,
  splits,
  root: (address) => address,
  table: (address) => BigInt(address) | flags,
  page: (address) => BigInt(address) | flags,
});
const arm = (mmu: MmuDef, base: bigint, splits: readonly number[]): Writer => ({
  ...like(mmu, base, splits, 3n),
  root: (address) => ({ upper: address }),
  page: (address) => BigInt(address) | 0x703n,
});
const riscv = (mmu: MmuDef, base: bigint, splits: readonly number[]): Writer => ({
  ...like(mmu, base, splits, 0n),
  table: (address) => (BigInt(address) >> 2n) | 1n,
  page: (address) => (BigInt(address) >> 2n) | 0xc7n,
});

/** Formats by name; the first is what the others are compared with. */
export const FORMATS: Readonly<Record<string, Writer>> = {
  "x86-64": like(X86_64, 0xffff888000000000n, [9, 9, 9, 9, 12], 0x63n),
  "x86-64, five levels": like(X86_64_LA57, 0xff11000000000000n, [9, 9, 9, 9, 9, 12], 0x63n),
  "x86, PAE": {
    ...like(X86_PAE, 0x8000_0000n, [2, 9, 9, 12], 0x63n),
    // (Of the root, most other bits are reserved.)
    table: (address) => BigInt(address) | 1n,
  },
  "x86, two levels": like(X86_32, 0x8000_0000n, [10, 10, 12], 0x63n),
  "AArch64, 4 KiB, 39 bits": arm(aarch64({ granule: 4096, bits: 39 }), 0xffffff8000000000n, [9, 9, 9, 12]),
  "AArch64, 4 KiB, 48 bits": arm(aarch64({ granule: 4096, bits: 48 }), 0xffff800000000000n, [9, 9, 9, 9, 12]),
  "AArch64, 16 KiB, 47 bits": arm(
    aarch64({ granule: 16_384, bits: 47 }),
    0xffff800000000000n,
    [11, 11, 11, 14],
  ),
  "AArch64, 64 KiB, 42 bits": arm(aarch64({ granule: 65_536, bits: 42 }), 0xfffffc0000000000n, [13, 13, 16]),
  "AArch64, 4 KiB, 52 bits": {
    ...arm(aarch64({ granule: 4096, bits: 52 }), 0xfff0000000000000n, [4, 9, 9, 9, 9, 12]),
    // (Bits 8 and 9 are bits of the address.)
    page: (address) => BigInt(address) | 0x403n,
  },
  "RISC-V Sv39": riscv(SV39, 0xffffffc000000000n, [9, 9, 9, 12]),
  "RISC-V Sv48": riscv(SV48, 0xffff800000000000n, [9, 9, 9, 9, 12]),
  "RISC-V Sv57": riscv(SV57, 0xff00000000000000n, [9, 9, 9, 9, 9, 12]),
  EPT: like(EPT4, 0n, [9, 9, 9, 9, 12], 7n),
};

/** See the module's comment. */
export interface FormatTables {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mmu: MmuDef;
  readonly root: Root;
  readonly base: bigint;
  readonly pageSize: number;
  /** Addresses at random, and where they lead. */
  readonly random: (count: number) => { addresses: BigUint64Array<ArrayBuffer>; physical: Float64Array };
}

export function formatTables(name: string): FormatTables {
  const { mmu, base, splits, root, table, page } = FORMATS[name] as Writer;
  const random = randomBelow();
  const shifts = splits.map((_, i) => splits.slice(i + 1).reduce((sum, bits) => sum + bits, 0)).slice(0, -1);
  const pageSize = 2 ** (splits.at(-1) as number);
  const frames = shuffled(FORMAT_PAGES, random);
  const frameOf = (i: number) => FIRST_FRAME + (frames[i] as number) * pageSize;
  const lastIndex = splits.length - 2;
  const tableBytes = 2 ** Math.max(...splits.slice(0, -1)) * mmu.entryBytes;
  // Tables by level (0: the root) and by what they begin with.
  const places = new Map<string, number>();
  const inOrder: string[] = [];
  const keyOf = (level: number, address: bigint) =>
    `${level}:${level === 0 ? 0n : address >> BigInt(shifts[level - 1] as number)}`;
  for (let i = 0; i < FORMAT_PAGES; i += 512) {
    const address = base + BigInt(i) * BigInt(pageSize);
    for (let level = 0; level <= lastIndex; level++) {
      const key = keyOf(level, address);
      if (!places.has(key)) {
        places.set(key, 0);
        inOrder.push(key);
      }
    }
  }
  const order = shuffled(inOrder.length, random);
  inOrder.forEach((key, i) => {
    places.set(key, (order[i] as number) * tableBytes);
  });
  const bytes = new Uint8Array(inOrder.length * tableBytes);
  const view = new DataView(bytes.buffer);
  const put = (at: number, entry: bigint) => {
    if (mmu.entryBytes === 4) view.setUint32(at, Number(entry), true);
    else view.setBigUint64(at, entry, true);
  };
  for (let i = 0; i < FORMAT_PAGES; i++) {
    const address = base + BigInt(i) * BigInt(pageSize);
    for (let level = i % 512 === 0 ? 0 : lastIndex; level <= lastIndex; level++) {
      const index = Number(
        (address >> BigInt(shifts[level] as number)) & (2n ** BigInt(splits[level] as number) - 1n),
      );
      const at = (places.get(keyOf(level, address)) as number) + index * mmu.entryBytes;
      if (level === lastIndex) put(at, page(frameOf(i)));
      else put(at, table(places.get(keyOf(level + 1, address)) as number));
    }
  }
  return {
    bytes,
    mmu,
    root: root(places.get(keyOf(0, base)) as number),
    base,
    pageSize,
    random: (count) => {
      const addresses = new BigUint64Array(count);
      const physical = new Float64Array(count);
      for (let i = 0; i < count; i++) {
        const number = random(FORMAT_PAGES);
        const offset = random(pageSize);
        addresses[i] = base + BigInt(number * pageSize + offset);
        physical[i] = frameOf(number) + offset;
      }
      return { addresses, physical };
    },
  };
}
