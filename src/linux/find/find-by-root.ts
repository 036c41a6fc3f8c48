/**
 * Finds a kernel without VMCOREINFO (built without it, or the dump lacks its page): page tables lead to its image, and the image has
 * the rest: its banner, its kallsyms, its types.
 */
import { hex, type PacketIo, type Routine } from "../../io/index.js";
import { formatsOf } from "../../paging/formats/formats.js";
import type { MmuDef } from "../../paging/formats/mmu-def.js";
import { findRoots } from "../../paging/roots/find-roots.js";
import { alignRoot } from "../../paging/roots/registers-paging.js";
import type { KnownRoot } from "../../paging/roots/root-evidence.js";
import { rootEnd } from "../../paging/tables/root.js";
import { VirtualMemory } from "../../paging/virtual-memory.js";
import { archOfFormat } from "../arch/index.js";
import type { KernelArch } from "../arch/kernel-arch.js";
import { LINUX_LANDMARKS } from "../linux-roots.js";
import type { Kallsyms } from "../symbols/kallsyms.js";
import { findKallsymsRoutine } from "../symbols/kallsyms-search.js";
import { KallsymsError } from "../symbols/kallsyms-tables.js";
import { parseSystemMap, SystemMapError } from "../symbols/system-map.js";
import { type FoundImage, findImage, readText, releaseOf } from "./find-image.js";
import type { FindKernelOptions } from "./find-kernel.js";
import { parseVmcoreinfo, type Vmcoreinfo } from "./vmcoreinfo.js";

/** A kernel that page tables lead to. */
export interface KernelByRoot {
  /** What of VMCOREINFO can be told without it: release, size of pages, KASLR's offset, some symbols. */
  readonly info: Vmcoreinfo;
  readonly arch: KernelArch;
  readonly mmu: MmuDef;
  readonly root: number;
  /** Whether the root is the kernel's own by its symbol. */
  readonly isKernels: boolean;
  /** Whether it was given, rather than named by the dump or found. */
  readonly isGiven: boolean;
  /** What is added to an address of the image for its physical one. */
  readonly offset: bigint;
  readonly image: FoundImage;
  readonly kallsyms: Kallsyms | undefined;
}

/** Roots that are tried: a machine of many processors names as many. */
const MAX_ROOTS = 32;

const GIVEN = "given";

/** What was looked at. */
export interface RootsTried {
  kernel: KernelByRoot | undefined;
  /** How many roots were tried. */
  count: number;
}

/** Tries the root that was given, those that the dump names, and, if it may, what looks like one. */
export function* findByRoots(physical: PacketIo<number>, options: FindKernelOptions): Routine<RootsTried> {
  const tried: RootsTried = { kernel: undefined, count: 0 };
  const formats = options.mmu === undefined ? formatsOf(options.architecture) : [options.mmu];
  const given = options.root === undefined ? [] : [{ root: options.root, reason: GIVEN }];
  const known: readonly KnownRoot[] = [...given, ...(options.roots?.() ?? [])];
  const seen = new Set<string>();
  for (const each of known.slice(0, MAX_ROOTS)) {
    tried.count++;
    for (const mmu of formats) {
      const kernel = yield* tryRoot(physical, options, each, mmu, seen);
      if (kernel !== undefined) return { ...tried, kernel };
    }
  }
  if (options.searchRoots !== true) return tried;
  const found = yield* findRoots(physical, {
    map: options.map,
    formats,
    landmarks: LINUX_LANDMARKS,
    known,
    live: options.live,
    onProgress: options.onProgress,
  });
  for (const each of found.roots.slice(0, MAX_ROOTS)) {
    if (found.mmu === undefined || each.kind === "user copy") continue;
    const known = { root: each.root, half: each.half, reason: "found" };
    tried.count++;
    const kernel = yield* tryRoot(physical, options, known, found.mmu, seen);
    if (kernel !== undefined) return { ...tried, kernel };
  }
  return tried;
}

function* tryRoot(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  { root, half, reason }: KnownRoot,
  mmu: MmuDef,
  seen: Set<string>,
): Routine<KernelByRoot | undefined> {
  const arch = archOfFormat(mmu);
  // (Where there are two, the kernel's is that of the upper half.)
  if (arch === undefined || half === "lower") return undefined;
  const own = alignRoot(root, mmu, half);
  if (!(own >= 0 && own < Number(rootEnd(mmu)))) return undefined;
  const key = `${mmu.name} ${own}`;
  if (seen.has(key)) return undefined;
  seen.add(key);
  const memory = spaceOf(physical, options, arch, mmu, own);
  const image = yield* findImage(memory, arch.imageArea(mmu));
  if (image === undefined) return undefined;
  const { kallsyms, kaslr } = yield* symbolsOf(memory, options, image);
  const offset = yield* offsetAt(memory, image.banners[0] as bigint);
  if (offset === undefined) return undefined;
  const info = infoOf(image, mmu, kallsyms, options.kaslr ?? kaslr);
  const kernels = yield* ownRoot(physical, options, arch, mmu, info, image, offset);
  return {
    info,
    arch,
    mmu,
    root: kernels ?? own,
    isKernels: kernels !== undefined,
    isGiven: kernels === undefined && reason === GIVEN,
    offset,
    image,
    kallsyms,
  };
}

function spaceOf(
  physical: PacketIo<number>,
  { live = false }: FindKernelOptions,
  arch: KernelArch,
  mmu: MmuDef,
  root: number,
): VirtualMemory {
  return new VirtualMemory(physical, { root: arch.kernelRoot(root), mmu, live, name: "candidate" });
}

/** What tables add to an address of the image for its physical one. */
function* offsetAt(memory: VirtualMemory, address: bigint): Routine<bigint | undefined> {
  const found = yield* memory.translate(address);
  return "physical" in found ? BigInt(found.physical) - address : undefined;
}

/** The image's kallsyms; without any, the symbols that were given, moved to where the banner is. */
function* symbolsOf(
  memory: VirtualMemory,
  { symbols, kaslr }: FindKernelOptions,
  image: FoundImage,
): Routine<{ kallsyms: Kallsyms | undefined; kaslr?: bigint }> {
  const own = yield* kallsymsIn(memory, image);
  if (own !== undefined || symbols === undefined) return { kallsyms: own };
  try {
    const linked = parseSystemMap(symbols).kallsyms;
    const [banner] = linked.symbol("linux_banner");
    const slides = image.banners.map((each) => BigInt.asUintN(64, each - (banner?.address ?? 0n)));
    for (const slide of kaslr === undefined ? slides : [0n, kaslr]) {
      if (slide % LEAST_SLIDE !== 0n) continue;
      const moved = slide === 0n ? linked : parseSystemMap(symbols, { kaslr: slide }).kallsyms;
      if (yield* isOwn(memory, moved)) return { kallsyms: moved, kaslr: slide };
    }
  } catch (error) {
    // Whoever takes them as the kernel's says what is wrong with them.
    if (!(error instanceof SystemMapError)) throw error;
  }
  return { kallsyms: undefined };
}

/** KASLR moves images by pages of 2 MiB, or of 64 KiB at least. */
const LEAST_SLIDE = 0x1_0000n;

/** Whether the banner is where a table of symbols has it, if it has it, and so is the format of /proc/version's. */
function* isOwn(memory: VirtualMemory, kallsyms: Kallsyms): Routine<boolean> {
  const [banner] = kallsyms.symbol("linux_banner");
  if (banner !== undefined && releaseOf(yield* readText(memory, banner.address)) === undefined) return false;
  const [format] = kallsyms.symbol("linux_proc_banner");
  return format === undefined || (yield* readText(memory, format.address)).startsWith("%s version %s");
}

function* kallsymsIn(memory: VirtualMemory, { range }: FoundImage): Routine<Kallsyms | undefined> {
  try {
    const { pointerSize } = memory;
    const { kallsyms } = yield* findKallsymsRoutine(memory, { ranges: [range], pointerSize });
    return (yield* isOwn(memory, kallsyms)) ? kallsyms : undefined;
  } catch (error) {
    if (error instanceof KallsymsError) return undefined;
    throw error;
  }
}

/** Symbols that VMCOREINFO would name, or that say where the image is. */
const NAMES = ["_text", "_stext", "_end", "swapper_pg_dir", "init_top_pgt", "init_uts_ns", "linux_banner"];

function infoOf(
  image: FoundImage,
  mmu: MmuDef,
  kallsyms: Kallsyms | undefined,
  kernelOffset: bigint | undefined,
): Vmcoreinfo {
  const symbols = new Map<string, bigint>();
  for (const name of NAMES) {
    const address = kallsyms?.symbol(name)[0]?.address;
    if (address !== undefined) symbols.set(name, address);
  }
  const pageSize = 2 ** (mmu.splits.at(-1) as number);
  return {
    ...parseVmcoreinfo(new Uint8Array(0)),
    release: image.release,
    pageSize,
    kernelOffset,
    symbols,
  };
}

/** The kernel's own root, if a symbol names one whose tables map the image to the same place. */
function* ownRoot(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  arch: KernelArch,
  mmu: MmuDef,
  info: Vmcoreinfo,
  image: FoundImage,
  offset: bigint,
): Routine<number | undefined> {
  const symbol = arch.rootNames.map((name) => info.symbols.get(name)).find((each) => each !== undefined);
  if (symbol === undefined) return undefined;
  const at = arch.rootAt?.(symbol + offset, info) ?? symbol + offset;
  if (at < 0n || at >= rootEnd(mmu) || Number(at) !== alignRoot(Number(at), mmu)) {
    return undefined;
  }
  const memory = spaceOf(physical, options, arch, mmu, Number(at));
  return (yield* offsetAt(memory, image.banners[0] as bigint)) === offset ? Number(at) : undefined;
}

/** What was tried, for the error where nothing was found. */
export function describeTried({ count }: RootsTried, { root, searchRoots }: FindKernelOptions): string {
  const given = root === undefined ? "" : ` (${hex(root)}, which was given, among them)`;
  if (count === 0) {
    return searchRoots === true
      ? "; nothing in it looks like a page-table root that would lead to it without"
      : "; no page-table root is known that would lead to it without (memtool roots looks for some)";
  }
  return `; nor do the page tables of ${count} root${count === 1 ? "" : "s"}${given} map an image with a kernel's banner`;
}
