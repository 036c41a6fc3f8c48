/**
 * Paths of files, from where they are to the root of all mounts, as /proc/PID/fd and /proc/PID/maps show them to a process
 * whose root that is.
 *
 * Facts: fs/d_path.c (`d_path`, `prepend_path`, `dentry_path`), include/linux/dcache.h (`d_unlinked`, `IS_ROOT`).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { type Dentry, DentryCache, type MountLink } from "./dentry.js";
import { DynamicNames } from "./dynamic-name.js";
import { Climb, type Prefix, type Prefixes } from "./prefix.js";

/** The kernel's `struct path`: addresses of a `struct vfsmount` and a `struct dentry`. */
export interface PathPointers {
  readonly mount: bigint;
  readonly dentry: bigint;
}

/**
 * Where a path begins. `root`: at the root that was given. `top`: at the root of a mount namespace. `detached`: at that of a
 * mount that is in no namespace, as after `umount -l`. `outside`: it has left the mount that it was in (by a rename), and
 * nobody can say where it is. `none`: it is no path, but a name such as `pipe:[1234]`.
 */
export type PathStart = "root" | "top" | "detached" | "outside" | "none";

/** A path that was asked for. */
export interface FoundPath {
  /** Without " (deleted)"; `undefined` if a part of it could not be read. */
  readonly path: string | undefined;
  /** Whether nothing has this name any more. */
  readonly deleted: boolean;
  readonly start: PathStart | undefined;
}

/** Steps of a path: directories and mounts. More are not believed. */
const MAX_STEPS = 4096;

/** Of what is missing above a path, so much of the path is told. */
const SHOWN = 256;

const NOT_FOUND: FoundPath = { path: undefined, deleted: false, start: undefined };

/**
 * Finds paths, many at a time: each level up is one batch for all of them. What was read for one is kept for the next.
 * At most 4096 steps are gone for a path.
 */
export class PathResolver {
  readonly #report: OnDamage;
  readonly #cache: DentryCache;
  readonly #names: DynamicNames;
  readonly #pointerSize: number;
  /** Of paths that begin at `#root`, and of paths within file systems. */
  #prefixes: Prefixes = new Map();
  #root = "";
  readonly #within: Prefixes = new Map();

  /** @throws {TypesError} if the kernel's types lack dentries or mounts. */
  constructor(data: KernelData, report: OnDamage) {
    this.#report = report;
    this.#cache = new DentryCache(data, report);
    this.#names = new DynamicNames(data, report);
    this.#pointerSize = data.memory.pointerSize;
  }

  /**
   * The path of each, with " (deleted)" where the kernel says so; `undefined` for null pointers and for what can't be read.
   *
   * @param root Where paths begin, as a process's own root. By default they begin at the root of their mount namespace.
   */
  *resolve(pairs: readonly PathPointers[], root?: PathPointers): Routine<(string | undefined)[]> {
    return (yield* this.locate(pairs, root)).map(shownPath);
  }

  /** As {@link resolve}, and where each begins. */
  *locate(pairs: readonly PathPointers[], root?: PathPointers): Routine<FoundPath[]> {
    yield* this.#load(pairs);
    const dentries = pairs.map(({ dentry }) => this.#cache.dentry(dentry));
    const found = pairs.map(() => NOT_FOUND);
    const known = [...dentries.keys()].filter((i) => dentries[i] !== undefined);
    const makers = yield* this.#names.makersOf(known.map((i) => dentries[i] as Dentry));
    const named: number[] = [];
    const namedBy: string[] = [];
    for (const [k, i] of known.entries()) {
      const maker = makers[k];
      if (maker === undefined) continue;
      const dentry = dentries[i] as Dentry;
      const pair = pairs[i] as PathPointers;
      const mount = this.#cache.mount(this.#cache.mountOf(pair.mount));
      // What is mounted somewhere has a path there, whoever makes its names.
      const isMounted = dentry.parent === dentry.address && mount?.root === dentry.address;
      if (maker === "" || isMounted) found[i] = this.#climb(pair, dentry, root);
      else {
        named.push(i);
        namedBy.push(maker);
      }
    }
    const made = yield* this.#names.namesOf(
      named.map((i) => dentries[i] as Dentry),
      namedBy,
    );
    for (const [k, i] of named.entries()) found[i] = { path: made[k], deleted: false, start: "none" };
    return found;
  }

  /**
   * Paths within their file systems, as the fourth field of /proc/PID/mountinfo: with "//deleted" for what has been. A name
   * that is made up (of a namespace that is mounted, say) is given as such.
   */
  *within(dentries: readonly bigint[]): Routine<(string | undefined)[]> {
    yield* this.#load(dentries.map((dentry) => ({ mount: 0n, dentry })));
    const known = dentries.map((each) => this.#cache.dentry(each));
    const makers = yield* this.#names.makersOf(known.filter((each) => each !== undefined) as Dentry[]);
    const paths = new Array<string | undefined>(dentries.length);
    let next = 0;
    for (const [i, dentry] of known.entries()) {
      if (dentry === undefined) continue;
      const maker = makers[next++];
      if (maker === "ns_dname") [paths[i]] = yield* this.#names.namesOf([dentry], [maker]);
      else paths[i] = this.#inFileSystem(dentry);
    }
    return paths;
  }

  /** Reads all that these paths are made of, a level at a time. */
  *#load(pairs: readonly PathPointers[]): Routine<void> {
    const cache = this.#cache;
    let dentries: bigint[] = pairs.map(({ dentry }) => dentry);
    let mounts: bigint[] = pairs.filter(({ mount }) => mount !== 0n).map(({ mount }) => cache.mountOf(mount));
    for (let level = 0; level < MAX_STEPS; level++) {
      const newMounts = yield* cache.loadMounts(mounts);
      const newDentries = yield* cache.loadDentries(dentries);
      if (newMounts.length === 0 && newDentries.length === 0) return;
      mounts = newMounts.map(({ parent }) => parent);
      dentries = newDentries.map(({ parent }) => parent);
      for (const { mountpoint } of newMounts) dentries.push(mountpoint);
    }
  }

  /** Goes up from a dentry through the mounts, as far as that is not known already; everything has been read. */
  #climb(pair: PathPointers, first: Dentry, root: PathPointers | undefined): FoundPath {
    const cache = this.#cache;
    const rootMount = root === undefined ? undefined : cache.mountOf(root.mount);
    const climb = new Climb(this.#prefixesOf(root));
    let dentry: Dentry | undefined = first;
    let mount = cache.mount(cache.mountOf(pair.mount));
    while (climb.steps < MAX_STEPS) {
      if (dentry === undefined || mount === undefined) {
        this.#broken(first, climb.names);
        return foundAt(this.#end(climb, first, undefined), first);
      }
      if (climb.isKnown(mount.address, dentry.address)) return foundAt(this.#end(climb, first), first);
      if (dentry.address === root?.dentry && mount.address === rootMount) {
        return foundAt(this.#end(climb, first, "root"), first);
      }
      if (dentry.address === mount.root) {
        if (mount.parent === mount.address)
          return foundAt(this.#end(climb, first, this.#startOf(mount)), first);
        climb.add(mount.address, dentry.address, "");
        dentry = cache.dentry(mount.mountpoint);
        mount = cache.mount(mount.parent);
      } else if (dentry.parent === dentry.address) {
        return foundAt(this.#end(climb, first, "outside"), first);
      } else {
        climb.add(mount.address, dentry.address, dentry.name);
        if (dentry.name === undefined) return foundAt(this.#end(climb, first, undefined), first);
        dentry = cache.dentry(dentry.parent);
      }
    }
    this.#report(damage("a path", first.address, "loop", 0, `more than ${MAX_STEPS} steps`));
    return foundAt(this.#end(climb, first, undefined), first);
  }

  #inFileSystem(first: Dentry): string | undefined {
    const climb = new Climb(this.#within);
    let dentry: Dentry | undefined = first;
    const ended = (prefix: Prefix | undefined) =>
      prefix && `${prefix.path || "/"}${isUnlinked(first) ? "//deleted" : ""}`;
    while (climb.steps < MAX_STEPS) {
      if (dentry === undefined) {
        this.#broken(first, climb.names);
        return ended(this.#end(climb, first, undefined));
      }
      if (climb.isKnown(0n, dentry.address)) return ended(this.#end(climb, first));
      if (dentry.parent === dentry.address) return ended(this.#end(climb, first, "top"));
      climb.add(0n, dentry.address, dentry.name);
      if (dentry.name === undefined) return ended(this.#end(climb, first, undefined));
      dentry = this.#cache.dentry(dentry.parent);
    }
    this.#report(damage("a path", first.address, "loop", 0, `more than ${MAX_STEPS} steps`));
    return ended(this.#end(climb, first, undefined));
  }

  #end(climb: Climb, first: Dentry, ...start: Parameters<Climb["end"]>): Prefix | undefined {
    const prefix = climb.end(...start);
    if (climb.isTooLong) this.#report(damage("a path", first.address, "too long"));
    return prefix;
  }

  /** What is known of paths that begin at this root: they are asked for one root after the other. */
  #prefixesOf(root: PathPointers | undefined): Prefixes {
    const key = root === undefined ? "" : `${root.mount} ${root.dentry}`;
    if (key !== this.#root) this.#prefixes = new Map();
    this.#root = key;
    return this.#prefixes;
  }

  #startOf({ namespace }: MountLink): PathStart | "?" {
    if (namespace === undefined) return "?";
    return isNamespace(namespace, this.#pointerSize) ? "top" : "detached";
  }

  /** Its missing part was reported when it was read; this says which path it was of. */
  #broken(first: Dentry, names: readonly string[]): void {
    const end = [...names].reverse().join("/").slice(-SHOWN);
    this.#report(damage("a path", first.address, "invalid", 0, `what is above "${end}" can't be read`));
  }
}

/** A path as the kernel shows it, with " (deleted)" where it says so. */
export function shownPath({ path, deleted }: FoundPath): string | undefined {
  return deleted && path !== undefined ? `${path} (deleted)` : path;
}

function foundAt(prefix: Prefix | undefined, first: Dentry): FoundPath {
  if (prefix === undefined) return NOT_FOUND;
  const start = prefix.start === "?" ? undefined : prefix.start;
  return { path: prefix.path || "/", deleted: isUnlinked(first), start };
}

/** `d_unlinked`. */
function isUnlinked(dentry: Dentry): boolean {
  return dentry.hashed === false && dentry.parent !== dentry.address;
}

/** Neither null nor an error's number (MNT_NS_INTERNAL is -EINVAL): those lie in the last page of the address space. */
function isNamespace(pointer: bigint, pointerSize: number): boolean {
  const signed = BigInt.asIntN(8 * pointerSize, pointer);
  return signed > 0n || signed < -4095n;
}
