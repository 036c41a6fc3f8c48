/**
 * Memory of VMware's machines: `.vmem`, with the snapshot state (`.vmss`, `.vmsn`) of the same name beside it, or a snapshot
 * state that holds the memory itself, as older products write it.
 *
 * The snapshot state's group "memory" says where memory belongs, in up to a few regions of pages: between them lie holes
 * (that of PCI, under 4 GiB), which the memory's bytes do not have. Names of the tags: VMware's own reader in crash
 * (vmware_vmss.c) and Volatility's layers; `vmware-tags.ts` has the layout.
 *
 * Without the regions nobody knows where memory above 3 GiB belongs: then a `.vmem` is read as it lies only if there is no
 * snapshot state beside it; one that is there and damaged is an error, lest bytes seem to be where they are not.
 */
import { hex, type Routine } from "../../io/index.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import { FormatError, Warnings } from "../errors.js";
import { readStructure } from "../fields.js";
import { AT_TRUNCATED, Intervals, layIntervals, mapOfPieces, NO_MEMORY, PieceIo } from "../pieces.js";
import { raw } from "../raw/raw.js";
import type { DumpFile, DumpImage, Format, FormatContext } from "../types.js";
import { readVmwareCpus } from "./vmware-cpus.js";
import { isVmwareSnapshot, readVmwareHeader, TagReader, type VmwareHeader } from "./vmware-tags.js";

const PAGE = 4096;
/** Where the hole of PCI begins, at the earliest. */
const HOLE = 3 * 2 ** 30;
/** crash reads three. */
const MAX_REGIONS = 4096;

const AS_IT_LIES = "to read the .vmem as it lies, force the format raw (or give a memory map)";

/** VMware's memory. */
export const vmware: Format = {
  name: "vmware",
  takesMap: true,
  detect: (head, file) => isVmwareSnapshot(head) || isVmem(file.name),
  open: openVmware,
};

export function* openVmware(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const head = yield* readStructure(file, 0, Math.min(4, file.size), "first bytes");
  if (isVmwareSnapshot(head)) {
    if (context.memoryMap !== undefined) refuseMap(file);
    return yield* openSnapshot(file, undefined, (extension) => context.beside?.(otherName(file, extension)));
  }
  if (!isVmem(file.name)) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: file.name, offset: 0, field: "id" },
      "this is no snapshot state of VMware, and not called .vmem; leave the format to detection",
    );
  }
  // Whoever gives a map knows better.
  if (context.memoryMap !== undefined) return yield* raw.open(file, context);
  for (const extension of ["vmss", "vmsn"]) {
    const snapshot = context.beside?.(otherName(file, extension));
    if (snapshot !== undefined) return yield* openSnapshot(snapshot, file, () => undefined);
  }
  return yield* openAlone(file, context);
}

/** A map is for the `.vmem`: nobody knows the offsets of memory in a snapshot state. */
function refuseMap(file: DumpFile): never {
  throw new FormatError(
    "BAD_MEMORY_MAP",
    { file: file.name },
    "a memory map is for the .vmem, and this is VMware's snapshot state, which says itself where memory lies: leave the " +
      "map out, or give the .vmem",
  );
}

/** A `.vmem` without its snapshot state. */
function* openAlone(file: DumpFile, context: FormatContext): Routine<DumpImage> {
  const image = yield* raw.open(file, context);
  const warning =
    file.size > HOLE
      ? "physical memory from 3 GiB on is shifted by a hole whose size only the snapshot state tells: what is shown from " +
        "there on lies elsewhere; put the .vmss or .vmsn of the same name beside it, or give a memory map"
      : undefined;
  return {
    ...image,
    get map() {
      return image.map;
    },
    format: "vmware",
    description: "VMware memory, without its snapshot state (physical address = file offset)",
    warnings: [...image.warnings, ...(warning === undefined ? [] : [warning])],
  };
}

function isVmem(name: string): boolean {
  return /\.vmem$/i.test(name);
}

/** The file of the same name with another extension, without its folder; in capitals if this one's is. */
function otherName(file: DumpFile, extension: string): string {
  const name = file.name.slice(Math.max(file.name.lastIndexOf("/"), file.name.lastIndexOf("\\")) + 1);
  const stem = name.replace(/\.vm(em|ss|sn)$/i, "");
  const capitals = name !== stem && name.slice(stem.length) === name.slice(stem.length).toUpperCase();
  return `${stem}.${capitals ? extension.toUpperCase() : extension}`;
}

/** Where the memory's bytes are. */
interface Memory {
  readonly file: DumpFile;
  /** File offset and length in bytes. */
  readonly at: number;
  readonly size: number;
}

/** @param vmem The memory, if it is what was opened; else `find` looks for it if the snapshot state holds none. */
function* openSnapshot(
  snapshot: DumpFile,
  vmem: DumpFile | undefined,
  find: (extension: string) => DumpFile | undefined,
): Routine<DumpImage> {
  const warnings = new Warnings();
  const header = yield* readVmwareHeader(snapshot, warnings);
  const layout = yield* readMemoryGroup(snapshot, header, warnings);
  const memory = findMemory(snapshot, vmem, find, layout);
  const pieces = layRegions(memory, layout, snapshot, warnings);
  const { cpus, count, architecture } = yield* readVmwareCpus(snapshot, header, warnings);
  const regions = layout.regions.length;
  const place = memory.file === snapshot ? "in the snapshot state itself" : `in ${memory.file.name}`;
  let map: PhysicalMap | undefined;
  return {
    format: "vmware",
    description: `VMware memory, ${regions === 0 ? "one piece" : `${regions} regions`}, ${place}`,
    io: new PieceIo(memory.file, pieces, NO_MEMORY),
    get map() {
      map ??= mapOfPieces(pieces);
      return map;
    },
    notes: { cpus, architecture },
    warnings: warnings.list(),
    details: {
      id: hex(header.magic),
      version: header.version,
      groups: header.groups.length,
      snapshot: snapshot.name,
      memory: memory.file.name,
      memoryOffset: memory.at,
      memoryBytes: memory.size,
      regionsCount: layout.regionsCount,
      ...(layout.alignMask === undefined ? {} : { alignMask: hex(layout.alignMask) }),
      ...(count === undefined ? {} : { numVCPUs: count }),
    },
  };
}

/** A range of memory, in pages: where it belongs, and where it lies in the memory's bytes. */
interface Region {
  readonly regionPPN: number;
  readonly regionPageNum: number;
  readonly regionSize: number;
}

/** What the group "memory" says. */
interface MemoryGroup {
  readonly regionsCount: number;
  /** Those that are all there. */
  readonly regions: readonly Region[];
  readonly alignMask: bigint | undefined;
  /** The memory itself. */
  readonly block: { readonly at: number; readonly size: number } | undefined;
  readonly compressed: boolean;
  /** Why the tags ended too early; `undefined` if they did not. */
  readonly cut: string | undefined;
}

const REGION_TAGS = ["regionPPN", "regionPageNum", "regionSize"] as const;

function* readMemoryGroup(
  snapshot: DumpFile,
  header: VmwareHeader,
  warnings: Warnings,
): Routine<MemoryGroup> {
  const group = header.groups.find(({ name }) => name === "memory");
  if (group === undefined) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: snapshot.name, offset: 12, field: "groups" },
      `there is no group "memory", so nobody knows where memory belongs; ${AS_IT_LIES}`,
    );
  }
  const found = new Map<number, Partial<Record<keyof Region, number>>>();
  let regionsCount: number | undefined;
  let alignMask: bigint | undefined;
  let block: MemoryGroup["block"];
  let compressed = false;
  const tags = new TagReader(snapshot, header, group.tagsAt ?? Number.POSITIVE_INFINITY);
  for (let tag = yield* tags.next(); tag !== undefined; tag = yield* tags.next()) {
    const { name, indices, value } = tag;
    const region = REGION_TAGS.find((field) => field === name);
    if (name === "Memory" && tag.kind === "block" && tag.size > 0) {
      block ??= { at: tag.dataAt, size: tag.size };
    } else if (name === "Memory" && tag.kind === "compressed") {
      compressed = true;
    } else if (name === "regionsCount" && value !== undefined) {
      regionsCount ??= Number(value);
    } else if (name === "align_mask") {
      alignMask ??= value;
    } else if (region !== undefined && value !== undefined) {
      const index = indices[0] ?? 0;
      if (index >= MAX_REGIONS) continue;
      const entry = found.get(index) ?? {};
      entry[region] ??= Number(value);
      found.set(index, entry);
    }
  }
  if (tags.cut !== undefined) {
    if (regionsCount === undefined) {
      throw new FormatError(
        "TRUNCATED_DUMP",
        { file: snapshot.name, offset: group.tagsAt, field: 'group "memory"' },
        `the tags are cut short before they say where memory belongs (regionsCount): ${tags.cut}; copy it again; ${AS_IT_LIES}`,
      );
    }
    warnings.add(`${snapshot.name}: the group "memory" is cut short: ${tags.cut}`);
  }
  const claimed = regionsCount ?? "missing";
  // Whoever has no regions describes none: read as one piece, memory would seem to be where it is not.
  const guessed = (regionsCount ?? 0) === 0;
  const count = guessed ? Math.max(0, ...[...found.keys()].map((index) => index + 1)) : (regionsCount ?? 0);
  if (guessed ? count > 0 : [...found.keys()].some((index) => index >= count)) {
    const what = guessed ? "they are read all the same" : "those beyond are ignored";
    warnings.add(
      `${snapshot.name}: regionsCount is ${claimed}, and ${found.size} regions are described: ${what}`,
    );
  }
  const regions: Region[] = [];
  for (const [index, { regionPPN, regionPageNum, regionSize }] of [...found].sort(([a], [b]) => a - b)) {
    if (index >= count) continue;
    if (regionPPN === undefined || regionPageNum === undefined || regionSize === undefined) continue;
    regions.push({ regionPPN, regionPageNum, regionSize });
  }
  if (regions.length < count) {
    const lost = `regionsCount is ${claimed}, and ${regions.length} regions are described whole`;
    if (regions.length === 0) {
      throw new FormatError(
        tags.cut === undefined ? "MALFORMED_DUMP" : "TRUNCATED_DUMP",
        { file: snapshot.name, offset: group.tagsAt, field: "regionsCount" },
        `${lost}, so nobody knows where memory belongs; ${AS_IT_LIES}`,
      );
    }
    warnings.add(`${snapshot.name}: ${lost}: memory of the others is missing`);
  }
  return { regionsCount: count, regions, alignMask, block, compressed, cut: tags.cut };
}

function findMemory(
  snapshot: DumpFile,
  vmem: DumpFile | undefined,
  find: (extension: string) => DumpFile | undefined,
  { block, compressed, cut }: MemoryGroup,
): Memory {
  if (vmem !== undefined) return { file: vmem, at: 0, size: vmem.size };
  if (block !== undefined) return { file: snapshot, ...block };
  const beside = find("vmem");
  if (beside !== undefined && beside.size > 0) return { file: beside, at: 0, size: beside.size };
  if (cut !== undefined) {
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file: snapshot.name, field: 'group "memory"' },
      `cut short before the memory itself: ${cut}; copy it again`,
    );
  }
  throw new FormatError(
    "UNSUPPORTED_FORMAT",
    { file: snapshot.name },
    compressed
      ? "the memory in this snapshot state is compressed, in a way that is not public; suspend the machine again with " +
          "mainMem.useNamedFile = TRUE in its .vmx, which writes a .vmem"
      : `this snapshot state holds no memory, and ${otherName(snapshot, "vmem")}, which should, is not beside it`,
  );
}

/** Where the bytes of each region are. */
function layRegions(memory: Memory, layout: MemoryGroup, snapshot: DumpFile, warnings: Warnings): Intervals {
  const all = new Intervals();
  const inFile = Math.max(0, Math.min(memory.size, memory.file.size - memory.at));
  let missing = 0;
  const add = (start: number, from: number, size: number) => {
    const there = Math.max(0, Math.min(size, inFile - from));
    if (there > 0) all.push(start, start + there, memory.at + from);
    if (there < size) all.push(start + there, start + size, AT_TRUNCATED);
    missing += size - there;
  };
  if (layout.regionsCount === 0) {
    add(0, 0, memory.size);
    if (memory.size > HOLE) {
      warnings.add(
        `${snapshot.name} describes no regions, and there are more than 3 GiB of memory: if there is a hole under 4 GiB, ` +
          "what is shown from there on lies elsewhere",
      );
    }
  }
  for (const [i, { regionPPN, regionPageNum, regionSize }] of layout.regions.entries()) {
    const numbers = [regionPPN, regionPageNum, regionSize];
    if (numbers.some((pages) => pages * PAGE > 2 ** 52) || regionPPN + regionSize > 2 ** 40) {
      warnings.add(
        `${snapshot.name}: region ${i} (${numbers.map(hex).join(", ")} pages) is no memory: it is ignored`,
      );
      continue;
    }
    add(regionPPN * PAGE, regionPageNum * PAGE, regionSize * PAGE);
  }
  if (missing > 0) {
    warnings.add(
      `${memory.file.name}: memory ends at file offset ${hex(memory.at + inFile)}, and its regions go on: ${missing} bytes ` +
        "of physical memory are missing; copy it again",
    );
  }
  const pieces = layIntervals(all, "first");
  if (pieces.length === 0) {
    throw new FormatError(
      "MALFORMED_DUMP",
      { file: snapshot.name, field: "regionSize" },
      `all regions are empty, so there is no memory${warnings.suffix}`,
    );
  }
  return pieces;
}
