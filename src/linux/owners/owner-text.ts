/** Owners in a line for people. */
import { hex } from "../../io/index.js";
import type { Owner, PlainOwner } from "./owner.js";

/** What an owner is, beside its kind, its process and its address: "/bin/busybox, at 0x1000", "dentry, in 0xffff8880… at 0x20". */
export function ownerText(owner: Owner): string {
  switch (owner.kind) {
    case "process":
      return joined([processText(owner.comm), owner.path === undefined ? "?" : owner.path, owner.rights]);
    case "page cache":
      return joined([fileText(owner), `at ${hex(BigInt(owner.offset))}`]);
    case "swap cache":
      return `swap area ${owner.type}, page ${owner.slot}`;
    case "kernel":
      return joined([owner.section, symbolText(owner)]);
    case "module":
    case "bpf":
      return joined([owner.kind === "bpf" ? "" : owner.module, symbolText(owner)]);
    case "vmalloc":
      return joined([owner.caller ?? "?", `${hex(owner.start)} to ${hex(owner.end)}`]);
    case "stack":
      return processText(owner.comm);
    case "per-cpu":
      return joined([owner.cpu === undefined ? "" : `CPU ${owner.cpu}`, symbolText(owner)]);
    case "page table": {
      const whose =
        owner.pid === null ? "the kernel's" : owner.pid === undefined ? "?" : processText(owner.comm);
      return joined([whose, owner.level === undefined ? "" : `level ${owner.level}`]);
    }
    case "slab":
      return joined([owner.cache ?? "?", objectText(owner)]);
    case "free":
      return joined([
        owner.order === undefined ? "in no list that was found" : pagesText(owner.order),
        owner.list === "cpu" ? "in a CPU's list" : "",
      ]);
    case "page structures":
      return `of ${hex(BigInt(owner.describes))}`;
    case "reserved":
    case "no page structure":
      return owner.name ?? "";
    case "zero page":
      return owner.isHuge ? "the large one" : "";
    default:
      return plainText(owner);
  }
}

function joined(parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== "").join(", ");
}

function processText(comm: string | undefined): string {
  return comm ?? "?";
}

function fileText(owner: Owner & { kind: "page cache" }): string {
  const { path, deleted, inode, device, blockDevice } = owner;
  const text =
    path ??
    (blockDevice === undefined || blockDevice === null
      ? `inode ${inode} of ${device ?? "?"}`
      : `block device ${blockDevice}`);
  return deleted ? `${text} (deleted)` : text;
}

function symbolText({
  symbol,
  symbolOffset,
}: {
  readonly symbol: string | undefined;
  readonly symbolOffset: bigint | undefined;
}): string | undefined {
  if (symbol === undefined || symbolOffset === undefined) return symbol;
  return symbolOffset === 0n ? symbol : `${symbol}+${hex(symbolOffset)}`;
}

function objectText({ object, objectOffset, isFree }: Owner & { kind: "slab" }): string | undefined {
  if (object === undefined || objectOffset === undefined) return undefined;
  const state = isFree === undefined ? "" : isFree ? " (free)" : "";
  return `${hex(object)}+${hex(BigInt(objectOffset))}${state}`;
}

function pagesText(order: number): string {
  return order === 0 ? "a page" : `a block of ${2 ** order} pages`;
}

function plainText({ flags, type, order, why }: PlainOwner): string {
  return joined([
    why,
    type,
    order === undefined ? "" : `one of ${2 ** order} pages`,
    flags.length === 0 ? "" : flags.join("|"),
  ]);
}
