/** The ELF images in the address space of a process: at the beginning of its mappings, and wherever else a page begins as one. */
import type { Routine } from "../../io/index.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { KernelData } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { memoryOfTask, type Task } from "../tasks/task.js";
import { userEnd } from "../tasks/user-end.js";
import { readVmas } from "../tasks/vma.js";
import { nameVmas } from "../tasks/vma-names.js";
import { AT_BASE, AT_PHDR, AT_SYSINFO_EHDR, type Auxv, readAuxv } from "./auxv.js";
import { MemoryBytes } from "./byte-source.js";
import { ET_CORE, ET_EXEC, ET_REL, isElfMagic } from "./elf-header.js";
import { type ElfImage, readElfImage } from "./elf-image.js";
import { compare } from "./order.js";

const PAGE = 4096n;
/** VM_EXEC, and whether a mapping is of a file. */
const EXECUTE = 0x4n;

/** Pages that are looked at at once. */
const BATCH = 16_384;

/** Images that are read of one process: what has more is made to have them. */
const MAX_IMAGES = 65_536;
/** Pages of a process that are looked at for images: 128 GiB. Page tables that share tables map one page as often as they like. */
const MAX_SCANNED = 1 << 25;
/** Segments that are kept of one process: pages may be mapped again and again, and each image claims thousands. */
const MAX_KEPT_SEGMENTS = 1 << 20;

/**
 * What an ELF image is. `interpreter`: the dynamic linker of the process. `vdso`: the kernel's own library in it. `relocatable`: what is
 * to be linked, kernel modules among them.
 */
export type ElfKind = "program" | "library" | "interpreter" | "vdso" | "relocatable" | "core";

/**
 * How an image was found. `mapping`: at the beginning of a mapped file. `special mapping`: of the kernel's own, such as the vDSO.
 * `anonymous memory`: in memory without a file. `inside a mapping`: further on in a mapped file. `no mapping`: in pages that the page
 * tables have, and no mapping of the process. `physical memory`: in a page of RAM, whosever it is.
 */
export type ElfHow =
  | "mapping"
  | "special mapping"
  | "anonymous memory"
  | "inside a mapping"
  | "no mapping"
  | "physical memory";

/** A mapping of a process, as far as it matters here. */
export interface MappedRange {
  readonly start: bigint;
  readonly end: bigint;
  readonly executable: boolean;
  /** Offset in its file; `undefined` without a file. */
  readonly offset: bigint | undefined;
  /** Address of the `struct file`; 0n without one. */
  readonly file: bigint;
  readonly path: string | undefined;
}

/** An image, and where it was found. */
export interface ProcessImage {
  readonly image: ElfImage;
  readonly how: ElfHow;
  readonly kind: ElfKind;
  /** Of the mapping that its header is in; `undefined` where that has none, or it can't be read. */
  readonly path: string | undefined;
  /** Whether a mapping that it reaches into may be executed. */
  readonly executable: boolean;
}

/** A process, and what is in its address space. */
export interface ProcessSpace {
  readonly task: Task;
  readonly memory: VirtualMemory;
  readonly source: MemoryBytes;
  readonly auxv: Auxv;
  /** Where its own part of the address space ends. */
  readonly end: bigint;
  readonly ranges: readonly MappedRange[];
}

/** The address spaces of those of some processes that have one. */
export function* readSpaces(
  data: KernelData,
  tasks: readonly Task[],
  report: OnDamage,
): Routine<ProcessSpace[]> {
  const users = tasks.filter(({ root, mm }) => root !== undefined && mm !== undefined && mm !== 0n);
  const found = yield* readVmas(data, users, report);
  const named = yield* nameVmas(data, found, report);
  const auxv = yield* readAuxv(
    data,
    found.map(({ task }) => task),
    report,
  );
  const pageSize = BigInt(data.kernel.vmcoreinfo.pageSize ?? 4096);
  const end = userEnd(data.kernel);
  return found.map(({ task }, i) => {
    const memory = memoryOfTask(data.kernel, task);
    return {
      task,
      memory,
      source: new MemoryBytes(memory),
      auxv: auxv[i] ?? { values: new Map() },
      end,
      ranges: (named[i] ?? []).map(({ value, path }) => ({
        start: value.start,
        end: value.end,
        executable: (value.flags & EXECUTE) !== 0n,
        offset: value.file === 0n ? undefined : BigInt.asUintN(64, value.pageOffset * pageSize),
        file: value.file,
        path,
      })),
    };
  });
}

/**
 * The images of a process, ascending.
 *
 * @param everywhere Also those that lie elsewhere than at the beginning of a mapping, which takes a look at each page that is there.
 */
export function* findImages(
  space: ProcessSpace,
  everywhere: boolean,
  report: OnDamage,
): Routine<ProcessImage[]> {
  const own = space.ranges.filter(({ start }) => start < space.end);
  const starts = yield* magicAt(
    space,
    BigUint64Array.from(own, ({ start }) => start),
  );
  const addresses = everywhere ? [...new Set([...starts, ...(yield* scanPages(space, report))])] : starts;
  addresses.sort(compare);
  const images: ProcessImage[] = [];
  const code = space.ranges.filter(({ executable }) => executable);
  let segments = 0;
  for (const address of addresses) {
    if (images.length === MAX_IMAGES || segments > MAX_KEPT_SEGMENTS) {
      const name = `the ELF images of process ${space.task.tgid}`;
      report(damage(name, address, "too long", 0, "those from there on are not read"));
      break;
    }
    const range = rangeAt(space, address);
    const what = `at ${address.toString(16)} of process ${space.task.tgid}`;
    const image = yield* readElfImage(space.source, address, what, report);
    if (image === undefined) continue;
    segments += image.segments.length;
    const next = code[firstBehind(code, image.start)];
    images.push({
      image,
      how: howOf(range, address),
      kind: kindOf(image, space.auxv),
      path: range?.path === "" ? undefined : range?.path,
      executable: next !== undefined && next.start < image.end,
    });
  }
  return images;
}

/** The mapping that an address is in. */
export function rangeAt({ ranges }: ProcessSpace, address: bigint): MappedRange | undefined {
  const found = ranges[firstBehind(ranges, address)];
  return found !== undefined && found.start <= address ? found : undefined;
}

/** Index of the first range that ends behind an address. */
function firstBehind(ranges: readonly MappedRange[], address: bigint): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ranges[middle] as MappedRange).end <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Pages of the process that begin as ELF files do. */
function* scanPages(space: ProcessSpace, report: OnDamage): Routine<bigint[]> {
  const found: bigint[] = [];
  const batch = new BigUint64Array(BATCH);
  let count = 0;
  let left = MAX_SCANNED;
  const areas = space.memory.areas({ start: 0n, end: space.end }).cursor();
  for (;;) {
    const next = yield* areas.next();
    if (next.done === true) break;
    if (next.value.state !== undefined) continue;
    for (let at = next.value.start; at < next.value.end; at += PAGE) {
      if (left-- === 0) {
        const name = `the pages of process ${space.task.tgid}`;
        report(damage(name, at, "too long", 0, "no more are looked at for ELF images"));
        yield* areas.end();
        for (const each of yield* magicAt(space, batch.slice(0, count))) found.push(each);
        return found;
      }
      batch[count++] = at;
      if (count < BATCH) continue;
      for (const each of yield* magicAt(space, batch)) found.push(each);
      count = 0;
      if (found.length > MAX_IMAGES) {
        yield* areas.end();
        return found;
      }
    }
  }
  for (const each of yield* magicAt(space, batch.slice(0, count))) found.push(each);
  return found;
}

/** Those of some addresses at which an ELF file begins. */
function* magicAt({ memory }: ProcessSpace, addresses: BigUint64Array<ArrayBuffer>): Routine<bigint[]> {
  const gathered = yield* memory.gather(addresses, 4);
  const found: bigint[] = [];
  for (let i = 0; i < addresses.length; i++) {
    if (isElfMagic(gathered.bytes, 4 * i) && gathered.faultOf(i) === 0) found.push(addresses[i] as bigint);
  }
  return found;
}

function howOf(range: MappedRange | undefined, address: bigint): ElfHow {
  if (range === undefined) return "no mapping";
  if (range.offset === undefined) {
    const { path } = range;
    const isOfMemory = path === undefined || !/^\[(?!heap|stack|anon)/.test(path);
    return isOfMemory ? "anonymous memory" : "special mapping";
  }
  return range.offset === 0n && range.start === address ? "mapping" : "inside a mapping";
}

function kindOf(image: ElfImage, { values }: Auxv): ElfKind {
  const { type } = image.header;
  if (type === ET_REL) return "relocatable";
  if (type === ET_CORE) return "core";
  if (values.get(AT_SYSINFO_EHDR) === image.base) return "vdso";
  if (values.get(AT_BASE) === image.base) return "interpreter";
  const headers = values.get(AT_PHDR);
  const isOwn =
    headers !== undefined &&
    image.layout === "loaded" &&
    headers === image.wrap(image.base + image.header.programHeaders);
  if (isOwn || type === ET_EXEC) return "program";
  return image.interpreter === undefined || image.soname !== undefined ? "library" : "program";
}
