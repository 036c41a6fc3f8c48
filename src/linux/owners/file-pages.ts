/**
 * Which file an `address_space` is of, and what that is called.
 *
 * Facts: include/linux/fs.h (`struct address_space`, `inode`, `super_block`), include/linux/dcache.h (`d_alias`: the names of an inode),
 * fs/mount.h (`mnt_instance`: the mounts of a file system).
 */
import type { Routine } from "../../io/index.js";
import { deviceText, fileType } from "../files/file-flags.js";
import { PathResolver } from "../files/path.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkList } from "../objects/list.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, needStruct, offsetOf, place, record, word } from "../objects/record.js";
import { findPlace } from "../types/member-path.js";

const SPACE = record("address_space", { host: word("host") });
const INODE = record("inode", {
  number: word("i_ino"),
  superBlock: word("i_sb"),
  mapping: word("i_mapping"),
  own: place("i_data"),
  links: maybe(int("i_nlink", "__i_nlink")),
  mode: int("i_mode"),
  blockDevice: int("i_rdev"),
  names: word("i_dentry.first"),
});
const SUPER_BLOCK = record("super_block", {
  device: int("s_dev"),
  root: word("s_root"),
  mounts: place("s_mounts"),
});
const MOUNT = record("mount", {
  vfsmount: place("mnt"),
  root: word("mnt.mnt_root"),
  namespace: word("mnt_ns"),
});
const DENTRY = record("dentry", { node: place("d_u.d_alias", "d_alias") });

/** A file that has pages in memory. @internal */
export interface CachedFile {
  readonly path: string | undefined;
  readonly deleted: boolean;
  readonly inode: bigint;
  readonly device: string | undefined;
  readonly blockDevice: string | null | undefined;
  /** Of its `struct inode`. */
  readonly address: bigint;
}

/** The files of some `address_space`s, by address; those that are none, or of no inode, are left out. @internal */
export function* readCachedFiles(
  data: KernelData,
  mappings: readonly bigint[],
  report: OnDamage,
): Routine<ReadonlyMap<bigint, CachedFile>> {
  const distinct = [...new Set(mappings)];
  const spaces = yield* readEach(data, SPACE, distinct, "an address_space", report);
  const hosts = spaces.map((space) => space?.host ?? 0n);
  const inodes = yield* readEach(data, INODE, hosts, "an inode", report);
  const found = distinct.flatMap((mapping, i) => {
    const host = hosts[i] as bigint;
    const inode = inodes[i];
    if (host === 0n || inode === undefined) return [];
    if (inode.mapping !== mapping && inode.own !== mapping) {
      report(damage("an address_space", mapping, "mismatch", 0, "its inode has another one"));
      return [];
    }
    return [{ mapping, host, inode }];
  });
  const supers = yield* readEach(
    data,
    SUPER_BLOCK,
    found.map(({ inode }) => inode.superBlock),
    "a super_block",
    report,
  );
  const mounts = new Map<bigint, bigint | undefined>();
  for (const [i, { inode }] of found.entries()) {
    const at = inode.superBlock ?? 0n;
    const sb = supers[i];
    if (sb?.mounts !== undefined && !mounts.has(at)) {
      mounts.set(at, yield* mountOf(data, sb.mounts, sb.root, report));
    }
  }
  const alias = DENTRY.on(data.types).offsetOf("node") ?? 0;
  const dentries = found.map(({ inode }) =>
    inode.names === undefined || inode.names === 0n ? 0n : BigInt.asUintN(64, inode.names - BigInt(alias)),
  );
  const resolver = new PathResolver(data, report);
  const pairs = found.map(({ inode }, i) => ({
    mount: mounts.get(inode.superBlock ?? 0n) ?? 0n,
    dentry: dentries[i] as bigint,
  }));
  const usable = pairs.filter(({ mount, dentry }) => mount !== 0n && dentry !== 0n);
  const located = yield* resolver.locate(usable);
  const paths = new Map(usable.map((pair, i) => [pair, located[i]]));
  // What is mounted nowhere has a path in its own file system.
  const others = pairs.filter((pair) => pair.dentry !== 0n && !isPlace(paths.get(pair)));
  const within = yield* resolver.within(others.map(({ dentry }) => dentry));
  const inner = new Map(others.map((pair, i) => [pair, within[i]]));
  return new Map(
    found.map(({ mapping, host, inode }, i) => {
      const pair = pairs[i] as (typeof pairs)[number];
      const whole = paths.get(pair);
      const shown = isPlace(whole) ? whole?.path : inner.get(pair);
      const mark = DELETED.find((each) => shown?.endsWith(each));
      const sb = supers[i];
      return [
        mapping,
        {
          path: mark === undefined ? shown : shown?.slice(0, -mark.length),
          deleted: whole?.deleted === true || mark !== undefined || inode.links === 0,
          inode: inode.number ?? 0n,
          device: sb?.device === undefined ? undefined : deviceText(sb.device),
          blockDevice: blockDeviceOf(inode),
          address: host,
        },
      ];
    }),
  );
}

/** The device whose blocks are cached, of an inode that stands for one. */
function blockDeviceOf({
  mode,
  blockDevice,
}: {
  mode?: number;
  blockDevice?: number;
}): string | null | undefined {
  if (mode === undefined) return undefined;
  if (fileType(mode) !== "blk") return null;
  return blockDevice === undefined ? undefined : deviceText(blockDevice);
}

/** What is added to what was deleted: by `PathResolver.within`, and by who makes up the names of shared memory. */
const DELETED = ["//deleted", " (deleted)"];

function isPlace(
  found: { readonly path: string | undefined; readonly start: string | undefined } | undefined,
): boolean {
  return found?.path !== undefined && found.start !== "outside";
}

/** A mount of a file system, as paths point to it: one of all of it that is in a namespace, if there is one. */
function* mountOf(
  data: KernelData,
  head: bigint,
  root: bigint | undefined,
  report: OnDamage,
): Routine<bigint | undefined> {
  const { types, memory } = data;
  // (Since 6.18 it is no list any more.)
  if (findPlace(needStruct(types, "mount"), "mnt_instance") === undefined) return undefined;
  const offset = BigInt(offsetOf(types, "mount", "mnt_instance"));
  const nodes = yield* walkList(memory, head, "the mounts of a file system", report);
  const rows = yield* MOUNT.on(types).read(
    memory,
    nodes.map((node) => node - offset),
  );
  const known = rows.flatMap(({ value }) => (value === undefined ? [] : [value]));
  const inNamespace = (namespace: bigint) => {
    const signed = BigInt.asIntN(8 * memory.pointerSize, namespace);
    return signed !== 0n && (signed > 0n || signed < -4095n);
  };
  const rank = ({ root: own, namespace }: (typeof known)[number]) =>
    (own === root ? 2 : 0) + (inNamespace(namespace) ? 1 : 0);
  return known.sort((a, b) => rank(b) - rank(a))[0]?.vfsmount;
}
