/**
 * The kernel's linked lists: `list_head` (a ring through a head), `hlist_head` and `llist_head` (ending at null).
 *
 * Facts: include/linux/types.h (`struct list_head`, `hlist_node`), include/linux/list.h, include/linux/list_nulls.h (the end is
 * an odd value), include/linux/llist.h.
 */
import { type Fault, faultState, type Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "./damage.js";
import { pointersAt } from "./pointers.js";

/** Longer lists are not believed. */
const MAX_NODES = 1 << 22;
/** Nodes of all lists that have none in common: what is kept of them takes half a gigabyte. */
const MAX_SEEN = 1 << 23;

/**
 * Follows a ring from its head, and, where it can't be followed on, also the other way round from the head: all nodes but the
 * head, in order, that can be reached. What is missing between both ways is reported.
 *
 * Each node's `prev` must be where the walk came from: a pointer that leads to some other memory is noticed at once.
 *
 * @param head Address of the `list_head` that stands for the list.
 * @param what For reports: "the list of tasks".
 * @param seen Nodes that are on other lists, and so not on this. It gets this one's, and its head.
 */
export function* walkList(
  memory: AddressSpace,
  head: bigint,
  what: string,
  report: OnDamage,
  seen = new Set<bigint>(),
): Routine<bigint[]> {
  seen.add(head);
  const nodes: bigint[] = [];
  const broken = yield* follow(memory, head, what, report, nodes, seen, 0);
  if (broken) {
    const back: bigint[] = [];
    yield* follow(memory, head, what, () => {}, back, seen, 1);
    for (const node of back.reverse()) nodes.push(node);
  }
  return nodes;
}

/**
 * Follows rings that have no node in common, one after the other. Where the heads of many lie in one ring, each would lead through all of
 * it: the first one does, and the others have nothing, which is told once. So no more is walked than there is.
 */
export class DisjointLists {
  readonly #memory: AddressSpace;
  readonly #what: string;
  readonly #report: OnDamage;
  readonly #seen = new Set<bigint>();
  #isTold = false;

  /** @param what For reports: "the inodes of a file system". */
  constructor(memory: AddressSpace, what: string, report: OnDamage) {
    this.#memory = memory;
    this.#what = what;
    this.#report = report;
  }

  /** As {@link walkList}. @param what For reports, where it is not that of all. */
  *walk(head: bigint, what = this.#what): Routine<bigint[]> {
    if (!this.#seen.has(head)) return yield* walkList(this.#memory, head, what, this.#report, this.#seen);
    if (!this.#isTold) {
      this.#isTold = true;
      this.#report(damage(what, head, "mismatch", 0, "another such list leads through its head (told once)"));
    }
    return [];
  }
}

/** Whether a fault says that an address is none of the kernel's, rather than that a page is missing. */
export function isWild(fault: Fault): boolean {
  const state = faultState(fault);
  return state === "not-present" || state === "non-canonical" || state === "malformed";
}

/** @param way 0 by `next`, 1 by `prev`. @returns whether it ended before it came back to the head. */
function* follow(
  memory: AddressSpace,
  head: bigint,
  what: string,
  report: OnDamage,
  nodes: bigint[],
  seen: Set<bigint>,
  way: 0 | 1,
): Routine<boolean> {
  let at = head;
  let from: bigint | undefined;
  let last: bigint | undefined;
  for (;;) {
    const links = yield* pointersAt(memory, at, 2);
    if (typeof links === "number") {
      report(damage(what, at, "unreadable", links));
      // Its page may be missing, and the rest of it be there; where nothing is mapped at all, it is none.
      if (from !== undefined && isWild(links)) drop(nodes, seen);
      return true;
    }
    if (from !== undefined && links[1 - way] !== from) {
      report(damage(what, at, "mismatch", 0, "it does not point back to where it was come from"));
      drop(nodes, seen);
      return true;
    }
    last ??= links[1 - way];
    const next = links[way] as bigint;
    if (next === head) {
      // A pointer that leads back too early would hide all the rest.
      if (at === last) return false;
      report(damage(what, at, "mismatch", 0, "it points to the head, whose last is another"));
      return true;
    }
    if (seen.has(next)) {
      report(damage(what, next, "loop"));
      return true;
    }
    if (nodes.length >= MAX_NODES || seen.size >= MAX_SEEN) {
      report(damage(what, next, "too long"));
      return true;
    }
    seen.add(next);
    nodes.push(next);
    from = at;
    at = next;
  }
}

/** The last node is none of the list's: it may be another's. */
function drop(nodes: bigint[], seen: Set<bigint>): void {
  const node = nodes.pop();
  if (node !== undefined) seen.delete(node);
}

/**
 * Follows a list that ends at null, or, with "nulls", at an odd value: `hlist`, `hlist_nulls`, `llist`.
 *
 * @param first Address of the first node: what the head holds.
 * @param offset Bytes from a node to its pointer to the next; 0 for all of these.
 * @param seen   Nodes that no other chain may have: those of chains that have none in common. It gets this one's.
 */
export function* walkChain(
  memory: AddressSpace,
  first: bigint,
  what: string,
  report: OnDamage,
  offset = 0,
  seen = new Set<bigint>(),
): Routine<bigint[]> {
  const nodes: bigint[] = [];
  let at = first;
  while (at !== 0n && (at & 1n) === 0n) {
    if (seen.has(at)) {
      report(damage(what, at, "loop"));
      break;
    }
    if (seen.size >= MAX_NODES) {
      report(damage(what, at, "too long"));
      break;
    }
    const links = yield* pointersAt(memory, at + BigInt(offset), 1);
    if (typeof links === "number") {
      report(damage(what, at, "unreadable", links));
      break;
    }
    seen.add(at);
    nodes.push(at);
    at = links[0] as bigint;
  }
  return nodes;
}
