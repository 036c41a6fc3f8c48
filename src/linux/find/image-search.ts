/**
 * Finds in the kernel's image what no symbol names: kernels built without CONFIG_KALLSYMS_ALL list functions only, and so neither
 * where their BTF is nor their first task.
 */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { encodeUtf8 } from "../../memory/text.js";
import { pointersIn } from "../objects/pointers.js";
import { offsetOf } from "../objects/record.js";
import { BTF_MAGIC, btfSize } from "../types/btf/btf-header.js";
import { TypesError, type TypeTable } from "../types/type-table.js";

/** An address range of the image, from `start` to `end` (exclusive). */
export interface ImageRange {
  readonly start: bigint;
  readonly end: bigint;
}

const PIECE = 1 << 20;
/** The most that is searched. */
const MAX_SEARCH = 1 << 29;
/** Fewer bytes of types are no kernel's. */
const LEAST_BTF = 64 * 1024;
const HEADER = 24;

/** Words of a piece of the image that may be the head of a list: pairs of pointers into the kernel's half, by their offset. */
function headsIn(memory: AddressSpace, bytes: Uint8Array): number[] {
  const found: number[] = [];
  const size = memory.pointerSize;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { littleEndian } = memory;
  const top = littleEndian ? size - 2 : 0;
  const low = littleEndian ? 0 : size - 4;
  const least = size === 8 ? 0xff00 : 0x8000;
  const last = Math.min(PIECE, bytes.length - 2 * size + 1);
  for (let at = 0; at < last; at += size) {
    if (view.getUint16(at + top, littleEndian) < least) continue;
    if (view.getUint16(at + size + top, littleEndian) < least) continue;
    if ((view.getUint32(at + low, littleEndian) | view.getUint32(at + size + low, littleEndian)) & (size - 1))
      continue;
    found.push(at);
  }
  return found;
}

/**
 * Finds the head of a list by its first node, which points back to it and is what `accept` takes it for.
 *
 * @param accept Is asked about the first node of each list in the image.
 * @returns the head's address; `undefined` too for a list that is empty.
 */
export function* findListHead(
  memory: AddressSpace,
  ranges: readonly ImageRange[],
  accept: (node: bigint) => Routine<boolean>,
): Routine<bigint | undefined> {
  const size = memory.pointerSize;
  return yield* pieces(memory, ranges, 2 * size, function* (bytes, at) {
    const heads = headsIn(memory, bytes);
    const nodes = heads.map(
      (offset) => pointersIn(memory, bytes.subarray(offset, offset + size))[0] as bigint,
    );
    const back = yield* memory.gather(
      nodes.map((node) => BigInt.asUintN(64, node + BigInt(size))),
      size,
    );
    for (const [i, offset] of heads.entries()) {
      const head = at + BigInt(offset);
      const pointer = back.at(i);
      if (pointer === undefined || pointersIn(memory, pointer)[0] !== head || nodes[i] === head) continue;
      if (yield* accept(nodes[i] as bigint)) return head;
    }
    return undefined;
  });
}

/** How a structure of the image is known by what a word of it leads to. */
export interface MutualMark {
  /** Bytes from the structure to the word. */
  readonly offset: number;
  /** Where the word leads: to a pointer that must lead back; `undefined` for a word that can't be the structure's. */
  readonly target: (word: bigint) => bigint | undefined;
  /** What that pointer must be, by the structure's address. */
  readonly back: (structure: bigint) => bigint;
}

/** Low bits of a pointer to a node of an xarray or a maple tree (include/linux/xarray.h, `xa_is_internal`). */
const INTERNAL = 2;

/**
 * Finds an xarray or a maple tree in the image by its top node, which leads back to it.
 *
 * @param accept Is asked about each such structure, by the number of its mark and its address.
 */
export function* findTree(
  memory: AddressSpace,
  ranges: readonly ImageRange[],
  marks: readonly MutualMark[],
  accept: (mark: number, structure: bigint) => Routine<boolean>,
): Routine<bigint | undefined> {
  const size = memory.pointerSize;
  const { littleEndian } = memory;
  const low = littleEndian ? 0 : size - 4;
  return yield* pieces(memory, ranges, 0, function* (bytes, start) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const found: { mark: number; structure: bigint; back: bigint }[] = [];
    const targets: bigint[] = [];
    for (let at = 0; at + size <= bytes.length; at += size) {
      // (Most words are none: those cost no more than this.)
      if (
        (view.getUint32(at + low, littleEndian) & 3) !== INTERNAL ||
        bytes[littleEndian ? at + size - 1 : at] !== 0xff
      )
        continue;
      const word = pointersIn(memory, bytes.subarray(at, at + size))[0] as bigint;
      for (const [mark, { offset, target, back }] of marks.entries()) {
        const wanted = target(word);
        if (wanted === undefined) continue;
        const structure = BigInt.asUintN(64, start + BigInt(at - offset));
        found.push({ mark, structure, back: back(structure) });
        targets.push(BigInt.asUintN(64, wanted));
      }
    }
    const gathered = yield* memory.gather(targets, size);
    for (const [i, { mark, structure, back }] of found.entries()) {
      const pointer = gathered.at(i);
      if (pointer === undefined || pointersIn(memory, pointer)[0] !== back) continue;
      if (yield* accept(mark, structure)) return structure;
    }
    return undefined;
  });
}

/** Larger structures are no nodes of trees that are searched for. */
const MAX_STRUCTURE = 4096;

/** How the root of a tree of structures is known that have pointers to each other: by bytes from a structure to each. */
export interface TreeMark {
  readonly parent: number;
  readonly sibling: number;
  readonly child: number;
}

/**
 * Finds the root of such a tree in the image: it has neither parent nor sibling, and its first child points back to it.
 *
 * @param accept Is asked about each such structure.
 */
export function* findTreeRoot(
  memory: AddressSpace,
  ranges: readonly ImageRange[],
  { parent, sibling, child }: TreeMark,
  accept: (root: bigint) => Routine<boolean>,
): Routine<bigint | undefined> {
  const size = memory.pointerSize;
  const end = Math.max(parent, sibling, child) + size;
  // (Types may be damaged.)
  const isOne = [parent, sibling, child].every((offset) => offset >= 0 && offset % size === 0);
  if (!isOne || end > MAX_STRUCTURE) return undefined;
  return yield* pieces(memory, ranges, end, function* (bytes, start) {
    const pointers = pointersIn(memory, bytes);
    const at = (structure: number, offset: number) => pointers[(structure + offset) / size] as bigint;
    const half = 1n << BigInt(8 * size - 1);
    const roots: bigint[] = [];
    const children: bigint[] = [];
    for (let i = 0; i < PIECE && i + end <= bytes.length; i += size) {
      const first = at(i, child);
      if (first < half || at(i, parent) !== 0n || at(i, sibling) !== 0n) continue;
      roots.push(start + BigInt(i));
      children.push(BigInt.asUintN(64, first + BigInt(parent)));
    }
    const back = yield* memory.gather(children, size);
    for (const [i, root] of roots.entries()) {
      const pointer = back.at(i);
      if (pointer === undefined || pointersIn(memory, pointer)[0] !== root) continue;
      if (yield* accept(root)) return root;
    }
    return undefined;
  });
}

/** Pieces of the ranges that can be read, with `overlap` bytes of the next one behind each. */
function* pieces(
  memory: AddressSpace,
  ranges: readonly ImageRange[],
  overlap: number,
  use: (bytes: Uint8Array, start: bigint) => Routine<bigint | undefined>,
): Routine<bigint | undefined> {
  const buffer = new Uint8Array(PIECE + overlap);
  let searched = 0;
  for (const { start, end } of ranges) {
    for (let at = start & -4096n; at < end && searched < MAX_SEARCH; at += BigInt(PIECE)) {
      const room = (1n << 64n) - at;
      const size = room < BigInt(buffer.length) ? Number(room) : buffer.length;
      const { bytes, holes } = yield* memory.readPartial(at, buffer.subarray(0, size));
      searched += PIECE;
      const gone = holes.reduce((sum, hole) => sum + hole.end - hole.start, 0);
      if (gone === size) continue;
      for (const hole of holes) bytes.fill(0, hole.start, hole.end);
      const found = yield* use(bytes, at);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/**
 * Finds the kernel's BTF by its header: the types' section at its end, strings behind it that begin with a NUL, and as large as
 * a kernel's.
 *
 * @returns where it begins, and its size by its header.
 */
export function* findBtf(
  memory: AddressSpace,
  ranges: readonly ImageRange[],
): Routine<{ start: bigint; size: number } | undefined> {
  let size = 0;
  const start = yield* pieces(memory, ranges, HEADER, function* (bytes, at) {
    const first = memory.littleEndian ? BTF_MAGIC & 0xff : BTF_MAGIC >>> 8;
    const last = Math.min(PIECE, bytes.length - HEADER);
    for (let i = bytes.indexOf(first); i >= 0 && i < last; i = bytes.indexOf(first, i + 1)) {
      // Its section is aligned to a word (include/asm-generic/vmlinux.lds.h, BTF).
      if (i % 4 !== 0) continue;
      const found = sizeAt(bytes, i);
      if (found === undefined || !(yield* isBtf(memory, at + BigInt(i), bytes.slice(i, i + HEADER), found)))
        continue;
      size = found;
      return at + BigInt(i);
    }
    return undefined;
  });
  return start === undefined ? undefined : { start, size };
}

/** The size that a header of BTF says; `undefined` for what is none. */
function sizeAt(bytes: Uint8Array, at: number): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER);
  const littleEndian = view.getUint16(0, true) === BTF_MAGIC;
  if (!littleEndian && view.getUint16(0, false) !== BTF_MAGIC) return undefined;
  // Version 1, no flags, and a header of the one length that there is.
  if (view.getUint8(2) !== 1 || view.getUint8(3) !== 0 || view.getUint32(4, littleEndian) !== HEADER)
    return undefined;
  try {
    const size = btfSize(bytes.subarray(at, at + HEADER));
    return size < LEAST_BTF ? undefined : size;
  } catch (error) {
    if (error instanceof TypesError) return undefined;
    throw error;
  }
}

/** Whether what lies where the header says is there, and looks like it. */
function* isBtf(memory: AddressSpace, start: bigint, header: Uint8Array, size: number): Routine<boolean> {
  const claimed = new Uint8Array(HEADER);
  claimed.set(header);
  const view = new DataView(claimed.buffer);
  const littleEndian = view.getUint16(0, true) === BTF_MAGIC;
  const strings = HEADER + view.getUint32(16, littleEndian);
  const { bytes, holes } = yield* memory.readPartial(start + BigInt(strings), 1);
  const end = yield* memory.readPartial(start + BigInt(size - 1), 1);
  return holes.length === 0 && end.holes.length === 0 && bytes[0] === 0 && end.bytes[0] === 0;
}

/** Where some bytes are first; at an address of any alignment. */
export function* findBytes(
  memory: AddressSpace,
  ranges: readonly ImageRange[],
  wanted: Uint8Array,
): Routine<bigint | undefined> {
  const [first = 0] = wanted;
  return yield* pieces(memory, ranges, wanted.length - 1, function* (bytes, at) {
    for (let i = bytes.indexOf(first); i >= 0; i = bytes.indexOf(first, i + 1)) {
      const found = at + BigInt(i);
      // (Pieces begin at a page, which may be before the range.)
      if (wanted.every((byte, k) => bytes[i + k] === byte) && ranges.some(({ start }) => start <= found)) {
        return found;
      }
    }
    return undefined;
  });
}

/** More bytes are no banner's: compilers say much of themselves, but not that. */
const MAX_BANNER = 2048;

/**
 * Finds the kernel's banner: "Linux version RELEASE (…) … VERSION", whose line ends, with nothing behind it. (In the log, lines
 * don't end. The image may hold a second banner, with another version, that the linker did not take: since 6.1, 2df8220cc511.)
 *
 * @param version As `uname -v` has it; "" for any.
 * @returns where it begins.
 */
export function* findBanner(
  memory: AddressSpace,
  ranges: readonly ImageRange[],
  release: string,
  version: string,
): Routine<bigint | undefined> {
  const start = encodeUtf8(`Linux version ${release} (`);
  const last = encodeUtf8(`${version}\n`);
  const [first = 0, second = 0] = start;
  const isBanner = (bytes: Uint8Array) => {
    const end = bytes.indexOf(0) - last.length;
    return (
      end > start.length &&
      bytes.indexOf(10) === end + last.length - 1 &&
      start.every((byte, k) => bytes[k] === byte) &&
      last.every((byte, k) => bytes[end + k] === byte)
    );
  };
  // biome-ignore lint/correctness/useYield: nothing more is read.
  return yield* pieces(memory, ranges, MAX_BANNER, function* (bytes, at) {
    for (let i = bytes.indexOf(first); i >= 0 && i < PIECE; i = bytes.indexOf(first, i + 1)) {
      if (bytes[i + 1] === second && isBanner(bytes.subarray(i, i + MAX_BANNER))) return at + BigInt(i);
    }
    return undefined;
  });
}

/** "swapper", as init/init_task.c and, once other processors run, `init_idle` name the first task. */
const FIRST_NAME = [115, 119, 97, 112, 112, 101, 114];

/**
 * Finds the first task (`init_task`) by what it is: named "swapper", of number 0, its own parent, and in a list whose
 * neighbours point back to it.
 */
export function* findInitTask(
  memory: AddressSpace,
  types: TypeTable,
  ranges: readonly ImageRange[],
): Routine<bigint | undefined> {
  const offset = (path: string) => offsetOf(types, "task_struct", path);
  const comm = offset("comm");
  const name = new Uint8Array(FIRST_NAME);
  return yield* pieces(memory, ranges, 16, function* (bytes, at) {
    for (let i = bytes.indexOf(115); i >= 0 && i < PIECE; i = bytes.indexOf(115, i + 1)) {
      if (name.some((letter, k) => bytes[i + k] !== letter)) continue;
      const task = at + BigInt(i) - BigInt(comm);
      if (task % BigInt(memory.pointerSize) === 0n && (yield* isInitTask(memory, task, offset))) return task;
    }
    return undefined;
  });
}

function* isInitTask(memory: AddressSpace, task: bigint, offset: (path: string) => number): Routine<boolean> {
  const size = memory.pointerSize;
  const read = function* (at: bigint, length: number): Routine<Uint8Array | undefined> {
    const { bytes, holes } = yield* memory.readPartial(BigInt.asUintN(64, at), length);
    return holes.length > 0 ? undefined : bytes;
  };
  const pointer = function* (at: bigint): Routine<bigint | undefined> {
    const bytes = yield* read(at, size);
    return bytes === undefined ? undefined : pointersIn(memory, bytes)[0];
  };
  const number = yield* read(task + BigInt(offset("pid")), 4);
  if (number === undefined || number.some((byte) => byte !== 0)) return false;
  if ((yield* pointer(task + BigInt(offset("real_parent")))) !== task) return false;
  const list = task + BigInt(offset("tasks"));
  const [next, before] = [yield* pointer(list), yield* pointer(list + BigInt(size))];
  if (next === undefined || before === undefined) return false;
  // One that can't be read says nothing against it.
  const back = yield* pointer(next + BigInt(size));
  const forth = yield* pointer(before);
  return (
    (back === undefined || back === list) &&
    (forth === undefined || forth === list) &&
    (back ?? forth) !== undefined
  );
}
