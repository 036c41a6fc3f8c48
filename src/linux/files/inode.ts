/**
 * Inodes, and what they are called: by the names that lead to them, where their file system is mounted.
 *
 * Facts: include/linux/fs.h (`struct inode`, `super_block`), include/linux/dcache.h (`d_alias`: the names of an inode), fs/mount.h
 * (`mnt_instance`: the mounts of a file system).
 */
import type { Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { DisjointLists } from "../objects/list.js";
import { readEach } from "../objects/read-each.js";
import { int, maybe, needStruct, offsetOf, place, record, type Values, word } from "../objects/record.js";
import { findPlace } from "../types/member-path.js";
import { deviceText, type FileType, fileType } from "./file-flags.js";
import { PathResolver } from "./path.js";

const INODE = record("inode", {
  number: word("i_ino"),
  superBlock: word("i_sb"),
  mapping: word("i_mapping"),
  own: place("i_data"),
  links: maybe(int("i_nlink", "__i_nlink")),
  mode: int("i_mode"),
  size: word("i_size"),
  flags: int("i_flags"),
  blockDevice: int("i_rdev"),
  names: word("i_dentry.first"),
  pageCount: word("i_data.nrpages"),
  pages: place("i_data.i_pages", "i_data.page_tree"),
  firstPage: word("i_data.i_pages.xa_head", "i_data.page_tree.rnode"),
});
const SUPER_BLOCK = record("super_block", {
  device: int("s_dev"),
  magic: word("s_magic"),
  type: word("s_type"),
  root: word("s_root"),
  mounts: place("s_mounts"),
});
const MOUNT = record("mount", {
  vfsmount: place("mnt"),
  root: word("mnt.mnt_root"),
  namespace: word("mnt_ns"),
});
const DENTRY = record("dentry", { node: place("d_u.d_alias", "d_alias") });

/** Fields of a `struct inode`; those that could be read. @internal */
export type InodeFields = Partial<Values<typeof INODE.fields>>;

/** An inode and its name. @internal */
export interface NamedInode {
  /** Of its `struct inode`. */
  readonly address: bigint;
  readonly fields: InodeFields;
  /** The file system's. */
  readonly superBlock: Partial<Values<typeof SUPER_BLOCK.fields>> | undefined;
  /**
   * Where it is in a mount namespace, in the one that is preferred if it is there; of a file system that is mounted nowhere, from that
   * one's own root. Without " (deleted)".
   */
  readonly path: string | undefined;
  /** Whether it has no name, or no links, any more. */
  readonly deleted: boolean;
  readonly device: string | undefined;
  readonly type: FileType | undefined;
  /** Of inodes of block devices: which; `null` for others. */
  readonly blockDevice: string | null | undefined;
}

/** What is added to what was deleted: by `PathResolver.within`, and by who makes up the names of shared memory. */
const DELETED = ["//deleted", " (deleted)"];

/** Names inodes, many at a time. What was found of file systems and directories is kept. @internal */
export class InodeNamer {
  readonly #data: KernelData;
  readonly #report: OnDamage;
  readonly #resolver: PathResolver;
  readonly #preferred: bigint | undefined;
  /** By super block: the mount that paths are told by. */
  readonly #mounts = new Map<bigint, bigint | undefined>();
  readonly #mountLists: DisjointLists;

  /** @param preferred Address of the mount namespace whose mounts are preferred. */
  constructor(data: KernelData, report: OnDamage, preferred?: bigint) {
    this.#data = data;
    this.#report = report;
    this.#preferred = preferred;
    this.#resolver = new PathResolver(data, report);
    this.#mountLists = new DisjointLists(data.memory, "the mounts of a file system", report);
  }

  /** Reads the inodes at some addresses; those of which nothing can be read are left out. */
  *read(addresses: readonly bigint[]): Routine<Map<bigint, InodeFields>> {
    const rows = yield* readEach(this.#data, INODE, addresses, "an inode", this.#report);
    const found = new Map<bigint, InodeFields>();
    for (const [i, address] of addresses.entries()) {
      const row = rows[i];
      if (row !== undefined) found.set(address, row);
    }
    return found;
  }

  /** Names inodes that were read, in their order. */
  *name(inodes: ReadonlyMap<bigint, InodeFields>): Routine<NamedInode[]> {
    const found = [...inodes];
    const data = this.#data;
    const supers = yield* readEach(
      data,
      SUPER_BLOCK,
      found.map(([, { superBlock }]) => superBlock),
      "a super_block",
      this.#report,
    );
    for (const [i, [, { superBlock = 0n }]] of found.entries()) {
      const sb = supers[i];
      if (sb?.mounts !== undefined && !this.#mounts.has(superBlock)) {
        this.#mounts.set(superBlock, yield* this.#mountOf(sb.mounts, sb.root));
      }
    }
    const alias = BigInt(DENTRY.on(data.types).offsetOf("node") ?? 0);
    const pairs = found.map(([, { names = 0n, superBlock = 0n }]) => ({
      mount: this.#mounts.get(superBlock) ?? 0n,
      dentry: names === 0n ? 0n : BigInt.asUintN(64, names - alias),
    }));
    const usable = pairs.filter(({ mount, dentry }) => mount !== 0n && dentry !== 0n);
    const located = yield* this.#resolver.locate(usable);
    const paths = new Map(usable.map((pair, i) => [pair, located[i]]));
    // What is mounted nowhere has a path in its own file system.
    const others = pairs.filter((pair) => pair.dentry !== 0n && !isPlace(paths.get(pair)));
    const within = yield* this.#resolver.within(others.map(({ dentry }) => dentry));
    const inner = new Map(others.map((pair, i) => [pair, within[i]]));
    return found.map(([address, fields], i) => {
      const pair = pairs[i] as (typeof pairs)[number];
      const whole = paths.get(pair);
      const shown = isPlace(whole) ? whole?.path : inner.get(pair);
      const mark = DELETED.find((each) => shown?.endsWith(each));
      const sb = supers[i];
      return {
        address,
        fields,
        superBlock: sb,
        path: mark === undefined ? shown : shown?.slice(0, -mark.length),
        deleted: whole?.deleted === true || mark !== undefined || fields.links === 0,
        device: sb?.device === undefined ? undefined : deviceText(sb.device),
        type: fields.mode === undefined ? undefined : fileType(fields.mode),
        blockDevice: blockDeviceOf(fields),
      };
    });
  }

  /** A mount of a file system, as paths point to it: one of all of it that is in a namespace, if there is one. */
  *#mountOf(head: bigint, root: bigint | undefined): Routine<bigint | undefined> {
    const { types, memory } = this.#data;
    // (Since 6.18 it is no list any more.)
    if (findPlace(needStruct(types, "mount"), "mnt_instance") === undefined) return undefined;
    const offset = BigInt(offsetOf(types, "mount", "mnt_instance"));
    const nodes = yield* this.#mountLists.walk(head);
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
      (own === root ? 4 : 0) +
      (this.#preferred !== undefined && namespace === this.#preferred ? 2 : 0) +
      (inNamespace(namespace) ? 1 : 0);
    return known.sort((a, b) => rank(b) - rank(a))[0]?.vfsmount;
  }
}

/** The device whose blocks are cached, of an inode that stands for one. */
function blockDeviceOf({ mode, blockDevice }: InodeFields): string | null | undefined {
  if (mode === undefined) return undefined;
  if (fileType(mode) !== "blk") return null;
  return blockDevice === undefined ? undefined : deviceText(blockDevice);
}

function isPlace(
  found: { readonly path: string | undefined; readonly start: string | undefined } | undefined,
): boolean {
  return found?.path !== undefined && found.start !== "outside";
}
