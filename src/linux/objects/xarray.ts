/**
 * The kernel's arrays of pointers by number: `struct xarray`, and the radix tree that it was before. An IDR lies on one of them.
 *
 * Facts: include/linux/xarray.h (`xa_is_node`, `xa_is_sibling`, `XA_ZERO_ENTRY`), lib/xarray.c; since Linux 4.20
 * (f8d5d0cc145c) the radix tree is an xarray. Before: include/linux/radix-tree.h and lib/radix-tree.c of 4.7 to 4.19
 * (`is_sibling_entry`; nodes have a `shift` since 4.7, c12e51b07b3a).
 */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { sizeOf, stripped } from "../types/c-type.js";
import { findPlace, needPlace } from "../types/member-path.js";
import { TypesError, type TypeTable } from "../types/type-table.js";
import { damage, type OnDamage } from "./damage.js";
import { pointersAt } from "./pointers.js";
import { hasStruct, needStruct, offsetOf } from "./record.js";

/** An entry of an array. */
export interface XarrayEntry {
  /** Its number; of an entry that stands for several, the first. */
  readonly index: number;
  /** The pointer, or (odd, since 4.20) a value, as it is stored. */
  readonly entry: bigint;
  /** How many indices it stands for; absent for one. */
  readonly count?: number;
}

interface GrowingEntry extends XarrayEntry {
  count?: number;
}

/** Where things are in the root and in a node; bytes. */
interface Layout {
  readonly head: number;
  readonly shift: number;
  readonly offset: number;
  readonly parent: number;
  /** The pointer to the array itself; -1 for an older kernel, whose nodes have none. */
  readonly owner: number;
  readonly slots: number;
  /** Slots of a node: 64, or 16 in small kernels. */
  readonly count: number;
  /** Bits of an index that a level takes. */
  readonly bits: number;
  /** Bytes of a node that are read. */
  readonly size: number;
  /** Low bits of what is the tree's own: 2 in an xarray, 1 in the radix tree before it. */
  readonly internal: 1 | 2;
}

const layouts = new WeakMap<TypeTable, Layout>();

/** @throws {TypesError} `NO_TYPE` or `NO_MEMBER` for a kernel that has none of them. */
function layoutOf(types: TypeTable): Layout {
  let layout = layouts.get(types);
  if (layout === undefined) {
    layout = makeLayout(types);
    layouts.set(types, layout);
  }
  return layout;
}

function makeLayout(types: TypeTable): Layout {
  const isXarray =
    hasStruct(types, "xarray") && findPlace(needStruct(types, "xarray"), "xa_head") !== undefined;
  const root = isXarray ? "xarray" : "radix_tree_root";
  const node = needStruct(types, isXarray ? "xa_node" : "radix_tree_node");
  const at = (path: string) => offsetOf(types, isXarray ? "xa_node" : "radix_tree_node", path);
  const array = stripped(needPlace(node, "slots").type);
  const count = array.kind === "array" ? array.count : 0;
  const bits = Math.log2(count);
  if (!Number.isInteger(bits) || bits < 1 || bits > 12) {
    throw new TypesError("NO_MEMBER", "slots", `${count} slots of a ${node.name} can't be`);
  }
  const [slots, shift, offset, parent] = [at("slots"), at("shift"), at("offset"), at("parent")];
  const owner = isXarray ? "array" : "root";
  const ownerAt = findPlace(node, owner) === undefined ? -1 : at(owner);
  const size = slots + count * types.pointerSize;
  const last = Math.max(shift, offset, parent + types.pointerSize - 1, ownerAt + types.pointerSize - 1);
  if (size > MAX_NODE || size > sizeOf(node) || last >= size) {
    throw new TypesError("NO_MEMBER", "slots", `a ${node.name} can't be laid out so: its types are damaged`);
  }
  return {
    head: offsetOf(types, root, isXarray ? "xa_head" : "rnode"),
    ...{ shift, offset, parent, owner: ownerAt, slots, count, bits, size },
    internal: isXarray ? 2 : 1,
  };
}

/** Bytes of a node: real ones have 576. */
const MAX_NODE = 4096;

/** A node that is to be read. */
interface Pending {
  readonly node: bigint;
  /** Of its first slot. */
  readonly index: number;
  /** Bits of an index below its slots; -1 for the top node, which says so itself. */
  readonly shift: number;
  /** Its parent, and its slot there. */
  readonly parent: bigint;
  readonly slot: number;
}

/** Nodes that are read at a time. */
const PIECE = 2048;
/** More nodes than that are not believed: 64 million entries, if all are full. */
const MAX_NODES = 1 << 20;
/** Nodes of all arrays that have none in common. */
const MAX_TAKEN = 1 << 23;
/** Entries of an xarray up to here are no nodes: siblings, `XA_RETRY_ENTRY`, `XA_ZERO_ENTRY` (include/linux/xarray.h). */
const LAST_MARK = 4096;

/**
 * All entries of an array, ascending by index. Nodes of a level are read as one batch. A node must name its parent, its
 * place there, and the array, so that a wild pointer or a loop is noticed at once; what is wrong is reported and left out.
 *
 * Indices beyond 2^53 are reported, and left out too. Siblings of an entry that stands for several are counted with it; marks of the
 * array's own (an index that is reserved, or being moved) are left out silently.
 *
 * Reads at most 2^20 nodes.
 *
 * @param root Address of the `struct xarray` or `radix_tree_root`.
 * @param what For reports: "the inodes of a file system".
 * @param taken Nodes of other arrays, which this one may not have; it gets this one's. Needed only where nodes don't name the array that they
 * belong to (before 4.20): there, any number of arrays could lead to the same ones.
 * @throws {TypesError} `NO_TYPE` or `NO_MEMBER`, if the kernel's types have neither of both.
 */
export function* walkXarray(
  memory: AddressSpace,
  types: TypeTable,
  root: bigint,
  what: string,
  report: OnDamage,
  taken?: Set<bigint>,
): Routine<XarrayEntry[]> {
  const layout = layoutOf(types);
  const found: XarrayEntry[] = [];
  const at = BigInt.asUintN(64, root + BigInt(layout.head));
  const head = yield* pointersAt(memory, at, 1);
  if (typeof head === "number") {
    report(damage(what, at, "unreadable", head));
    return found;
  }
  const entry = head[0] as bigint;
  const top = nodeOf(entry, layout);
  if (top === undefined) {
    // One entry of index 0 needs no node.
    if (entry !== 0n && (entry & 3n) !== BigInt(layout.internal)) found.push({ index: 0, entry });
    return found;
  }
  const seen = layout.owner < 0 ? taken : undefined;
  const walk = new Walk(memory, layout, root, what, report, found, seen);
  let level: Pending[] = [{ node: top, index: 0, shift: -1, parent: 0n, slot: 0 }];
  while (level.length > 0) {
    const next: Pending[] = [];
    for (let from = 0; from < level.length; from += PIECE) {
      yield* walk.piece(level.slice(from, from + PIECE), next);
    }
    level = next;
  }
  return found.sort((a, b) => a.index - b.index);
}

/**
 * How an array that no symbol names is found: its head leads to a node that leads back to the array. `undefined` for arrays whose nodes
 * don't (before 4.20).
 */
export function xarrayMark(types: TypeTable) {
  const layout = layoutOf(types);
  if (layout.owner < 0 || layout.internal !== 2) return undefined;
  return {
    offset: layout.head,
    target: (word: bigint) => {
      const node = nodeOf(word, layout);
      return node === undefined ? undefined : node + BigInt(layout.owner);
    },
    back: (array: bigint) => array,
  };
}

/** The address of the node that an entry means; `undefined` if it means none. */
function nodeOf(entry: bigint, { internal }: Layout): bigint | undefined {
  const mark = BigInt(internal);
  return (entry & 3n) === mark && entry > LAST_MARK ? entry - mark : undefined;
}

/** One walk through an array. */
class Walk {
  readonly #memory: AddressSpace;
  readonly #layout: Layout;
  readonly #root: bigint;
  readonly #what: string;
  readonly #report: OnDamage;
  readonly #found: XarrayEntry[];
  readonly #seen: Set<bigint>;
  /** Nodes that are its own. */
  #count = 0;
  #isTold = false;

  constructor(
    memory: AddressSpace,
    layout: Layout,
    root: bigint,
    what: string,
    report: OnDamage,
    found: XarrayEntry[],
    seen = new Set<bigint>(),
  ) {
    this.#seen = seen;
    this.#memory = memory;
    this.#layout = layout;
    this.#root = root;
    this.#what = what;
    this.#report = report;
    this.#found = found;
  }

  /** Reads nodes of one level; adds those of the next to it. */
  *piece(nodes: readonly Pending[], next: Pending[]): Routine<void> {
    const { size } = this.#layout;
    const column = BigUint64Array.from(nodes, ({ node }) => node);
    const gathered = yield* this.#memory.gather(column, size);
    for (let i = 0; i < nodes.length; i++) {
      const pending = nodes[i] as Pending;
      const fault = gathered.faultOf(i);
      if (fault === 0) {
        this.#node(pending, gathered.bytes.subarray(i * size, (i + 1) * size), [], next);
        continue;
      }
      this.#report(damage(this.#what, pending.node, "unreadable", fault));
      const { bytes, holes } = yield* this.#memory.readPartial(pending.node, size);
      if (holes.every(({ start, end }) => start > 0 || end < size)) this.#node(pending, bytes, holes, next);
    }
  }

  #node(
    pending: Pending,
    bytes: Uint8Array,
    holes: readonly { readonly start: number; readonly end: number }[],
    next: Pending[],
  ): void {
    const { littleEndian, pointerSize } = this.#memory.abi;
    const layout = this.#layout;
    const missing = (start: number, length: number) =>
      holes.some((hole) => hole.start < start + length && hole.end > start);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const wrong = this.#mismatch(pending, view, missing);
    if (wrong !== "") {
      this.#report(damage(this.#what, pending.node, "mismatch", 0, wrong));
      return;
    }
    if (!this.#isNew(pending)) return;
    // Without its beginning, a node below the top is still known by where it hangs; the top one's depth isn't.
    if (pending.shift < 0 && missing(layout.shift, 1)) return;
    const shift = pending.shift < 0 ? view.getUint8(layout.shift) : pending.shift;
    let last: GrowingEntry | undefined;
    // The slot that siblings stand for; unknown behind one that is not there.
    let own: number | undefined = -1;
    for (let slot = 0; slot < layout.count; slot++) {
      const at = layout.slots + slot * pointerSize;
      if (holes.length > 0 && missing(at, pointerSize)) {
        last = own = undefined;
        continue;
      }
      const low = view.getUint32(littleEndian || pointerSize === 4 ? at : at + 4, littleEndian);
      const high = pointerSize === 4 ? 0 : view.getUint32(littleEndian ? at + 4 : at, littleEndian);
      if (low === 0 && high === 0) {
        last = undefined;
        own = -1;
        continue;
      }
      const entry = pointerSize === 4 ? BigInt(low) : view.getBigUint64(at, littleEndian);
      const first = this.#siblingOf(pending, slot, entry);
      if (first === undefined) {
        last = this.#entry(pending, shift, slot, entry, next);
        own = slot;
      } else if (own !== undefined && own !== first) {
        const more = `slot ${slot} stands for slot ${first}, which does not reach there`;
        this.#report(damage(this.#what, pending.node, "mismatch", 0, more));
      } else if (last !== undefined) {
        last.count = (last.count ?? 1) + 2 ** shift;
      }
    }
  }

  /** What tells that a node is not the one it is taken for; "" if nothing does. */
  #mismatch(pending: Pending, view: DataView, missing: (start: number, length: number) => boolean): string {
    const { littleEndian, pointerSize } = this.#memory.abi;
    const layout = this.#layout;
    if (!missing(layout.shift, 1)) {
      const shift = view.getUint8(layout.shift);
      if (pending.shift < 0 ? shift % layout.bits !== 0 || shift >= 64 : shift !== pending.shift) {
        return `its shift is ${shift}`;
      }
    }
    const pointer = (at: number) =>
      pointerSize === 8 ? view.getBigUint64(at, littleEndian) : BigInt(view.getUint32(at, littleEndian));
    if (!missing(layout.parent, pointerSize) && pointer(layout.parent) !== pending.parent) {
      return "it names another parent";
    }
    if (layout.owner >= 0 && !missing(layout.owner, pointerSize) && pointer(layout.owner) !== this.#root) {
      return "it belongs to another array";
    }
    if (pending.shift >= 0 && !missing(layout.offset, 1)) {
      const offset = view.getUint8(layout.offset);
      if (offset !== pending.slot) return `it is in slot ${pending.slot}, and says ${offset}`;
    }
    return "";
  }

  /** @returns what was found, if it is an entry and no node. */
  #entry(
    pending: Pending,
    shift: number,
    slot: number,
    entry: bigint,
    next: Pending[],
  ): GrowingEntry | undefined {
    const layout = this.#layout;
    const index = pending.index + slot * 2 ** shift;
    const node = nodeOf(entry, layout);
    if (node === undefined) {
      if ((entry & 3n) === BigInt(layout.internal)) return undefined;
      if (Number.isSafeInteger(index)) {
        const found: GrowingEntry = shift === 0 ? { index, entry } : { index, entry, count: 2 ** shift };
        this.#found.push(found);
        return found;
      }
      this.#report(damage(this.#what, pending.node, "invalid", 0, "an index beyond 2^53"));
      return undefined;
    }
    if (shift === 0) {
      this.#report(damage(this.#what, node, "invalid", 0, "a node below the last level"));
    } else {
      next.push({ node, index, shift: shift - layout.bits, parent: pending.node, slot });
    }
    return undefined;
  }

  /**
   * The slot of the entry that one stands for; `undefined` if it stands for itself. An xarray's names a slot in front of it; before 4.20,
   * it points to that slot, in the same node.
   */
  #siblingOf({ node }: Pending, slot: number, entry: bigint): number | undefined {
    const { internal, slots, count } = this.#layout;
    if (internal === 2)
      return (entry & 3n) === 2n && entry >> 2n < BigInt(slot) ? Number(entry >> 2n) : undefined;
    const target = nodeOf(entry, this.#layout);
    if (target === undefined) return undefined;
    const behind = Number(target - node - BigInt(slots)) / this.#memory.pointerSize;
    return behind >= 0 && behind < count ? Math.floor(behind) : undefined;
  }

  /** Whether a node is one that is read now, and only now. Those that are not what they should be don't count. */
  #isNew({ node }: Pending): boolean {
    if (this.#seen.has(node)) {
      this.#report(damage(this.#what, node, "loop", 0, "the node is in a place before, or in another array"));
      return false;
    }
    const isFull = this.#count >= MAX_NODES || this.#seen.size >= MAX_TAKEN;
    // Told once.
    if (isFull && !this.#isTold) this.#report(damage(this.#what, node, "too long"));
    this.#isTold ||= isFull;
    if (isFull) return false;
    this.#seen.add(node);
    this.#count++;
    return true;
  }
}
