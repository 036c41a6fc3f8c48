/** The programs and libraries that are in memory. */
import { type ByteRange, IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import type { VirtualMemory } from "../../paging/virtual-memory.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions } from "../objects/damage.js";
import { needTasks } from "../tasks/task.js";
import { PageBytes } from "./byte-source.js";
import { ET_CORE, ET_EXEC, ET_REL, elfMachineName, isElfMagic } from "./elf-header.js";
import { type ElfImage, type ElfLayout, readElfImage } from "./elf-image.js";
import {
  type ElfHow,
  type ElfKind,
  findImages,
  type ProcessImage,
  type ProcessSpace,
  readSpaces,
} from "./process-images.js";

/** An ELF image in memory. What is not said or could not be read of it is `undefined`. */
export interface FoundElf {
  /** The process in whose address space it is; `undefined` for what was found in physical memory. */
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  /** From the first to the last page of its segments (exclusive). Of physical memory: of its first page. */
  readonly start: bigint;
  readonly end: bigint;
  /** Where its header is. */
  readonly base: bigint;
  readonly kind: ElfKind;
  /** Such as "x86_64"; "EM_99" for what has no name here. */
  readonly machine: string;
  readonly bits: 32 | 64;
  readonly littleEndian: boolean;
  /** Whether its segments lie where they are to run, or as in the file. */
  readonly layout: ElfLayout;
  /** The GNU build id, in hex. */
  readonly buildId: string | undefined;
  /** Of the mapping that it is in. */
  readonly path: string | undefined;
  readonly soname: string | undefined;
  /** The path of the linker that it asks for. */
  readonly interpreter: string | undefined;
  /** The libraries that it asks for. */
  readonly needed: readonly string[];
  /** Whether a mapping that it reaches into may be executed; `undefined` in physical memory. */
  readonly executable: boolean | undefined;
  readonly how: ElfHow;
  /** For who reads on. @internal */
  readonly image: ElfImage;
  /** The address space of the process; `undefined` in physical memory. @internal */
  readonly memory: VirtualMemory | undefined;
}

/** Options of {@link listElfs}. */
export interface ElfOptions extends DamageOptions {
  /** Only this process's. */
  readonly pid?: number | undefined;
  /**
   * Whether to look at every page that is there, instead of at the beginnings of mappings only: what lies in anonymous memory, or
   * where no mapping is, is found that way. Default true.
   */
  readonly everywhere?: boolean | undefined;
}

/** ELF images in the address spaces of all processes, or of one, ascending by address within each. */
export function listElfs(kernel: LinuxKernel, options: ElfOptions = {}): IoSequence<FoundElf> {
  return IoSequence.of(kernel.memory.scheduler, elfsRoutine, kernel, options);
}

function* elfsRoutine(sink: Sink<FoundElf>, kernel: LinuxKernel, options: ElfOptions): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const tasks = yield* needTasks(data, options.pid, log.report);
  for (const space of yield* readSpaces(data, tasks, log.report)) {
    const images = yield* findImages(space, options.everywhere !== false, log.report);
    for (const each of images) yield sink.emit(foundElf(each, space));
  }
  log.end();
}

/** Options of {@link listPhysicalElfs}. */
export interface PhysicalElfOptions extends DamageOptions {
  /** Is told how far it is, in bytes. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * ELF headers at the beginnings of pages of physical memory: of what is mapped, cached, being written, or was and is free now. What lies
 * behind the first page of one is in other pages: so only what that page tells is known.
 *
 * @param ranges Physical addresses, half-open.
 */
export function listPhysicalElfs(
  physical: AddressSpace<number>,
  ranges: readonly ByteRange[],
  options: PhysicalElfOptions = {},
): IoSequence<FoundElf> {
  return IoSequence.of(physical.scheduler, physicalRoutine, physical, ranges, options);
}

const PAGE = 4096;
/** Pages that are looked at at once. */
const BATCH = 16_384;

function* physicalRoutine(
  sink: Sink<FoundElf>,
  physical: AddressSpace<number>,
  ranges: readonly ByteRange[],
  { onProgress }: PhysicalElfOptions,
): Routine<void> {
  const total = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  let done = 0;
  for (const { start, end } of ranges) {
    const first = Math.ceil(start / PAGE) * PAGE;
    for (let at = first; at + PAGE <= end; at += BATCH * PAGE) {
      const count = Math.min(BATCH, Math.floor((end - at) / PAGE));
      const addresses = Float64Array.from({ length: count }, (_, i) => at + i * PAGE);
      const gathered = yield* physical.gather(addresses, 4);
      for (let i = 0; i < count; i++) {
        if (!isElfMagic(gathered.bytes, 4 * i) || gathered.faultOf(i) !== 0) continue;
        const found = yield* inPage(physical, addresses[i] as number);
        if (found !== undefined) yield sink.emit(found);
      }
      done += count * PAGE;
      onProgress?.(done, total);
    }
  }
}

/** What the first page of an image tells. */
function* inPage(physical: AddressSpace<number>, address: number): Routine<FoundElf | undefined> {
  const page = yield* physical.readPartial(address, PAGE);
  if (page.holes.length > 0) return undefined;
  const source = new PageBytes(page.bytes);
  // (What is missing is in other pages: no damage.)
  const image = yield* readElfImage(source, 0n, "", () => {});
  if (image === undefined) return undefined;
  const { header } = image;
  const kind =
    header.type === ET_REL
      ? "relocatable"
      : header.type === ET_CORE
        ? "core"
        : header.type === ET_EXEC || image.interpreter !== undefined
          ? "program"
          : "library";
  const base = BigInt(address);
  const each: ProcessImage = { image, how: "physical memory", kind, path: undefined, executable: false };
  return {
    ...foundElf(each),
    base,
    start: base,
    end: base + BigInt(PAGE),
    executable: undefined,
  };
}

function foundElf({ image, how, kind, path, executable }: ProcessImage, space?: ProcessSpace): FoundElf {
  const { header } = image;
  return {
    pid: space?.task.tgid,
    comm: space?.task.comm,
    start: image.start,
    end: image.end,
    base: image.base,
    kind,
    machine: elfMachineName(header.machine),
    bits: header.bits,
    littleEndian: header.littleEndian,
    layout: image.layout,
    buildId: image.buildId,
    path,
    soname: image.soname,
    interpreter: image.interpreter,
    needed: image.needed,
    executable,
    how,
    image,
    memory: space?.memory,
  };
}
