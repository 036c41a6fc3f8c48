/**
 * Names of what has no path: pipes, sockets, anonymous inodes, namespaces. The file system makes them when somebody asks, by a
 * function (`dentry_operations.d_dname`) that can't be run in a dump; which one it is, its symbol tells.
 *
 * Facts: fs/pipe.c (`pipefs_dname`), net/socket.c (`sockfs_dname`), fs/anon_inodes.c (`anon_inodefs_dname`), fs/nsfs.c
 * (`ns_dname`), fs/pidfs.c (`pidfs_dname`), fs/d_path.c (`simple_dname`: memfd, shared memory, and files of file systems that are never mounted),
 * drivers/dma-buf/dma-buf.c (`dmabuffs_dname`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, nameOfFunction } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { readEach } from "../objects/read-each.js";
import { hasStruct, record, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import type { Dentry } from "./dentry.js";

const OPERATIONS = record("dentry_operations", { dname: word("d_dname") });
const INODE = record("inode", { ino: word("i_ino"), private: word("i_private") });
const NAMESPACE = record("ns_common", { ops: word("ops") });
const NAMESPACE_OPERATIONS = record("proc_ns_operations", { name: word("name") });
const DMA_BUF = record("dma_buf", { name: word("name") });

/** What a name is made of beside its dentry's own. */
interface Parts {
  readonly dentry: Dentry;
  readonly ino: bigint | undefined;
  /** The kind of namespace, or a buffer's label. */
  readonly label: string | undefined;
}

type Rule = (parts: Parts) => string | undefined;

/** By the symbol of the function that makes the name. */
const RULES: Readonly<Record<string, Rule>> = {
  pipefs_dname: ({ ino }) => (ino === undefined ? undefined : `pipe:[${ino}]`),
  sockfs_dname: ({ ino }) => (ino === undefined ? undefined : `socket:[${ino}]`),
  anon_inodefs_dname: ({ dentry: { name } }) => (name === undefined ? undefined : `anon_inode:${name}`),
  simple_dname: ({ dentry: { name } }) => (name === undefined ? undefined : `/${name} (deleted)`),
  ns_dname: ({ ino, label }) => (ino === undefined || label === undefined ? undefined : `${label}:[${ino}]`),
  // As it was while pidfds were anonymous inodes: since 6.9 (cb12fd8e0dab).
  pidfs_dname: () => "anon_inode:[pidfd]",
  dmabuffs_dname: ({ dentry: { name }, label }) =>
    name === undefined ? undefined : `/${name}:${label ?? ""}`,
};

/** Names that were asked for, and the operations that were seen. */
export class DynamicNames {
  readonly #data: KernelData;
  readonly #report: OnDamage;
  /** Symbols of `d_dname` by the address of the operations; "" for operations without one, `undefined` if they can't be read. */
  readonly #makers = new Map<bigint, string | undefined>([[0n, ""]]);

  constructor(data: KernelData, report: OnDamage) {
    this.#data = data;
    this.#report = report;
  }

  /**
   * The symbol of the function that makes the name of each dentry: "" where its name is its own, `undefined` if its operations
   * can't be read.
   */
  *makersOf(dentries: readonly Dentry[]): Routine<(string | undefined)[]> {
    const wanted = [...new Set(dentries.map(({ op }) => op))].filter(
      (op) => op !== undefined && !this.#makers.has(op),
    ) as bigint[];
    const found = yield* readEach(this.#data, OPERATIONS, wanted, "dentry_operations", this.#report);
    for (const [i, op] of wanted.entries()) {
      const dname = found[i]?.dname;
      if (dname === undefined || dname === 0n) this.#makers.set(op, dname === undefined ? undefined : "");
      else this.#makers.set(op, (yield* nameOfFunction(this.#data, dname)) ?? `0x${dname.toString(16)}`);
    }
    return dentries.map(({ op }) => (op === undefined ? undefined : this.#makers.get(op)));
  }

  /** The names that these functions make of these dentries. */
  *namesOf(dentries: readonly Dentry[], makers: readonly string[]): Routine<(string | undefined)[]> {
    const inodes = yield* readEach(
      this.#data,
      INODE,
      dentries.map(({ inode }) => inode),
      "an inode",
      this.#report,
    );
    const labels = yield* this.#labels(
      dentries,
      makers,
      inodes.map((inode) => inode?.private),
    );
    return dentries.map((dentry, i) => {
      const rule = Object.hasOwn(RULES, makers[i] as string) ? RULES[makers[i] as string] : undefined;
      if (rule === undefined) {
        const more = `${makers[i]} makes it, which memtool does not know`;
        this.#report(damage("the name of a dentry", dentry.address, "invalid", 0, more));
        return undefined;
      }
      return rule({ dentry, ino: inodes[i]?.ino, label: labels[i] });
    });
  }

  *#labels(
    dentries: readonly Dentry[],
    makers: readonly string[],
    privates: readonly (bigint | undefined)[],
  ): Routine<(string | undefined)[]> {
    const namespaces = privates.map((each, i) => (makers[i] === "ns_dname" ? each : undefined));
    const buffers = dentries.map(({ fsdata }, i) => (makers[i] === "dmabuffs_dname" ? fsdata : undefined));
    const pointers = new Array<bigint | undefined>(dentries.length);
    if (namespaces.some((each) => each !== undefined)) {
      const found = yield* readEach(this.#data, NAMESPACE, namespaces, "a namespace", this.#report);
      const ops = found.map((each) => each?.ops);
      const named = yield* readEach(
        this.#data,
        NAMESPACE_OPERATIONS,
        ops,
        "proc_ns_operations",
        this.#report,
      );
      for (const [i, each] of named.entries()) if (each !== undefined) pointers[i] = each.name;
    }
    if (buffers.some((each) => each !== undefined) && hasStruct(this.#data.types, "dma_buf")) {
      const found = yield* readEach(this.#data, DMA_BUF, buffers, "a dma_buf", this.#report);
      for (const [i, each] of found.entries()) if (each !== undefined) pointers[i] = each.name;
    }
    return yield* readStrings(this.#data.memory, pointers, "a name", this.#report);
  }
}
