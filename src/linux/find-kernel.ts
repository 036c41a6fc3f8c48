/**
 * Finds the Linux kernel in physical memory: VMCOREINFO (the dump's note, else a scan of RAM) says where its image
 * and its page tables are.
 *
 * x86-64: the image is mapped from `__START_KERNEL_map` on, so the physical address of one of its symbols is
 * `va - 0xffffffff80000000 + phys_base` (arch/x86/include/asm/page_64.h, `__phys_addr_nodebug`;
 * Documentation/arch/x86/x86_64/mm.rst). `swapper_pg_dir` is the kernel's own root. A CPU's CR3 is not to be trusted:
 * under page-table isolation it may be the user copy, which maps next to nothing of the kernel
 * (arch/x86/mm/pti.c).
 */
import { hex, Io, MemtoolError, type PacketIo, type Routine, readPartial } from "../io/index.js";
import { schedulerOf } from "../io/requests.js";
import type { PhysicalMap } from "../memory/physical-map.js";
import type { MmuDef } from "../paging/mmu-def.js";
import type { TableCache } from "../paging/table-cache.hot.js";
import { VirtualMemory } from "../paging/virtual-memory.js";
import { X86_64 } from "../paging/x86.js";
import { imageSymbols, KERNEL_MAP } from "./image.js";
import { type KernelOrigin, LinuxKernel } from "./kernel.js";
import { parseVmcoreinfo, type Vmcoreinfo, vmcoreinfoStart } from "./vmcoreinfo.js";

/** Options of {@link findKernel}. */
export interface FindKernelOptions {
  /** What of the addresses is RAM; a scan reads its present ranges. */
  readonly map: PhysicalMap;
  /** The note's text, where the dump has one. */
  readonly note?: Uint8Array | undefined;
  /** Page-table root to use instead of `swapper_pg_dir`, if it maps the kernel; see {@link KernelOrigin}. */
  readonly root?: number | undefined;
  /** What the format becomes in which the kernel's own space is walked; by default it stays as it is. */
  readonly formatOf?: ((paging: MmuDef, info: Vmcoreinfo) => MmuDef) | undefined;
  /** Whether to scan all RAM if there is no note that holds up; default true. */
  readonly scan?: boolean | undefined;
  /** Whether memory changes by itself. */
  readonly live?: boolean | undefined;
  /** Where the kernel's address space keeps its page tables; default: a cache of its own. */
  readonly tableCache?: TableCache | undefined;
  /** For live memory: milliseconds that its page tables may be old when a request begins; default 0. */
  readonly maxAge?: number | undefined;
  /** Called after each piece of a scan with the bytes scanned so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** No kernel, or one that can't be used. */
export class KernelNotFoundError extends MemtoolError {}

/** What one VMCOREINFO text leads to. */
interface Candidate {
  readonly info: Vmcoreinfo;
  readonly vmcoreinfo: "note" | "scan";
  readonly address: number | undefined;
  readonly physBase: bigint | undefined;
  readonly root: number | undefined;
  /** Whether the tables of `root` map the text's own symbols. */
  readonly holds: boolean;
}

/**
 * Finds the kernel.
 *
 * @throws {KernelNotFoundError} `NO_KERNEL`, `NO_ROOT` or `FIVE_LEVEL_PAGING`, with what to give instead.
 */
export function findKernel(physical: PacketIo<number>, options: FindKernelOptions): Io<LinuxKernel> {
  return Io.of(schedulerOf(physical), findRoutine, physical, options);
}

function* findRoutine(physical: PacketIo<number>, options: FindKernelOptions): Routine<LinuxKernel> {
  let best: Candidate | undefined;
  if (options.note !== undefined) {
    best = yield* judge(physical, options, parseVmcoreinfo(options.note), "note", undefined);
  }
  if (best?.holds !== true && options.scan !== false) {
    const scanned = yield* scan(physical, options);
    if (best === undefined || scanned?.holds === true) best = scanned;
  }
  if (best === undefined) throw noKernel(options);
  return yield* accept(physical, options, best);
}

function noKernel(options: FindKernelOptions): KernelNotFoundError {
  const scanned =
    options.scan === false
      ? "the dump has no VMCOREINFO note, and RAM was not scanned for it"
      : `the dump has no VMCOREINFO note, and none of its ${options.map.bytesPresent} bytes of RAM has one`;
  return new KernelNotFoundError(
    "NO_KERNEL",
    `no Linux kernel found: ${scanned}; use --physical, or give a page-table root (--root, such as a CPU's CR3)`,
  );
}

/** Chooses the root, and makes the kernel of a candidate. */
function* accept(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  found: Candidate,
): Routine<LinuxKernel> {
  const { info } = found;
  if (info.numbers.get("pgtable_l5_enabled") === 1n) {
    throw new KernelNotFoundError(
      "FIVE_LEVEL_PAGING",
      `Linux ${info.release ?? "of unknown release"} runs with five-level paging, which isn't supported yet; ` +
        "--physical reads its physical memory",
    );
  }
  const warnings: string[] = [];
  if ((info.numbers.get("sme_mask") ?? 0n) !== 0n) {
    warnings.push("the kernel encrypts its memory (SME): page-table entries and data may be unreadable");
  }
  let root = found.root;
  let holds = found.holds;
  let source: KernelOrigin["root"] = "swapper_pg_dir";
  let physBase = found.physBase;
  if (options.root !== undefined && options.root !== root) {
    const given = yield* imageBase(physical, options.root, info, options.live);
    const fits = given !== undefined && (physBase === undefined || physBase === given);
    if (fits || !holds) {
      root = options.root;
      holds = fits;
      physBase ??= given;
      source = "given";
    } else {
      warnings.push(
        `the root ${hex(options.root)} doesn't map the kernel (a user copy under page-table isolation?): ` +
          `the kernel is read through swapper_pg_dir, ${hex(root ?? 0)}`,
      );
    }
  }
  if (root === undefined) {
    const missing = physBase === undefined ? "NUMBER(phys_base)" : "SYMBOL(swapper_pg_dir)";
    throw new KernelNotFoundError(
      "NO_ROOT",
      `VMCOREINFO of Linux ${info.release ?? "?"} has no usable ${missing} (another architecture than x86-64, ` +
        "or cut short): give the page-table root with --root",
    );
  }
  if (!holds) {
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
  const memory = new VirtualMemory(physical, {
    root,
    mmu: options.formatOf?.(X86_64, info) ?? X86_64,
    live: options.live ?? false,
    name: "kernel",
    tableCache: options.tableCache,
    maxAge: options.maxAge,
  });
  return new LinuxKernel(info, memory, physBase === undefined ? undefined : Number(physBase), origin);
}

/** Works out where a text's image and root should be, and whether the tables there agree. */
function* judge(
  physical: PacketIo<number>,
  options: FindKernelOptions,
  info: Vmcoreinfo,
  vmcoreinfo: "note" | "scan",
  address: number | undefined,
): Routine<Candidate> {
  const physBase = info.numbers.get("phys_base");
  const symbol = rootSymbol(info);
  let root: number | undefined;
  if (physBase !== undefined && symbol !== undefined) {
    const at = symbol - KERNEL_MAP + physBase;
    if (at >= 0n && at < 1n << 52n && (at & 0xfffn) === 0n) root = Number(at);
  }
  const holds = root !== undefined && (yield* imageBase(physical, root, info, options.live)) === physBase;
  return { info, vmcoreinfo, address, physBase, root, holds };
}

/** Virtual address of the kernel's root: `swapper_pg_dir`, which x86-64 also calls `init_top_pgt` (4.13, 65ade2f872b4). */
function rootSymbol(info: Vmcoreinfo): bigint | undefined {
  const names = ["swapper_pg_dir", "init_top_pgt", "init_level4_pgt"];
  return names.map((name) => info.symbols.get(name)).find((at) => at !== undefined && at >= KERNEL_MAP);
}

/** How many symbols must agree. */
const CHECKED = 4;

/**
 * `phys_base` as a root's tables have it: where they map symbols of the image to, all by the same distance.
 * Undefined if a symbol is not mapped, or they disagree.
 */
function* imageBase(
  physical: PacketIo<number>,
  root: number,
  info: Vmcoreinfo,
  live: boolean | undefined,
): Routine<bigint | undefined> {
  const memory = new VirtualMemory(physical, { root, live: live ?? false, name: "candidate" });
  let base: bigint | undefined;
  let checked = 0;
  for (const address of imageSymbols(info).values()) {
    const translation = yield* memory.translate(address);
    if (!("physical" in translation)) return undefined;
    const here = BigInt(translation.physical) - (address - KERNEL_MAP);
    if (base !== undefined && here !== base) return undefined;
    base = here;
    if (++checked === CHECKED) break;
  }
  return base;
}

const PAGE = 4096;
/** Bytes read at a time: large enough that a disk streams, small enough for any machine. */
const SCAN_PIECE = 1 << 20;
/** Texts of which the tables are walked: a memory image of crash dumps must not take forever. */
const MAX_CANDIDATES = 64;

/** Looks at the beginning of each page of RAM. @returns the first text that holds up, else the most complete one. */
function* scan(physical: PacketIo<number>, options: FindKernelOptions): Routine<Candidate | undefined> {
  const piece = new Uint8Array(SCAN_PIECE);
  const total = options.map.bytesPresent;
  let done = 0;
  let best: Candidate | undefined;
  let judged = 0;
  for (const range of options.map.ranges()) {
    if (range.state !== "present") continue;
    for (let at = range.start; at < range.end; ) {
      // Up to a multiple of the piece's size, so that pages are whole.
      const size = Math.min(range.end, at - (at % SCAN_PIECE) + SCAN_PIECE) - at;
      const { bytes, holes } = yield* readPartial(physical, at, piece.subarray(0, size));
      for (let page = (PAGE - (at % PAGE)) % PAGE; page < size; page += PAGE) {
        const start = vmcoreinfoStart(bytes, page);
        const end = Math.min(page + PAGE, size);
        if (start < 0 || holes.some((hole) => hole.start < end && hole.end > page)) continue;
        const info = parseVmcoreinfo(bytes.subarray(page + start, end));
        const candidate = yield* judge(physical, options, info, "scan", at + page + start);
        if (candidate.holds) return candidate;
        if (best === undefined || (best.root === undefined && candidate.root !== undefined)) best = candidate;
        // One that names no root cost no more than a look.
        if (candidate.root !== undefined && ++judged === MAX_CANDIDATES) return best;
      }
      at += size;
      done += size;
      options.onProgress?.(done, total);
    }
  }
  return best;
}
