/**
 * Paths of kernfs nodes, which /sys and control groups are made of.
 *
 * Facts: include/linux/kernfs.h (`struct kernfs_node`), fs/kernfs/dir.c (`kernfs_path_from_node`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";

const NODE = record("kernfs_node", {
  // Since 6.15 ("kernfs: Use RCU to access kernfs_node::parent") with underscores.
  parent: word("__parent", "parent"),
  name: word("name"),
});

/** Directories in a path: more are not believed. */
const MAX_DEPTH = 1024;

interface Node {
  readonly parent: bigint;
  readonly name: string | undefined;
}

/** Finds paths, many at a time, a level as one batch. What was read for one is kept for the next. */
export class KernfsPaths {
  readonly #data: KernelData;
  readonly #report: OnDamage;
  readonly #nodes = new Map<bigint, Node | undefined>();

  constructor(data: KernelData, report: OnDamage) {
    this.#data = data;
    this.#report = report;
  }

  /** Paths from the root of their hierarchies; `undefined` for null pointers and what can't be read. */
  *resolve(pointers: readonly (bigint | undefined)[]): Routine<(string | undefined)[]> {
    let wanted = this.#unknown(pointers);
    for (let depth = 0; wanted.length > 0 && depth < MAX_DEPTH; depth++) {
      const rows = yield* readEach(this.#data, NODE, wanted, "a kernfs_node", this.#report);
      const names = yield* readStrings(
        this.#data.memory,
        rows.map((row) => row?.name),
        "the name of a kernfs_node",
        this.#report,
      );
      for (const [i, row] of rows.entries()) {
        const node = row?.parent === undefined ? undefined : { parent: row.parent, name: names[i] };
        this.#nodes.set(wanted[i] as bigint, node);
      }
      wanted = this.#unknown(rows.map((row) => row?.parent));
    }
    return pointers.map((pointer) =>
      pointer === undefined || pointer === 0n ? undefined : this.#path(pointer),
    );
  }

  #unknown(pointers: readonly (bigint | undefined)[]): bigint[] {
    const wanted = new Set<bigint>();
    for (const each of pointers) {
      if (each !== undefined && each !== 0n && !this.#nodes.has(each)) wanted.add(each);
    }
    return [...wanted];
  }

  #path(pointer: bigint): string | undefined {
    const names: string[] = [];
    let at = pointer;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const node = this.#nodes.get(at);
      if (node?.parent === 0n) return `/${names.reverse().join("/")}`;
      if (node?.name === undefined) return undefined;
      names.push(node.name);
      at = node.parent;
    }
    this.#report(damage("the path of a kernfs_node", pointer, "loop", 0, `more than ${MAX_DEPTH} steps`));
    return undefined;
  }
}
