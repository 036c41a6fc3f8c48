/**
 * Directory entries and mounts of a kernel: what a path is made of, read many at a time and kept.
 *
 * Facts: include/linux/dcache.h (`struct dentry`, `struct qstr`, DNAME_INLINE_LEN), include/linux/mount.h (`struct vfsmount`),
 * fs/mount.h (`struct mount`, `real_mount`). A name of up to a few dozen bytes lies in its dentry: `d_iname`, or,
 * since 6.14 ("dcache: back inline names with a struct-wrapped array of unsigned long"), `d_shortname`; a longer one elsewhere.
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { int, offsetOf, place, type Row, raw, record, textAt, type Values, word } from "../objects/record.js";

/** NAME_MAX: longer names are not believed. */
const MAX_NAME = 255;

const DENTRY = record("dentry", {
  parent: word("d_parent"),
  /** Null for what is in no table of names: it was deleted, or never had a name. */
  hashed: word("d_hash.pprev"),
  nameAt: word("d_name.name"),
  nameLength: int("d_name.len"),
  inline: raw("d_shortname", "d_iname"),
  inlineAt: place("d_shortname", "d_iname"),
  inode: word("d_inode"),
  op: word("d_op"),
  fsdata: word("d_fsdata"),
});

const MOUNT = record("mount", {
  parent: word("mnt_parent"),
  mountpoint: word("mnt_mountpoint"),
  root: word("mnt.mnt_root"),
  namespace: word("mnt_ns"),
});

/** A directory entry. */
export interface Dentry {
  readonly address: bigint;
  /** That of its parent, or its own. */
  readonly parent: bigint;
  /** This and what follows is `undefined` if it can't be read. */
  readonly name: string | undefined;
  readonly hashed: boolean | undefined;
  /** Addresses of its inode (0n for a name that nothing has), its `dentry_operations` (or 0n), and what those keep in it. */
  readonly inode: bigint | undefined;
  readonly op: bigint | undefined;
  readonly fsdata: bigint | undefined;
}

/** A mount, as a path sees it. All are addresses. */
export interface MountLink {
  /** Of its `struct mount`. */
  readonly address: bigint;
  /** Of the `struct mount` that it is mounted on, or its own. */
  readonly parent: bigint;
  /** The dentry that it covers there. */
  readonly mountpoint: bigint;
  /** The dentry that is seen instead. */
  readonly root: bigint;
  /** Its mount namespace: 0n for what is unmounted, an error's number for the kernel's own. `undefined` if it can't be read. */
  readonly namespace: bigint | undefined;
}

/** Dentries and mounts that were read once. */
export class DentryCache {
  readonly #data: KernelData;
  readonly #report: OnDamage;
  readonly #dentries = new Map<bigint, Dentry | undefined>();
  readonly #mounts = new Map<bigint, MountLink | undefined>();
  /** From a `struct mount` to its `struct vfsmount`, which is what paths point to. */
  readonly #vfsmount: bigint;

  constructor(data: KernelData, report: OnDamage) {
    this.#data = data;
    this.#report = report;
    this.#vfsmount = BigInt(offsetOf(data.types, "mount", "mnt"));
  }

  /** Address of the `struct mount` of a `struct vfsmount`. */
  mountOf(vfsmount: bigint): bigint {
    return BigInt.asUintN(64, vfsmount - this.#vfsmount);
  }

  /** One that was loaded; `undefined` if it can't be read. */
  dentry(address: bigint): Dentry | undefined {
    return this.#dentries.get(address);
  }

  /** One that was loaded, by the address of its `struct mount`. */
  mount(address: bigint): MountLink | undefined {
    return this.#mounts.get(address);
  }

  /** Reads those of these that are not known yet, as one batch. @returns those that are new and could be read. */
  *loadDentries(addresses: Iterable<bigint>): Routine<Dentry[]> {
    const wanted = unknown(addresses, this.#dentries);
    if (wanted.length === 0) return [];
    const rows = yield* DENTRY.on(this.#data.types).read(this.#data.memory, wanted);
    const names = yield* this.#names(rows);
    const found: Dentry[] = [];
    for (const [i, { address, partial, fault }] of rows.entries()) {
      if (fault !== 0) this.#report(damage("a dentry", address, "unreadable", fault));
      const { parent, inode, op, fsdata } = partial;
      if (parent === undefined) {
        this.#dentries.set(address, undefined);
        continue;
      }
      const hashed = partial.hashed === undefined ? undefined : partial.hashed !== 0n;
      const dentry = { address, parent, name: names[i], hashed, inode, op, fsdata };
      this.#dentries.set(address, dentry);
      found.push(dentry);
    }
    return found;
  }

  /** As `loadDentries`. @param addresses Of `struct mount`s. */
  *loadMounts(addresses: Iterable<bigint>): Routine<MountLink[]> {
    const wanted = unknown(addresses, this.#mounts);
    if (wanted.length === 0) return [];
    const found: MountLink[] = [];
    const rows = yield* MOUNT.on(this.#data.types).read(this.#data.memory, wanted);
    for (const { address, partial, fault } of rows) {
      if (fault !== 0) this.#report(damage("a mount", address, "unreadable", fault));
      const { parent, mountpoint, root, namespace } = partial;
      const isLink = parent !== undefined && mountpoint !== undefined && root !== undefined;
      const mount = isLink ? { address, parent, mountpoint, root, namespace } : undefined;
      if (mount !== undefined) found.push(mount);
      this.#mounts.set(address, mount);
    }
    return found;
  }

  *#names(rows: readonly Row<Values<typeof DENTRY.fields>>[]): Routine<(string | undefined)[]> {
    const names = new Array<string | undefined>(rows.length);
    // By their length, as those of one length are one batch.
    const elsewhere = new Map<number, number[]>();
    for (const [i, { address, partial }] of rows.entries()) {
      const { nameAt, nameLength, inline, inlineAt } = partial;
      const isInline = nameAt === inlineAt;
      const most = isInline ? inline?.length : MAX_NAME;
      if (nameAt === undefined || nameLength === undefined || most === undefined) continue;
      if (nameLength > most) {
        const more = `a name of ${nameLength} bytes can't be`;
        this.#report(damage("the name of a dentry", address, "invalid", 0, more));
      } else if (isInline) {
        names[i] = textAt(inline as Uint8Array, 0, nameLength);
      } else if (nameLength === 0) {
        names[i] = "";
      } else {
        const same = elsewhere.get(nameLength);
        if (same === undefined) elsewhere.set(nameLength, [i]);
        else same.push(i);
      }
    }
    for (const [length, indices] of elsewhere) {
      const addresses = indices.map((i) => rows[i]?.partial.nameAt as bigint);
      const gathered = yield* this.#data.memory.gather(addresses, length);
      for (const [k, i] of indices.entries()) {
        const fault = gathered.faultOf(k);
        if (fault === 0) names[i] = textAt(gathered.bytes, k * length, (k + 1) * length);
        else this.#report(damage("the name of a dentry", addresses[k] as bigint, "unreadable", fault));
      }
    }
    return names;
  }
}

function unknown(addresses: Iterable<bigint>, known: ReadonlyMap<bigint, unknown>): bigint[] {
  const wanted = new Set<bigint>();
  for (const address of addresses) if (address !== 0n && !known.has(address)) wanted.add(address);
  return [...wanted];
}
