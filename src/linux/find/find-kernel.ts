/**
 * Finds the Linux kernel in physical memory: VMCOREINFO (the dump's note, else a scan of RAM) says where its image and its
 * page tables are, and of which format. Without one, page tables lead to it: see find-by-root.ts. What differs between
 * architectures is in `arch/`.
 *
 * `swapper_pg_dir` is the kernel's own root. A CPU's root is not to be trusted: under page-table isolation it may be the
 * user copy, which maps next to nothing of the kernel (arch/x86/mm/pti.c), and on arm64 it is that of the lower half.
 */
import {
  hex,
  Io,
  MemtoolError,
  type PacketIo,
  type Routine,
  readPartial,
  withMapping,
} from "../../io/index.js";
import { schedulerOf } from "../../io/requests.js";
import type { PhysicalMap } from "../../memory/physical-map.js";
import type { MmuDef } from "../../paging/formats/mmu-def.js";
import { alignRoot } from "../../paging/roots/registers-paging.js";
import type { KnownRoot } from "../../paging/roots/root-evidence.js";
import { type Root, rootEnd } from "../../paging/tables/root.js";
import type { TableCache } from "../../paging/tables/table-cache.hot.js";
import { VirtualMemory } from "../../paging/virtual-memory.js";
import { archOf } from "../arch/index.js";
import type { KernelArch } from "../arch/kernel-arch.js";
import type { Gunzip } from "../config/gunzip.js";
import type { KernelOrigin } from "../kernel.js";
import { Linux } from "../linux.js";
import type { KernelProfiles } from "../profile/profile.js";
import { findBase } from "./find-base.js";
import { describeTried, findByRoots, type KernelByRoot, type RootsTried } from "./find-by-root.js";
import { imageSymbols } from "./image.js";
import { scanPieces, scanWindows } from "./scan-order.js";
import { parseVmcoreinfo, type Vmcoreinfo, vmcoreinfoStart } from "./vmcoreinfo.js";

/** Options of {@link findKernel}. */
export interface FindKernelOptions {
  /** What of the addresses is RAM; a scan reads its present ranges. */
  readonly map: PhysicalMap;
  /** The note's text, where the dump has one. */
  readonly note?: Uint8Array | undefined;
  /** The architecture that the dump names: what is taken where the text itself does not tell. */
  readonly architecture?: string | undefined;
  /**
   * Page-table root to use instead of `swapper_pg_dir`, if it maps the kernel; see {@link KernelOrigin}. Low bits that are no
   * part of it (of a CR3) are dropped.
   */
  readonly root?: number | undefined;
  /** What the format becomes in which the kernel's own space is walked; by default it stays as it is. */
  readonly formatOf?: ((paging: MmuDef, info: Vmcoreinfo) => MmuDef) | undefined;
  /** Roots that the dump names, which may lead to a kernel without VMCOREINFO; asked only where there is none. */
  readonly roots?: (() => readonly KnownRoot[]) | undefined;
  /**
   * Whether to look through RAM for page-table roots where neither VMCOREINFO nor a known root leads to a kernel: as long as a scan,
   * once more. Default false.
   */
  readonly searchRoots?: boolean | undefined;
  /** What KASLR added to the addresses of the image, instead of what VMCOREINFO says. */
  readonly kaslr?: bigint | undefined;
  /** The text of a System.map or /proc/kallsyms, for a kernel without VMCOREINFO and kallsyms; `symbolsFor` takes it for others. */
  readonly symbols?: Uint8Array | undefined;
  /** Format of the page tables, instead of what VMCOREINFO says. */
  readonly mmu?: MmuDef | undefined;
  /** Whether to scan all RAM if there is no note that holds up; default true. */
  readonly scan?: boolean | undefined;
  /**
   * Tells zeros apart in the same map, so that a scan need not read them. Asked once, when a scan has read many pages that are
   * blank. It answers `undefined` where nobody can tell.
   */
  readonly zeros?: (() => Routine<PhysicalMap | undefined>) | undefined;
  /** Whether memory changes by itself. */
  readonly live?: boolean | undefined;
  /** Where the kernel's address space keeps its page tables, which are of this format; default: a cache of its own. */
  readonly tableCacheOf?: ((mmu: MmuDef) => TableCache) | undefined;
  /** Makes the address space of a process, by its root; default: without swap, and without anything that is shared. */
  readonly spaceOf?: ((root: Root) => VirtualMemory) | undefined;
  /** For live memory: milliseconds that its page tables may be old when a request begins; default 0. */
  readonly maxAge?: number | undefined;
  /** Where what was read of a build of a kernel is kept for the next time; see profile.ts. Default: nowhere. */
  readonly profiles?: KernelProfiles | undefined;
  /** Decompresses the text of the kernel's configuration. Default: that can't be read. */
  readonly gunzip?: Gunzip | undefined;
  /** Called after each piece of a scan with the bytes scanned so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** No kernel, or one that can't be used. */
export class KernelNotFoundError extends MemtoolError {
  /** The format of its page tables, where a text of a kernel was found that tells it. */
  readonly mmu: MmuDef | undefined;

  constructor(code: string, message: string, mmu?: MmuDef) {
    super(code, message);
    this.mmu = mmu;
  }
}

/** What one VMCOREINFO text leads to. */
interface Candidate {
  readonly info: Vmcoreinfo;
  readonly vmcoreinfo: "note" | "scan";
  readonly address: number | undefined;
  readonly arch: KernelArch;
  readonly mmu: MmuDef;
  /** What is added to the image's virtual addresses for its physical ones. */
  readonly offset: bigint | undefined;
  readonly root: number | undefined;
  /** Whether the tables of `root` map the text's own symbols. */
  readonly holds: boolean;
}

/**
 * Finds the kernel.
 *
 * @throws {KernelNotFoundError} `NO_KERNEL`, `NO_ROOT` or `MISPLACED`, with what to give instead; `OTHER_PAGING` for a format that can't be the
 * kernel's, as it has two roots and the kernel one, or the other way round.
 */
export function findKernel(physical: PacketIo<number>, options: FindKernelOptions): Io<Linux> {
  return Io.of(schedulerOf(physical), findRoutine, physical, options);
}

function* findRoutine(physical: PacketIo<number>, given: FindKernelOptions): Routine<Linux> {
  const from = { map: given.map };
  let best: Candidate | undefined;
  if (given.note !== undefined) {
    best = yield* judge(physical, given, parseVmcoreinfo(given.note), "note", undefined);
  }
  if (best?.holds !== true && given.scan !== false) {
    const scanned = yield* scan(physical, given, from);
    if (best === undefined || scanned?.holds === true) best = scanned;
  }
  // (What a scan was told of zeros spares whoever searches after it from reading them.)
  const options = { ...given, ...from };
  const isLost = best === undefined || (best.root === undefined && options.root === undefined);
  const tried = isLost && options.scan !== false ? yield* findByRoots(physical, options) : undefined;
  if (tried?.kernel !== undefined) return acceptByRoot(physical, options, tried.kernel);
  if (best === undefined) throw noKernel(options, tried);
  const kernel = yield* accept(physical, options, best);
  if (options.kaslr !== undefined) kernel.useKaslr(options.kaslr);
  return kernel;
}

function noKernel(options: FindKernelOptions, tried: RootsTried | undefined): KernelNotFoundError {
  const scanned =
    options.scan === false
      ? "the dump has no VMCOREINFO note, and RAM was not scanned for it"
      : `the dump has no VMCOREINFO note, and none of its ${options.map.bytesPresent} bytes of RAM has one`;
  return new KernelNotFoundError(
    "NO_KERNEL",
    `no Linux kernel found: ${scanned}${tried === undefined ? "" : describeTried(tried, options)}; use --physical, or give a page-table root (--root, such as a CPU's CR3)`,
  );
}

/** Whether a format has as many roots as an architecture's kernels. */
function canBeOf(arch: KernelArch, mmu: MmuDef): boolean {
  return (mmu.halves === undefined) === (typeof arch.kernelRoot(0) === "number");
}

/** Chooses the root, and makes the kernel of a candidate. */
function* accept(physical: PacketIo<number>, options: FindKernelOptions, found: Candidate): Routine<Linux> {
  const { info, arch, mmu } = found;
  if (!canBeOf(arch, mmu)) {
    throw new KernelNotFoundError(
      "OTHER_PAGING",
      `Linux ${info.release ?? "?"} is one of ${arch.architecture}, and page tables of the format ${mmu.name} (--mmu) can't be its own: ` +
        "use --physical, or give a page-table root (--root)",
      mmu,
    );
  }
  const warnings: string[] = [];
  if ((info.numbers.get("sme_mask") ?? 0n) !== 0n) {
    warnings.push(
      "the kernel encrypts its memory (SME): its page tables are walked without the bit that says so, and may be " +
        "unreadable like other data",
    );
  }
  let { root, holds, offset } = found;
  let source: KernelOrigin["root"] = "swapper_pg_dir";
  const wanted = options.root === undefined ? undefined : alignRoot(options.root, mmu);
  if (wanted !== undefined && wanted !== root) {
    const given = yield* imageOffset(physical, options, arch, mmu, wanted, info);
    const fits = given !== undefined && (offset === undefined || offset === given);
    if (fits || (!holds && mmu.halves === undefined)) {
      root = wanted;
      holds = fits;
      offset ??= given;
      source = "given";
    } else if (mmu.halves === undefined) {
      warnings.push(
        `the root ${hex(wanted)} doesn't map the kernel (a user copy under page-table isolation?): ` +
          `the kernel is read through swapper_pg_dir, ${hex(root ?? 0)}`,
      );
    }
  }
  if (root === undefined) {
    const missing = offset === undefined ? arch.offsetName : "SYMBOL(swapper_pg_dir)";
    throw new KernelNotFoundError(
      "NO_ROOT",
      `VMCOREINFO of Linux ${info.release ?? "?"} has no usable ${missing} (another architecture than ` +
        `${arch.architecture}, or cut short): give the page-table root with --root (memtool roots looks for some)`,
      mmu,
    );
  }
  if (!holds) {
    if (offset !== undefined && source === "swapper_pg_dir") {
      yield* checkBase(physical, options, { info, arch, mmu, root, offset });
    }
    warnings.push(
      `the page tables at ${hex(root)} don't map the kernel's own symbols: the root is wrong, or tables are missing`,
    );
  }
  const origin: KernelOrigin = {
    vmcoreinfo: found.vmcoreinfo,
    vmcoreinfoAddress: found.address,
    root: source,
    verified: holds,
    warnings,
  };
  return linuxOf(physical, options, { info, arch, mmu, root, offset, origin });
}

/**
 * Whether the bytes of a raw image may be where they belong. (Other dumps say where theirs do.)
 *
 * @throws {KernelNotFoundError} `MISPLACED` if they are not.
 */
function* checkBase(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  { info, arch, mmu, root, offset }: Omit<Parts, "origin"> & { readonly offset: bigint },
): Routine<void> {
  const { map, scan } = options;
  const { end } = map;
  const release = `Linux ${info.release ?? "?"}`;
  if (scan !== false) {
    const base = yield* findBase(physical, map, info, offset, function* (start) {
      const moved = withMapping(physical, [{ start, size: end, target: 0 }]);
      return (yield* imageOffset(moved, options, arch, mmu, root, info)) === offset;
    });
    if (base !== undefined) {
      throw new KernelNotFoundError(
        "MISPLACED",
        `${release} is in this memory, whose first byte is that of the physical address ${hex(base)}, not of 0: ` +
          `say so, if it is a raw image, with --map ${hex(base)}-${hex(base + end)}`,
        mmu,
      );
    }
  }
  if (map.stateOf(root) !== "outside") return;
  throw new KernelNotFoundError(
    "MISPLACED",
    `VMCOREINFO of ${release} has its page tables at ${hex(root)}, where this dump has no memory: say where the bytes of a raw image ` +
      "belong (--map START-END, as that machine's /proc/iomem has its System RAM), give another root (--root), or use --physical",
    mmu,
  );
}

/** The kernel that page tables lead to. */
function acceptByRoot(physical: PacketIo<number>, options: FindKernelOptions, found: KernelByRoot): Linux {
  const { info, arch, mmu, root, image, kallsyms, offset } = found;
  const warnings = [
    "the kernel was found without VMCOREINFO, by its image" +
      (kallsyms === undefined ? "; no symbols of it were found (--symbols System.map may give them)" : ""),
  ];
  const origin: KernelOrigin = {
    vmcoreinfo: "none",
    vmcoreinfoAddress: undefined,
    root: found.isKernels ? "swapper_pg_dir" : found.isGiven ? "given" : "found",
    verified: true,
    warnings,
  };
  const kernel = linuxOf(physical, options, { info, arch, mmu, root, offset, origin });
  kernel.useImage(image.range);
  if (kallsyms !== undefined) kernel.useSymbols(kallsyms);
  return kernel;
}

/** What a kernel is made of. */
interface Parts {
  readonly info: Vmcoreinfo;
  readonly arch: KernelArch;
  readonly mmu: MmuDef;
  readonly root: number;
  readonly offset: bigint | undefined;
  readonly origin: KernelOrigin;
}

function linuxOf(physical: PacketIo<number>, options: FindKernelOptions, parts: Parts): Linux {
  const { info, arch, mmu, root, offset, origin } = parts;
  const own = options.formatOf?.(mmu, info) ?? mmu;
  const memory = spaceOf(physical, options, arch, own, root, "kernel");
  const { live = false, maxAge } = options;
  const { tableCache } = memory;
  const ofProcess =
    options.spaceOf ??
    ((roots: Root) => new VirtualMemory(physical, { root: roots, mmu: own, live, tableCache, maxAge }));
  return new Linux(info, memory, arch, offset, origin, ofProcess, options.profiles, options.gunzip);
}

/** The address space of a kernel's root. */
function spaceOf(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  arch: KernelArch,
  mmu: MmuDef,
  root: number,
  name: "kernel" | "candidate",
): VirtualMemory {
  return new VirtualMemory(physical, {
    root: arch.kernelRoot(root),
    mmu,
    live: options.live ?? false,
    name,
    // (A candidate's tables are no good to anybody else.)
    ...(name === "kernel" ? { tableCache: options.tableCacheOf?.(mmu), maxAge: options.maxAge } : {}),
  });
}

/** Works out where a text's image and root should be, and whether the tables there agree. */
function* judge(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  info: Vmcoreinfo,
  vmcoreinfo: "note" | "scan",
  address: number | undefined,
): Routine<Candidate> {
  const arch = archOf(info, options.architecture);
  const mmu = options.mmu ?? arch.mmuOf(info);
  const symbol = rootSymbol(info, arch);
  const found = { info, vmcoreinfo, address, arch, mmu };
  if (!canBeOf(arch, mmu)) {
    return { ...found, offset: undefined, root: undefined, holds: false };
  }
  let best: Candidate | undefined;
  for (const offset of arch.imageOffsets(info)) {
    const root = symbol === undefined ? undefined : rootAt(symbol + offset, arch, mmu, info);
    const holds =
      root !== undefined && (yield* imageOffset(physical, options, arch, mmu, root, info)) === offset;
    if (holds) return { ...found, offset, root, holds };
    best ??= { ...found, offset, root, holds };
  }
  return best ?? { ...found, offset: undefined, root: undefined, holds: false };
}

/** Where the hardware's root is, if that is an address which a root can have. */
function rootAt(symbol: bigint, arch: KernelArch, mmu: MmuDef, info: Vmcoreinfo): number | undefined {
  const wrapped = arch.architecture === "x86_64" ? symbol : BigInt.asUintN(64, symbol);
  const at = arch.rootAt?.(wrapped, info) ?? wrapped;
  const align = BigInt(mmu.halves?.upper.align ?? mmu.rootAlign ?? 4096);
  return at >= 0n && at < rootEnd(mmu) && at % align === 0n ? Number(at) : undefined;
}

/** Virtual address of the kernel's root. */
function rootSymbol(info: Vmcoreinfo, arch: KernelArch): bigint | undefined {
  return arch.rootNames
    .map((name) => info.symbols.get(name))
    .find((at) => at !== undefined && arch.isInImage(at, info));
}

/** How many symbols must agree. */
const CHECKED = 4;

/**
 * What a root's tables add to addresses of the image: where they map symbols of it to, all by the same distance. Undefined
 * if a symbol is not mapped, or they disagree.
 */
function* imageOffset(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  arch: KernelArch,
  mmu: MmuDef,
  root: number,
  info: Vmcoreinfo,
): Routine<bigint | undefined> {
  const memory = spaceOf(physical, options, arch, mmu, root, "candidate");
  let offset: bigint | undefined;
  let checked = 0;
  for (const address of imageSymbols(info, arch).values()) {
    const translation = yield* memory.translate(address);
    if (!("physical" in translation)) return undefined;
    const here = BigInt(translation.physical) - address;
    if (offset !== undefined && here !== offset) return undefined;
    offset = here;
    if (++checked === CHECKED) break;
  }
  return offset;
}

const PAGE = 4096;
/** The largest page of any kernel. */
const MAX_PAGE = 65_536;
/** Bytes read at a time: large enough that a disk streams, small enough for any machine. */
const SCAN_PIECE = 1 << 20;
/** Texts of which the tables are walked: a memory image of crash dumps must not take forever. */
const MAX_CANDIDATES = 64;

/** Bytes of blank pieces after which to ask what is zero: reading so much takes about as long as asking a file system does. */
const ASK_AFTER = 32 << 20;

/** Texts that a scan came by. */
interface Texts {
  /** The first that holds up; else of those that say most, the one at the lowest address. */
  best: Candidate | undefined;
  /** How many named a root: one that names none cost no more than a look. */
  judged: number;
}

/**
 * Looks at the beginning of each page of RAM once, likely places first: the answer is the best text, wherever it lies.
 *
 * @param from Its map becomes one that tells zeros apart, if that was worth asking for.
 */
function* scan(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  from: { map: PhysicalMap },
): Routine<Candidate | undefined> {
  const memory = new Uint8Array(SCAN_PIECE);
  const total = options.map.bytesPresent;
  const texts: Texts = { best: undefined, judged: 0 };
  let { zeros } = options;
  let done = 0;
  let blank = 0;
  for (const window of scanWindows(options.map, SCAN_PIECE)) {
    for (const { start, end, zero } of scanPieces(from, window, SCAN_PIECE)) {
      if (!zero) {
        const { bytes, holes } = yield* readPartial(physical, start, memory.subarray(0, end - start));
        yield* judgeTexts(physical, options, texts, start, bytes, holes);
        if (texts.best?.holds === true || texts.judged === MAX_CANDIDATES) return texts.best;
        if (zeros !== undefined && isBlank(start, bytes)) {
          blank += bytes.length;
          if (blank >= ASK_AFTER) {
            from.map = (yield* zeros()) ?? from.map;
            zeros = undefined;
          }
        }
      }
      done += end - start;
      options.onProgress?.(done, total);
    }
  }
  return texts.best;
}

/** Judges the texts at the beginnings of a piece's pages. */
function* judgeTexts(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  texts: Texts,
  at: number,
  bytes: Uint8Array,
  holes: readonly { readonly start: number; readonly end: number }[],
): Routine<void> {
  const size = bytes.length;
  for (let page = (PAGE - (at % PAGE)) % PAGE; page < size; page += PAGE) {
    const start = vmcoreinfoStart(bytes, page);
    if (start < 0) continue;
    const end = Math.min(page + PAGE, size);
    let info = parseVmcoreinfo(bytes.subarray(page + start, end));
    let until = end;
    if (info.pageSize !== undefined && info.pageSize > PAGE && info.text.length === end - page - start) {
      // It goes on: pages are larger there.
      until = Math.min(page + Math.min(info.pageSize, MAX_PAGE), size);
      info = parseVmcoreinfo(bytes.subarray(page + start, until));
    }
    if (holes.some((hole) => hole.start < until && hole.end > page)) continue;
    const candidate = yield* judge(physical, options, info, "scan", at + page + start);
    if (texts.best === undefined || isBetter(candidate, texts.best)) texts.best = candidate;
    if (candidate.holds) return;
    if (candidate.root !== undefined && ++texts.judged === MAX_CANDIDATES) return;
  }
}

/** Whether a text says more, or as much at a lower address. */
function isBetter(candidate: Candidate, than: Candidate): boolean {
  if (candidate.holds) return true;
  const [roots, others] = [candidate.root !== undefined, than.root !== undefined];
  return roots === others ? (candidate.address ?? 0) < (than.address ?? 0) : roots;
}

/** Whether no page of a piece begins with anything but zero. */
function isBlank(at: number, bytes: Uint8Array): boolean {
  for (let page = (PAGE - (at % PAGE)) % PAGE; page < bytes.length; page += PAGE) {
    if (bytes[page] !== 0) return false;
  }
  return true;
}
