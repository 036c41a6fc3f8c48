/** The libraries of processes: what their own linkers say, against what is in memory. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData } from "../kernel-data.js";
import { DamageLog, type DamageOptions, type OnDamage } from "../objects/damage.js";
import { needTasks } from "../tasks/task.js";
import { type LinkEntry, type LinkListOrigin, readLinkList } from "./link-map.js";
import {
  type ElfHow,
  type ElfKind,
  findImages,
  type ProcessImage,
  type ProcessSpace,
  rangeAt,
  readSpaces,
} from "./process-images.js";

/** What a process's linker has loaded, or what lies in its memory as if it had. */
export interface LoadedLibrary {
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  /** What was added to the addresses as linked: where it begins, but for programs that can't be moved. */
  readonly base: bigint;
  /** Where its dynamic section is; `undefined` for what has none. */
  readonly dynamic: bigint | undefined;
  /** As the linker has it: the path that it was loaded by, "" for the program. `null` for what is on no list. */
  readonly name: string | undefined | null;
  /** The namespace that it was loaded into: 0, or what `dlmopen` made. `null` for what is on no list. */
  readonly namespace: number | null;
  /** Of the mapping that it is in: the file's path now, with " (deleted)" where that is gone. "" for a mapping without one. */
  readonly path: string | undefined;
  readonly kind: ElfKind | undefined;
  readonly soname: string | undefined;
  readonly buildId: string | undefined;
  /**
   * What does not fit. `unlisted`: an ELF image that the linker does not know. `unmapped`: an entry of its list that leads into no mapping.
   * `no header`: an entry that leads into memory without an ELF header at its base.
   */
  readonly hint: "unlisted" | "unmapped" | "no header" | undefined;
  /** How the linker's list was found; `undefined` for what is on none. */
  readonly origin: LinkListOrigin | undefined;
  /** For what is on no list: how it was found. */
  readonly how: ElfHow | undefined;
  /** Address of the linker's `struct link_map`; `undefined` for what is on no list. */
  readonly linkMap: bigint | undefined;
}

/** Options of {@link listLibraries}. */
export interface LibraryOptions extends DamageOptions {
  /** Only this process's. */
  readonly pid?: number | undefined;
}

/**
 * The libraries of all processes, or of one: in the order of their linkers' lists, and then the ELF images in their memory that are on
 * none. (What runs without a linker has no list: of such processes, nothing is listed.)
 */
export function listLibraries(kernel: LinuxKernel, options: LibraryOptions = {}): IoSequence<LoadedLibrary> {
  return IoSequence.of(kernel.memory.scheduler, librariesRoutine, kernel, options);
}

function* librariesRoutine(
  sink: Sink<LoadedLibrary>,
  kernel: LinuxKernel,
  options: LibraryOptions,
): Routine<void> {
  const log = new DamageLog(options);
  const data = yield* kernelData(kernel);
  const tasks = yield* needTasks(data, options.pid, log.report);
  for (const space of yield* readSpaces(data, tasks, log.report)) {
    for (const each of yield* librariesOf(space, log.report)) yield sink.emit(each);
  }
  log.end();
}

function* librariesOf(space: ProcessSpace, report: OnDamage): Routine<LoadedLibrary[]> {
  const images = yield* findImages(space, true, report);
  const { entries, origin } = yield* readLinkList(space, images, report);
  if (origin === undefined) return [];
  const { tgid: pid, comm } = space.task;
  const listed = new Set<ProcessImage>();
  const byDynamic = new Map<bigint, ProcessImage>();
  const byBias = new Map<bigint, ProcessImage[]>();
  for (const each of images) {
    const { layout, dynamic, bias } = each.image;
    if (layout !== "loaded") continue;
    if (dynamic !== undefined && !byDynamic.has(dynamic.address)) byDynamic.set(dynamic.address, each);
    const others = byBias.get(bias);
    if (others === undefined) byBias.set(bias, [each]);
    else others.push(each);
  }
  /** The image of an entry: the one with that dynamic section, or at that place. */
  const imageOf = ({ bias, dynamic }: LinkEntry) =>
    byDynamic.get(dynamic) ??
    byBias.get(bias)?.find(({ image }) => dynamic >= image.start && dynamic < image.end);
  const found: LoadedLibrary[] = entries.map((entry) => {
    const image = imageOf(entry);
    if (image !== undefined) listed.add(image);
    const range = rangeAt(space, entry.dynamic);
    return {
      pid,
      comm,
      base: entry.bias,
      dynamic: entry.dynamic,
      name: entry.name,
      namespace: entry.namespace,
      path: image?.path ?? range?.path,
      kind: image?.kind,
      soname: image?.image.soname,
      buildId: image?.image.buildId,
      hint: range === undefined ? "unmapped" : image === undefined ? "no header" : undefined,
      origin,
      how: undefined,
      linkMap: entry.address,
    };
  });
  for (const each of images) {
    if (listed.has(each)) continue;
    found.push({
      pid,
      comm,
      base: each.image.base,
      dynamic: each.image.dynamic?.address,
      name: null,
      namespace: null,
      path: each.path,
      kind: each.kind,
      soname: each.image.soname,
      buildId: each.image.buildId,
      hint: "unlisted",
      origin: undefined,
      how: each.how,
      linkMap: undefined,
    });
  }
  return found;
}
