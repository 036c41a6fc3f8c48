/**
 * What is cached of the files that processes map, by the address of a `struct file`: pages that are in no page table of theirs among it.
 *
 * Facts: include/linux/fs.h (`struct file`: `f_mapping`, which is that of the inode whose pages are mapped).
 */
import { MemtoolError, type Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { InodeNamer } from "../files/inode.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage, once } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { record, word } from "../objects/record.js";
import { findPageArray, type PageArray } from "../pages/index.js";
import type { CachedContent } from "./cached-file.js";
import { type FilePart, fileParts, partsMemory } from "./file-bytes.js";
import { readContent, sizeOfInode } from "./read-content.js";

const FILE = record("file", { mapping: word("f_mapping") });
const SPACE = record("address_space", { host: word("host") });
const SUPER_BLOCK = record("super_block", { magic: word("s_magic") });

/** What is cached of one file. @internal */
export interface MappedFile {
  /** Its bytes by their places in it. Of its last page also what lies behind its end: whoever maps it sees that. */
  readonly memory: AddressSpace<number>;
  /** Where in the file bytes are, in memory or in a swap area; ascending. */
  readonly there: readonly FilePart[];
}

/** Finds files, and reads what is cached of each once. @internal */
export class MappedFiles {
  readonly #data: KernelData;
  readonly #report: OnDamage;
  /** By the address of the `struct file`, and by that of the `address_space`. */
  readonly #files = new Map<bigint, MappedFile | undefined>();
  readonly #spaces = new Map<bigint, MappedFile | undefined>();
  readonly #taken = new Set<bigint>();
  /** `null` if it is not known where page structures are. */
  #array: PageArray | null | undefined;

  constructor(data: KernelData, report: OnDamage) {
    this.#data = data;
    this.#report = once(report);
  }

  /** Of the `struct file` at an address; `undefined` if nothing is cached of it, or what says so can't be read. */
  *of(file: bigint): Routine<MappedFile | undefined> {
    if (file === 0n) return undefined;
    if (!this.#files.has(file)) {
      const [row] = yield* readEach(this.#data, FILE, [file], "a file", this.#report);
      this.#files.set(file, row?.mapping === undefined ? undefined : yield* this.#ofSpace(row.mapping));
    }
    return this.#files.get(file);
  }

  *#ofSpace(space: bigint): Routine<MappedFile | undefined> {
    if (space === 0n) return undefined;
    if (!this.#spaces.has(space)) this.#spaces.set(space, yield* this.#read(space));
    return this.#spaces.get(space);
  }

  *#read(space: bigint): Routine<MappedFile | undefined> {
    const data = this.#data;
    const array = yield* this.#pageArray();
    if (array === null) return undefined;
    const [row] = yield* readEach(data, SPACE, [space], "an address_space", this.#report);
    const host = row?.host ?? 0n;
    if (host === 0n) return undefined;
    const fields = (yield* new InodeNamer(data, this.#report).read([host])).get(host);
    if (fields === undefined || fields.firstPage === 0n) return undefined;
    if (fields.own !== space) {
      this.#report(damage("an address_space", space, "mismatch", 0, "its inode has another one"));
      return undefined;
    }
    const [sb] = yield* readEach(data, SUPER_BLOCK, [fields.superBlock], "a super_block", this.#report);
    const size = sizeOfInode(fields, host, this.#report);
    // (Of a file without an end nothing says which pages are its own.)
    if (size === undefined) return undefined;
    const what = `the pages of inode ${fields.number ?? "?"}`;
    const magic = sb?.magic;
    const content = yield* readContent(data, array, fields, size, magic, what, this.#report, this.#taken);
    const parts = wholePages(content, array.pageSize);
    const there = parts.filter(({ kind }) => kind === "memory" || kind === "swap");
    return there.length === 0 ? undefined : { memory: partsMemory(data.kernel, parts, what), there };
  }

  *#pageArray(): Routine<PageArray | null> {
    if (this.#array === undefined) {
      try {
        this.#array = yield* findPageArray(this.#data, this.#report);
      } catch (error) {
        if (!(error instanceof MemtoolError)) throw error;
        this.#report(damage("the pages of files", 0n, "unreadable", 0, error.message));
        this.#array = null;
      }
    }
    return this.#array;
  }
}

/** The parts of a file, the last one up to the end of its page. */
function wholePages(content: CachedContent, pageSize: number): FilePart[] {
  const parts = fileParts(content);
  const last = parts.at(-1);
  if (last !== undefined && (last.kind === "memory" || last.kind === "swap")) {
    parts[parts.length - 1] = { ...last, end: Math.ceil(last.end / pageSize) * pageSize };
  }
  return parts;
}
