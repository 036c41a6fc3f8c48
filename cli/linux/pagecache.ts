import { type CachedFile, type CachedName, listCachedFiles } from "../../src/linux/index.js";
import { matchesGlob } from "../../src/linux/names.js";
import { statusOf, UsageError } from "../errors.js";
import { parseByte } from "../parse.js";
import type { CommandOptions, KernelCommand, KernelContext } from "./command.js";
import { MAX_BYTES_OPTION, maxBytesOf } from "./extract-limit.js";
import { exact } from "./files.js";
import { DamageSummary, type ListColumn, showList } from "./listing.js";
import { type Extracted, extractFiles, writeRaw } from "./pagecache-extract.js";

const COLUMNS: readonly ListColumn<CachedFile>[] = [
  {
    field: "path",
    title: "PATH",
    value: ({ path, blockDevice }) => path ?? (blockDevice ? null : undefined),
    cell: nameOf,
  },
  {
    field: "inode",
    type: "integer",
    title: "INODE",
    right: true,
    value: ({ inode }) => exact(inode),
    cell: ({ inode }) => inode?.toString(),
  },
  { field: "device", title: "DEVICE", right: true, value: ({ device }) => device },
  { field: "fileSystem", title: "TYPE", value: ({ fileSystem }) => fileSystem },
  { field: "kind", value: ({ type }) => type },
  { field: "blockDevice", value: ({ blockDevice }) => blockDevice },
  { field: "size", type: "integer", title: "SIZE", right: true, value: ({ size }) => size },
  { field: "cached", type: "integer", title: "CACHED", right: true, value: ({ cached }) => cached },
  {
    field: "ranges",
    type: "json",
    title: "RANGES",
    right: true,
    value: ({ ranges }) => ranges.map(({ start, end }) => ({ start, end })),
    cell: ({ ranges }) => String(ranges.length),
  },
  { field: "swapped", type: "json", value: ({ swapped }) => swapped.map((run) => ({ ...run })) },
  {
    field: "dirty",
    type: "integer",
    title: "DIRTY",
    right: true,
    value: ({ runs }) => bytesOf(runs.filter(({ dirty }) => dirty)),
  },
  {
    field: "writeback",
    type: "integer",
    value: ({ runs }) => bytesOf(runs.filter(({ writeback }) => writeback)),
  },
  { field: "evicted", type: "integer", value: ({ evicted }) => evicted },
  { field: "inMemory", type: "boolean", value: ({ inMemory }) => inMemory },
  { field: "whole", type: "boolean", value: ({ whole }) => whole },
  { field: "links", type: "integer", value: ({ links }) => links },
  {
    field: "deleted",
    type: "boolean",
    title: "DELETED",
    value: ({ deleted }) => deleted,
    cell: ({ deleted }) => (deleted ? "yes" : ""),
  },
  { field: "pids", type: "json", title: "PIDS", value: ({ pids }) => pids, cell: pidsOf },
  { field: "address", type: "address", value: ({ address }) => address },
];

const EXTRACTED: readonly ListColumn<Extracted>[] = [
  { field: "path", title: "PATH", value: ({ file }) => file.path ?? null, cell: ({ file }) => nameOf(file) },
  {
    field: "inode",
    type: "integer",
    title: "INODE",
    right: true,
    value: ({ file }) => exact(file.inode),
    cell: ({ file }) => file.inode?.toString(),
  },
  { field: "device", title: "DEVICE", right: true, value: ({ file }) => file.device },
  {
    field: "deleted",
    type: "boolean",
    title: "DELETED",
    value: ({ file }) => file.deleted,
    cell: ({ file }) => (file.deleted ? "yes" : ""),
  },
  { field: "size", type: "integer", title: "SIZE", right: true, value: ({ file }) => file.size },
  { field: "written", type: "integer", title: "WRITTEN", right: true, value: ({ written }) => written },
  {
    field: "missing",
    type: "json",
    title: "MISSING",
    right: true,
    value: ({ missing }) => missing.map((each) => ({ ...each })),
    cell: ({ missing }) => String(bytesOf(missing)),
  },
  { field: "file", title: "FILE", value: ({ name }) => name },
  { field: "error", value: ({ error }) => error ?? null },
];

/** `memtool pagecache`. */
export const PAGECACHE: KernelCommand = {
  name: "pagecache",
  description: "files cached in memory, deleted ones that are still open among them: listed, and extracted",
  arguments: [["[pattern...]", "paths or patterns: /bin/busybox, '*.log'"]],
  options: [
    ["--deleted", "only files that were deleted and are still open or mapped"],
    ["--inode <number>", "only inodes of this number"],
    ["--extract <dir>", "write the files below DIR by their paths; what is not in memory are holes"],
    MAX_BYTES_OPTION,
    ["--format <format>", "raw: one file's bytes to standard output"],
    ["--fill <byte>", "with --format raw: stands for bytes that are missing"],
  ],
  examples: ["pagecache", "pagecache --deleted --extract /tmp/files", "pagecache /init --format raw"],
  ofProcess: true,
  check: (_args, options, { json }) => {
    inodeOf(options);
    const { format, fill, extract } = options;
    if (format !== undefined && format !== "raw")
      throw new UsageError(`--format ${String(format)}: raw is the only one`);
    if (format !== undefined && json === true)
      throw new UsageError("--json and --format raw exclude each other");
    if (format !== undefined && extract !== undefined)
      throw new UsageError("--format and --extract exclude each other");
    if (fill !== undefined && format === undefined) throw new UsageError("--fill is for --format raw");
    if (extract === "") throw new UsageError("--extract: the name of the folder is empty");
    if (typeof fill === "string") parseByte(fill);
    maxBytesOf(options);
  },
  run: async (context) => {
    const { session, kernel, options, pid } = context;
    const damage = new DamageSummary();
    const files = listCachedFiles(kernel, { pid, where: filterOf(context), onDamage: damage.add });
    const none = "no file that is cached matches";
    if (options.format !== undefined) {
      const fill = typeof options.fill === "string" ? parseByte(options.fill) : undefined;
      const whole = await writeRaw(session, kernel, files, fill, none);
      damage.report(session);
      return statusOf(true, damage.count > 0 || !whole);
    }
    if (typeof options.extract === "string") {
      let lacking = false;
      let failed = 0;
      const note = (each: Extracted) => {
        lacking ||= each.missing.length > 0 || each.error !== undefined;
        if (each.error !== undefined) failed++;
        if (each.isLast) session.warn(each.error ?? "");
      };
      const extracted = extractFiles(kernel, files, options.extract, maxBytesOf(options), note);
      const status = await showList(session, extracted, EXTRACTED, damage, none);
      if (failed > 0) {
        session.warn(
          `${failed} ${failed === 1 ? "file" : "files"} could not be written whole (--json tells why)`,
        );
      }
      return status === 0 && lacking ? statusOf(true, true) : status;
    }
    return await showList(session, files, COLUMNS, damage, none);
  },
};

/** Which files are meant. */
function filterOf({ args, options }: KernelContext): (file: CachedName) => boolean {
  const inode = inodeOf(options);
  return (file) =>
    (inode === undefined || file.inode === inode) &&
    (options.deleted !== true || file.deleted) &&
    (args.length === 0 || args.some((pattern) => file.path !== undefined && matchesGlob(pattern, file.path)));
}

/** @throws {UsageError} */
function inodeOf({ inode }: CommandOptions): bigint | undefined {
  if (inode === undefined) return undefined;
  if (typeof inode === "string" && /^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(inode)) return BigInt(inode);
  throw new UsageError(`--inode ${String(inode)}: not a number`);
}

function nameOf({ path, blockDevice }: CachedName): string | undefined {
  return path ?? (typeof blockDevice === "string" ? `(block device ${blockDevice})` : undefined);
}

/** Processes that are shown in a table; a library has hundreds. */
const SHOWN = 6;

function pidsOf({ pids }: CachedName): string {
  const more = pids.length > SHOWN ? ` and ${pids.length - SHOWN} more` : "";
  return pids.slice(0, SHOWN).join(", ") + more;
}

function bytesOf(ranges: readonly { readonly start: number; readonly end: number }[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}
