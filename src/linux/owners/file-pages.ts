/**
 * Which file an `address_space` is of, and what that is called.
 *
 * Facts: include/linux/fs.h (`struct address_space`, `inode`).
 */
import type { Routine } from "../../io/index.js";
import { type InodeFields, InodeNamer } from "../files/inode.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { record, word } from "../objects/record.js";

const SPACE = record("address_space", { host: word("host") });

/** A file that has pages in memory. @internal */
export interface FileOfPages {
  readonly path: string | undefined;
  readonly deleted: boolean;
  readonly inode: bigint;
  readonly device: string | undefined;
  readonly blockDevice: string | null | undefined;
  /** Of its `struct inode`. */
  readonly address: bigint;
}

/** The files of some `address_space`s, by address; those that are none, or of no inode, are left out. @internal */
export function* readFilesOfPages(
  data: KernelData,
  mappings: readonly bigint[],
  report: OnDamage,
): Routine<ReadonlyMap<bigint, FileOfPages>> {
  const distinct = [...new Set(mappings)];
  const spaces = yield* readEach(data, SPACE, distinct, "an address_space", report);
  const hosts = spaces.map((space) => space?.host ?? 0n);
  const namer = new InodeNamer(data, report);
  const inodes = yield* namer.read(hosts);
  const wanted = new Map<bigint, InodeFields>();
  const mappingsOf = new Map<bigint, bigint[]>();
  for (const [i, mapping] of distinct.entries()) {
    const host = hosts[i] as bigint;
    const inode = inodes.get(host);
    if (host === 0n || inode === undefined) continue;
    if (inode.mapping !== mapping && inode.own !== mapping) {
      report(damage("an address_space", mapping, "mismatch", 0, "its inode has another one"));
      continue;
    }
    wanted.set(host, inode);
    mappingsOf.set(host, [...(mappingsOf.get(host) ?? []), mapping]);
  }
  const found = new Map<bigint, FileOfPages>();
  for (const { address, fields, path, deleted, device, blockDevice } of yield* namer.name(wanted)) {
    const file = { path, deleted, inode: fields.number ?? 0n, device, blockDevice, address };
    for (const mapping of mappingsOf.get(address) ?? []) found.set(mapping, file);
  }
  return found;
}
