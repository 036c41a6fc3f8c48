/**
 * The kernel's red-black trees: `struct rb_root`, or the `rb_root` in an `rb_root_cached`.
 *
 * Facts: include/linux/rbtree_types.h (`__rb_parent_color`: the parent, with the colour in its low bits), lib/rbtree.c.
 */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "./damage.js";
import { isWild } from "./list.js";
import { pointersAt, pointersIn } from "./pointers.js";

/** Nodes that are read at a time. */
const PIECE = 4096;
/** Larger trees are not believed. */
const MAX_NODES = 1 << 22;
/** Deeper ones neither: a red-black tree of n nodes is at most 2 log2(n + 1) deep. */
const MAX_DEPTH = 64;

/** A node that was found, by number. */
interface Nodes {
  readonly address: bigint[];
  readonly left: number[];
  readonly right: number[];
}

interface Pending {
  readonly node: bigint;
  readonly parent: bigint;
  /** Number of its parent; -1 for the top. */
  readonly under: number;
  readonly isLeft: boolean;
}

/**
 * All nodes of a tree, in order. A level is read as one batch. Every node must point back to its parent, so that a wild pointer or
 * a loop is noticed at once; what is wrong is reported, and left out with all that is below it. A node whose page is missing is
 * itself given, as its parent says that it is there; one where nothing is mapped is not.
 *
 * Reads at most 2^22 nodes, and 64 levels.
 *
 * @param root Address of the `rb_root` (whose only member is `rb_node`; so also of an `rb_root_cached`, whose first member it is).
 * @param what For reports: "the timers of a CPU".
 */
export function* walkRbtree(
  memory: AddressSpace,
  root: bigint,
  what: string,
  report: OnDamage,
): Routine<bigint[]> {
  const top = yield* pointersAt(memory, root, 1);
  if (typeof top === "number") {
    report(damage(what, root, "unreadable", top));
    return [];
  }
  const nodes: Nodes = { address: [], left: [], right: [] };
  const seen = new Set<bigint>();
  let level: Pending[] = [];
  if (top[0] !== 0n) level.push({ node: top[0] as bigint, parent: 0n, under: -1, isLeft: false });
  for (let depth = 0; level.length > 0; depth++) {
    const last = level[0] as Pending;
    if (depth === MAX_DEPTH || nodes.address.length + level.length > MAX_NODES) {
      report(damage(what, last.node, "too long"));
      break;
    }
    const next: Pending[] = [];
    for (let from = 0; from < level.length; from += PIECE) {
      yield* readNodes(memory, level.slice(from, from + PIECE), nodes, seen, what, report, next);
    }
    level = next;
  }
  return inOrder(nodes);
}

function* readNodes(
  memory: AddressSpace,
  pending: readonly Pending[],
  nodes: Nodes,
  seen: Set<bigint>,
  what: string,
  report: OnDamage,
  next: Pending[],
): Routine<void> {
  // __rb_parent_color, rb_right, rb_left.
  const column = BigUint64Array.from(pending, ({ node }) => node);
  const gathered = yield* memory.gather(column, 3 * memory.pointerSize);
  const words = pointersIn(memory, gathered.bytes);
  for (let i = 0; i < pending.length; i++) {
    const each = pending[i] as Pending;
    const { node, parent, under, isLeft } = each;
    const fault = gathered.faultOf(i);
    if (seen.has(node)) {
      report(damage(what, node, "loop"));
      continue;
    }
    if (fault !== 0) {
      report(damage(what, node, "unreadable", fault));
      if (isWild(fault)) continue;
    } else {
      // The top is black (1): that tells it from memory that is zeros.
      const colored = words[3 * i] as bigint;
      const fits = under < 0 ? colored === 1n : (colored & ~3n) === parent;
      if (!fits) {
        report(damage(what, node, "mismatch", 0, "it names another parent"));
        continue;
      }
    }
    seen.add(node);
    const number = nodes.address.push(node) - 1;
    nodes.left.push(-1);
    nodes.right.push(-1);
    if (under >= 0) (isLeft ? nodes.left : nodes.right)[under] = number;
    if (fault !== 0) continue;
    const right = words[3 * i + 1] as bigint;
    const left = words[3 * i + 2] as bigint;
    if (left !== 0n) next.push({ node: left, parent: node, under: number, isLeft: true });
    if (right !== 0n) next.push({ node: right, parent: node, under: number, isLeft: false });
  }
}

/** Addresses from the left to the right. */
function inOrder({ address, left, right }: Nodes): bigint[] {
  const found: bigint[] = [];
  const above: number[] = [];
  let at = address.length === 0 ? -1 : 0;
  while (at >= 0 || above.length > 0) {
    if (at >= 0) {
      above.push(at);
      at = left[at] as number;
    } else {
      at = above.pop() as number;
      found.push(address[at] as bigint);
      at = right[at] as number;
    }
  }
  return found;
}
