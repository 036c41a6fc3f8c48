/** The pages of one file, by its inode. */
import type { Routine } from "../../io/index.js";
import type { InodeFields } from "../files/inode.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { PageArray } from "../pages/index.js";
import type { CachedContent } from "./cached-file.js";
import { readEntries } from "./file-entries.js";

/** Facts: include/uapi/linux/magic.h. */
const TMPFS = 0x0102_1994n;
const HUGETLBFS = 0x9584_58f6n;
/** Of file systems that keep files nowhere else: tmpfs, ramfs, hugetlbfs, secret memory. */
const IN_MEMORY: ReadonlySet<bigint> = new Set([TMPFS, 0x8584_58f6n, HUGETLBFS, 0x5345_434dn]);
/** S_DAX. */
const DAX = 0x2000;

/** The size of an inode; `undefined` if it can't be read, or is none, which is told. @internal */
export function sizeOfInode(fields: InodeFields, address: bigint, report: OnDamage): number | undefined {
  if (fields.size === undefined) return undefined;
  const size = BigInt.asIntN(64, fields.size);
  if (size >= 0n) return Number(size);
  report(damage("the size of an inode", address, "invalid", 0, `${size} bytes`));
  return undefined;
}

/**
 * Reads what an inode has in memory.
 *
 * @param magic Of its file system.
 * @param what For reports.
 * @param taken Nodes of other files' arrays: see `walkXarray`.
 * @internal
 */
export function* readContent(
  data: KernelData,
  array: PageArray,
  fields: InodeFields,
  size: number | undefined,
  magic: bigint | undefined,
  what: string,
  report: OnDamage,
  taken: Set<bigint>,
): Routine<CachedContent> {
  let whole = fields.firstPage !== undefined;
  const inMemory = magic !== undefined && IN_MEMORY.has(magic);
  const entries = yield* readEntries(
    data,
    array,
    {
      mapping: fields.own ?? 0n,
      pages: fields.pages ?? 0n,
      isShmem: magic === TMPFS,
      isHugetlb: magic === HUGETLBFS,
      isInMemory: inMemory,
      pageCount: fields.pageCount,
      isDax: ((fields.flags ?? 0) & DAX) !== 0,
      size: size ?? Number.MAX_SAFE_INTEGER,
      what,
    },
    (found) => {
      whole = false;
      report(found);
    },
    taken,
  );
  return { size, ...entries, inMemory, whole };
}
