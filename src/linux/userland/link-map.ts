/**
 * The list of what a process's dynamic linker has loaded, as the linker itself keeps it for debuggers.
 *
 * Facts: glibc's elf/link.h and musl's include/link.h: `struct r_debug` (`int r_version`, `struct link_map *r_map`, `ElfW(Addr) r_brk`,
 * `enum r_state`, `ElfW(Addr) r_ldbase`), since glibc 2.35 with version 2 and `r_next`, one for each namespace of `dlmopen`; `struct
 * link_map` (`l_addr`, `l_name`, `l_ld`, `l_next`, `l_prev`). DT_DEBUG of the program leads to the first one.
 */
import { hex, type Routine } from "../../io/index.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { AT_BASE, AT_PHDR, AT_PHNUM } from "./auxv.js";
import { isWhole } from "./byte-source.js";
import { ElfWords } from "./elf-header.js";
import { type ElfImage, readElfImage, stringIn } from "./elf-image.js";
import { readDynamicSymbols } from "./elf-symbols.js";
import type { ProcessImage, ProcessSpace } from "./process-images.js";

/** Entries of one list, and lists, that are followed. */
const MAX_ENTRIES = 65_536;
const MAX_NAMESPACES = 64;
const MAX_PATH = 4096;

/** How the list was found. */
export type LinkListOrigin = "DT_DEBUG" | "_r_debug";

/** An entry of the linker's list. */
export interface LinkEntry {
  /** Address of its `struct link_map`. */
  readonly address: bigint;
  /** 0 for the program's own namespace. */
  readonly namespace: number;
  /** What was added to the addresses as linked. */
  readonly bias: bigint;
  readonly dynamic: bigint;
  /** As the linker has it: a path, or "" for the program. */
  readonly name: string | undefined;
}

/** What a linker has loaded. */
export interface LinkList {
  readonly entries: readonly LinkEntry[];
  /** `undefined` where there is no list: a program without a dynamic linker, or one that has not begun. */
  readonly origin: LinkListOrigin | undefined;
}

/**
 * The lists of a process's linker.
 *
 * @param images Of the process, at the beginnings of its mappings.
 */
export function* readLinkList(
  space: ProcessSpace,
  images: readonly ProcessImage[],
  report: OnDamage,
): Routine<LinkList> {
  const program = images.find(({ kind, image }) => kind === "program" && image.layout === "loaded")?.image;
  const own = program ?? (yield* programByAuxv(space, report));
  const linker =
    images.find(({ kind }) => kind === "interpreter")?.image ?? (yield* linkerByAuxv(space, report));
  const what = `process ${space.task.tgid}`;
  const debug = own?.dynamic?.debug;
  if (own !== undefined && debug !== undefined && debug !== 0n) {
    const entries = yield* readNamespaces(space, own, debug, report);
    if (entries.length > 0) return { entries, origin: "DT_DEBUG" };
  }
  if (linker === undefined) return { entries: [], origin: undefined };
  const symbols = yield* readDynamicSymbols(space.source, linker, `the linker of ${what}`, report);
  const byName = (name: string) => symbols.find((each) => each.name === name)?.value;
  let address = linkedAt(linker, byName("_r_debug"));
  if (address === undefined) {
    // musl's is no symbol itself, but what this points to is.
    const pointer = linkedAt(linker, byName("_dl_debug_addr"));
    address = pointer === undefined ? undefined : yield* readWord(space, linker, pointer);
  }
  if (address === undefined || address === 0n) return { entries: [], origin: undefined };
  const entries = yield* readNamespaces(space, linker, address, report);
  return { entries, origin: entries.length === 0 ? undefined : "_r_debug" };
}

function linkedAt(image: ElfImage, linked: bigint | undefined): bigint | undefined {
  return linked === undefined ? undefined : image.at(linked);
}

/** The program by where the kernel said that its headers are, where no mapping begins with it. */
function* programByAuxv(
  { source, auxv, task }: ProcessSpace,
  report: OnDamage,
): Routine<ElfImage | undefined> {
  const headers = auxv.values.get(AT_PHDR);
  if (headers === undefined || auxv.values.get(AT_PHNUM) === 0n) return undefined;
  // The headers lie right behind the file's own, in the first page.
  const base = headers - (headers % 4096n);
  return yield* readElfImage(source, base, `of the program of process ${task.tgid}`, report);
}

function* linkerByAuxv(
  { source, auxv, task }: ProcessSpace,
  report: OnDamage,
): Routine<ElfImage | undefined> {
  const base = auxv.values.get(AT_BASE);
  if (base === undefined || base === 0n) return undefined;
  return yield* readElfImage(source, base, `of the linker of process ${task.tgid}`, report);
}

function* readWord({ source }: ProcessSpace, image: ElfImage, at: bigint): Routine<bigint | undefined> {
  const width = image.header.bits / 8;
  const read = yield* source.read(at, width);
  return isWhole(read, 0, width) ? new ElfWords(read.bytes, image.header).word(0) : undefined;
}

/** The lists of all namespaces, from the first `r_debug` on. */
function* readNamespaces(
  space: ProcessSpace,
  image: ElfImage,
  first: bigint,
  report: OnDamage,
): Routine<LinkEntry[]> {
  const width = image.header.bits / 8;
  const what = `the linker's r_debug of process ${space.task.tgid}`;
  const found: LinkEntry[] = [];
  const seen = new Set<bigint>();
  const maps = new Set<bigint>();
  let at = first;
  for (let namespace = 0; at !== 0n; namespace++) {
    if (seen.has(at) || namespace >= MAX_NAMESPACES) {
      report(damage(what, at, seen.has(at) ? "loop" : "too long"));
      break;
    }
    seen.add(at);
    // The version in a word of its own, then three words, of which one is an enum, and the last two.
    const read = yield* space.source.read(at, 6 * width);
    const words = new ElfWords(read.bytes, image.header);
    if (!isWhole(read, 0, 2 * width)) {
      report(damage(what, at, "unreadable", read.holes[0]?.fault ?? 0));
      break;
    }
    const version = words.u32(0);
    if (version === 0 || version > 16) {
      // (Before the linker began, all of it is zero.)
      if (version !== 0) report(damage(what, at, "invalid", 0, `its version is ${version}`));
      break;
    }
    yield* readEntries(space, image, words.word(width), namespace, maps, found, report);
    at = version >= 2 && isWhole(read, 5 * width, 6 * width) ? words.word(5 * width) : 0n;
  }
  return found;
}

/** One list. */
function* readEntries(
  space: ProcessSpace,
  image: ElfImage,
  first: bigint,
  namespace: number,
  seen: Set<bigint>,
  found: LinkEntry[],
  report: OnDamage,
): Routine<void> {
  const { source, task } = space;
  const width = image.header.bits / 8;
  const what = `the linker's list of process ${task.tgid}`;
  let before = 0n;
  for (let at = first; at !== 0n; ) {
    if (seen.has(at) || found.length >= MAX_ENTRIES) {
      report(damage(what, at, seen.has(at) ? "loop" : "too long"));
      return;
    }
    seen.add(at);
    const read = yield* source.read(at, 5 * width);
    if (!isWhole(read, 0, 4 * width)) {
      report(damage(what, at, "unreadable", read.holes[0]?.fault ?? 0));
      return;
    }
    const words = new ElfWords(read.bytes, image.header);
    const [bias, nameAt, dynamic, next] = [0, 1, 2, 3].map((i) => words.word(i * width)) as [
      bigint,
      bigint,
      bigint,
      bigint,
    ];
    const previous = isWhole(read, 4 * width, 5 * width) ? words.word(4 * width) : before;
    if (previous !== before) {
      report(damage(what, at, "mismatch", 0, `l_prev is ${hex(previous)}, and it comes from ${hex(before)}`));
    }
    found.push({ address: at, namespace, bias, dynamic, name: yield* readName(space, nameAt, at, report) });
    before = at;
    at = next;
  }
}

function* readName(
  { source, task }: ProcessSpace,
  at: bigint,
  entry: bigint,
  report: OnDamage,
): Routine<string | undefined> {
  if (at === 0n) return "";
  const read = yield* source.read(at, MAX_PATH);
  const name = stringIn(read, 0);
  if (name === undefined) {
    const fault = read.holes[0]?.fault ?? 0;
    report(
      damage(
        `the name of a library of process ${task.tgid}`,
        entry,
        fault === 0 ? "invalid" : "unreadable",
        fault,
      ),
    );
  }
  return name;
}
