/**
 * Names of caches that the kernel merged into another one: it keeps them in sysfs only, as links to the folder of that.
 *
 * Facts: mm/slub.c (`sysfs_slab_add`, `sysfs_slab_alias`), include/linux/kernfs.h (`struct kernfs_node`, `kernfs_node_type`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkRbtree } from "../objects/rbtree.js";
import { hasStruct, int, offsetOf, place, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import type { NamedCache } from "./slab-caches.js";

const KOBJECT = record("kobject", { folder: word("sd") });
const NODE = record("kernfs_node", {
  name: word("name"),
  flags: int("flags"),
  children: place("dir.children"),
  target: word("symlink.target_kn"),
});

/** KERNFS_TYPE_MASK, KERNFS_LINK. */
const TYPE_MASK = 0xf;
const LINK = 4;
const MAX_NAME = 256;

/** Names of the links to each cache's folder, without its own name. @internal */
export function* readAliases(
  data: KernelData,
  caches: readonly NamedCache[],
  report: OnDamage,
): Routine<ReadonlyMap<bigint, string[]>> {
  const { types, memory } = data;
  const found = new Map<bigint, string[]>();
  const above = caches.find(({ row }) => (row.partial.above ?? 0n) !== 0n)?.row.partial.above;
  if (above === undefined || !hasStruct(types, "kernfs_node")) return found;
  const [parent] = yield* KOBJECT.on(types).read(memory, [above]);
  const folder = parent?.value?.folder;
  if (folder === undefined) {
    report(damage("the folder of slab caches in sysfs", above, "unreadable", parent?.fault));
    return found;
  }
  if (folder === 0n) return found;
  const layout = NODE.on(types);
  const children = BigInt.asUintN(64, folder + BigInt(offsetOf(types, "kernfs_node", "dir.children")));
  const nodes = yield* walkRbtree(memory, children, "the folder of slab caches in sysfs", report);
  const offset = BigInt(offsetOf(types, "kernfs_node", "rb"));
  const rows = yield* layout.read(
    memory,
    nodes.map((node) => BigInt.asUintN(64, node - offset)),
  );
  for (const { address, fault } of rows) {
    if (fault !== 0) report(damage("an alias of a slab cache", address, "unreadable", fault));
  }
  const links = rows.filter(({ partial }) => ((partial.flags ?? 0) & TYPE_MASK) === LINK);
  const names = yield* readStrings(
    memory,
    links.map(({ partial }) => partial.name),
    "an alias of a slab cache",
    report,
    MAX_NAME,
  );
  // (Null, and what can't be read, is no cache's folder.)
  const byFolder = new Map(caches.map((cache) => [cache.row.partial.folder ?? 0n, cache]));
  byFolder.delete(0n);
  for (const [i, { partial }] of links.entries()) {
    const cache = byFolder.get(partial.target ?? 0n);
    const name = names[i];
    if (cache === undefined || name === undefined || name === cache.name) continue;
    const own = found.get(cache.row.address);
    if (own === undefined) found.set(cache.row.address, [name]);
    else own.push(name);
  }
  return found;
}
