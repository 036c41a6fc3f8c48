/** Reads the symbols of a process out of the images in its memory. */
import type { Routine } from "../../io/index.js";
import type { OnDamage } from "../objects/damage.js";
import { EitherBytes, type ElfBytes } from "./byte-source.js";
import { PF_W, PF_X } from "./elf-header.js";
import type { ElfImage } from "./elf-image.js";
import {
  type ElfSymbol,
  readDynamicSymbols,
  readSymtab,
  STB_LOCAL,
  STB_WEAK,
  STT_FUNC,
  STT_GNU_IFUNC,
  STT_OBJECT,
  STT_TLS,
} from "./elf-symbols.js";
import { ImageFile } from "./image-file.js";
import { compare } from "./order.js";
import { findImages, type ProcessImage, type ProcessSpace } from "./process-images.js";
import type { UserObject, UserSymbol } from "./user-symbols.js";

/** Where the file of an image is, other than in the image itself; `undefined` where it is nowhere. */
export type FileOf = (image: ProcessImage, space: ProcessSpace) => Routine<ElfBytes | undefined>;

/**
 * Reads the symbols of a process's objects: the dynamic ones, and where the file's section headers are there, those of `.symtab`.
 *
 * @param fileOf Gives what else is there of an image's file: linkers put section headers and `.symtab` at its end, which no segment has.
 */
export function* readUserSymbols(
  space: ProcessSpace,
  report: OnDamage,
  fileOf: FileOf,
): Routine<UserObject[]> {
  const images = yield* findImages(space, false, report);
  const objects: UserObject[] = [];
  for (const each of images) {
    if (each.image.layout !== "loaded" || each.kind === "core" || each.kind === "relocatable") continue;
    objects.push(yield* readObject(space, each, report, fileOf));
  }
  return objects;
}

function* readObject(
  space: ProcessSpace,
  found: ProcessImage,
  report: OnDamage,
  fileOf: FileOf,
): Routine<UserObject> {
  const { image, path } = found;
  const name = objectName(found);
  const what = `${name} of process ${space.task.tgid}`;
  const dynamic = yield* readDynamicSymbols(space.source, image, what, report);
  const mapped = new ImageFile(space.source, image);
  const file = yield* fileOf(found, space);
  const bytes = file === undefined ? mapped : new EitherBytes(file, mapped);
  const more = yield* readSymtab(bytes, image.header, what, report);
  // (What is in both is one: the dynamic one has its version apart from its name.)
  const known = new Set(dynamic.map((each) => `${each.value} ${each.name}`));
  const others = (more ?? []).filter(
    ({ name: own, value }) => !known.has(`${value} ${own.replace(/@.*$/, "")}`),
  );
  const threadLocal = new Map<string, bigint>();
  const symbols: UserSymbol[] = [];
  for (const each of [...dynamic, ...others]) {
    if (each.type === STT_TLS) {
      threadLocal.set(each.name, each.value);
      continue;
    }
    const address = image.at(each.value);
    if (address === undefined || image.bytesBehind(each.value) === 0n) continue;
    symbols.push({
      name: each.old && each.version !== undefined ? `${each.name}@${each.version}` : each.name,
      address,
      type: letterOf(each, image),
      module: name,
      path: path?.startsWith("/") === true ? path : undefined,
      size: each.size,
      version: each.version,
    });
  }
  symbols.sort((a, b) => compare(a.address, b.address));
  const { start, end, soname } = image;
  return { name, soname, path, start, end, symbols, threadLocal };
}

/** The name of an image's file without folders; its own where it has no file; "vdso". */
export function objectName({ image, path, kind }: ProcessImage): string {
  if (kind === "vdso") return "vdso";
  const file = path?.replace(/ \(deleted\)$/, "").replace(/^.*\//, "");
  return file === undefined || file === "" ? (image.soname ?? `0x${image.base.toString(16)}`) : file;
}

/** As nm has it. */
function letterOf({ type, binding, value }: ElfSymbol, image: ElfImage): string {
  if (type === STT_GNU_IFUNC) return "i";
  if (binding === STB_WEAK) return type === STT_OBJECT ? "V" : "W";
  const segment = image.loads.find(
    ({ address, memoryBytes }) => value >= address && value < address + memoryBytes,
  );
  const flags = segment?.flags ?? 0;
  const isText = type === STT_FUNC || (flags & PF_X) !== 0;
  const isZero = segment !== undefined && value >= segment.address + segment.fileBytes;
  const letter = isText ? "T" : isZero ? "B" : (flags & PF_W) !== 0 ? "D" : "R";
  return binding === STB_LOCAL ? letter.toLowerCase() : letter;
}
