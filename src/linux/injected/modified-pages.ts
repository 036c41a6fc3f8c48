/**
 * Pages of private file mappings that a process has a copy of its own of, and what that copy has that the file has not.
 *
 * Facts: mm/memory.c (`do_wp_page`: who writes to a private mapping gets an anonymous page in the file's place), include/linux/fs.h (`f_mapping`).
 */
import type { Routine } from "../../io/index.js";
import { readPartial } from "../../io/requests.js";
import type { KernelData } from "../kernel-data.js";
import type { OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { place, record, word } from "../objects/record.js";
import type { CachedRun } from "../pagecache/cached-file.js";
import { readEntries } from "../pagecache/file-entries.js";
import type { PageArray } from "../pages/index.js";

/** A page of a file mapping that the process wrote to. */
export interface ModifiedPage {
  readonly address: bigint;
  /** Bytes that are not those of the file's page in the page cache; `undefined` if that page is not in memory. */
  readonly differing: number | undefined;
  /** Offset of the first of them in the page; `undefined` if none is known. */
  readonly first: number | undefined;
}

const FILE = record("file", { mapping: word("f_mapping") });
const SPACE = record("address_space", { pages: place("i_pages", "page_tree") });

/** What files have in the page cache, read when it is first asked for. @internal */
export class CachedPages {
  readonly #data: KernelData;
  readonly #array: PageArray;
  readonly #report: OnDamage;
  /** Of each `struct file`, which any number of may be of one file: its `address_space`. */
  readonly #mappings = new Map<bigint, bigint>();
  /** By the address of an `address_space`; ascending. */
  readonly #runs = new Map<bigint, readonly CachedRun[]>();
  readonly #taken = new Set<bigint>();

  constructor(data: KernelData, array: PageArray, report: OnDamage) {
    this.#data = data;
    this.#array = array;
    this.#report = report;
  }

  /** Physical address of a file's page at an offset; `undefined` if it is not in memory. */
  *at(file: bigint, offset: number): Routine<number | undefined> {
    const mapping = this.#mappings.get(file) ?? (yield* this.#mappingOf(file));
    let runs = this.#runs.get(mapping);
    if (runs === undefined) {
      runs = yield* this.#read(mapping);
      this.#runs.set(mapping, runs);
    }
    let [low, high] = [0, runs.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((runs[middle] as CachedRun).end <= offset) low = middle + 1;
      else high = middle;
    }
    const run = runs[low];
    return run?.uptodate === true && run.start <= offset ? run.physical + offset - run.start : undefined;
  }

  *#mappingOf(file: bigint): Routine<bigint> {
    const [fields] = yield* readEach(this.#data, FILE, [file], "a struct file", this.#report);
    const mapping = fields?.mapping ?? 0n;
    this.#mappings.set(file, mapping);
    return mapping;
  }

  *#read(mapping: bigint): Routine<readonly CachedRun[]> {
    const [space] = yield* readEach(this.#data, SPACE, [mapping], "an address_space", this.#report);
    if (space?.pages === undefined) return [];
    const of = {
      mapping,
      pages: space.pages,
      isShmem: false,
      isHugetlb: false,
      isDax: false,
      isInMemory: false,
      pageCount: undefined,
      size: Number.MAX_SAFE_INTEGER,
      what: "the pages of a mapped file",
    };
    return (yield* readEntries(this.#data, this.#array, of, this.#report, this.#taken)).runs;
  }
}

/** Compares a process's copy with the file's page. @internal */
export function* compareWithFile(
  { kernel }: KernelData,
  address: bigint,
  own: number,
  cached: number | undefined,
  pageSize: number,
): Routine<ModifiedPage> {
  const unknown: ModifiedPage = { address, differing: undefined, first: undefined };
  if (cached === undefined) return unknown;
  const { physical } = kernel.memory;
  const mine = new Uint8Array(pageSize);
  const files = new Uint8Array(pageSize);
  const one = yield* readPartial(physical, own, mine);
  const other = yield* readPartial(physical, cached, files);
  if (one.holes.length > 0 || other.holes.length > 0) return unknown;
  let differing = 0;
  let first: number | undefined;
  for (let i = 0; i < pageSize; i++) {
    if (mine[i] === files[i]) continue;
    differing++;
    first ??= i;
  }
  return { address, differing, first };
}
