/**
 * The symbols of an ELF image: those of its dynamic section, which a linker needs and so are in memory; and those of the section
 * `.symtab`, which are in the file only.
 *
 * How many there are, the dynamic section does not say: a hash table over them does. Facts: System V ABI, chapter 5 (`DT_HASH`: the second
 * word is the number of symbols); glibc's elf/dl-lookup.c and https://flapenguin.me/elf-dt-gnu-hash (`DT_GNU_HASH`: chains of 32-bit
 * hashes, of which the last one is odd, of all symbols from `symoffset` on); Linux Standard Base, "Symbol Versioning".
 */
import { hex, type Routine } from "../../io/index.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { textAt } from "../objects/record.js";
import { type ByteSource, type ElfBytes, isWhole, readTable, type SourceBytes } from "./byte-source.js";
import { type ElfHeader, ElfWords } from "./elf-header.js";
import { type ElfImage, stringBytes } from "./elf-image.js";

const DT_HASH = 4n;
const DT_STRTAB = 5n;
const DT_SYMTAB = 6n;
const DT_GNU_HASH = 0x6fff_fef5n;
const DT_VERSYM = 0x6fff_fff0n;
const DT_VERDEF = 0x6fff_fffcn;

const SHT_SYMTAB = 2;

/** Symbols that are read of one image: the largest programs have some hundred thousand. */
const MAX_SYMBOLS = 1 << 21;
/** Bytes of one name. */
const MAX_NAME = 1 << 14;
/** Versions that one image defines; glibc has forty. */
const MAX_VERSIONS = 4096;
const MAX_SECTIONS = 1 << 16;

/** `STT_…` of a symbol. */
export const STT_NOTYPE = 0;
export const STT_OBJECT = 1;
export const STT_FUNC = 2;
export const STT_COMMON = 5;
export const STT_TLS = 6;
export const STT_GNU_IFUNC = 10;

/** `STB_…`. */
export const STB_LOCAL = 0;
export const STB_WEAK = 2;

/** `st_shndx` of what is defined elsewhere, and of what is a number and no address. */
const SHN_UNDEF = 0;
const SHN_ABS = 0xfff1;

/** A symbol that an image defines. */
export interface ElfSymbol {
  readonly name: string;
  /** Its address as linked; of thread-local ones, the offset in each thread's block. */
  readonly value: bigint;
  /** Bytes; 0n where that is not said. */
  readonly size: bigint;
  /** `STT_…`. */
  readonly type: number;
  /** `STB_…`. */
  readonly binding: number;
  /** The version that it is of, where it has one. */
  readonly version: string | undefined;
  /** Whether programs that name no version get another one of that name (`name@VERSION`, not `@@`). */
  readonly old: boolean;
}

/** The symbols that an image defines for other objects. */
export function* readDynamicSymbols(
  source: ByteSource,
  image: ElfImage,
  what: string,
  report: OnDamage,
): Routine<ElfSymbol[]> {
  const name = `the dynamic symbols of ${what}`;
  const [table, strings] = [placeOf(image, DT_SYMTAB), placeOf(image, DT_STRTAB)];
  if (image.dynamic === undefined || (table === undefined && image.tag(DT_SYMTAB) === undefined)) return [];
  if (table === undefined || strings === undefined) {
    const wrong = table === undefined ? "DT_SYMTAB" : "DT_STRTAB";
    const value = image.tag(table === undefined ? DT_SYMTAB : DT_STRTAB);
    report(
      damage(
        name,
        image.base,
        "invalid",
        0,
        `${wrong} is ${value === undefined ? "missing" : hex(value)}, in no segment`,
      ),
    );
    return [];
  }
  const size = image.header.bits === 64 ? 24 : 16;
  const room = Number(image.bytesBehind(table.linked) / BigInt(size));
  const said = yield* countSymbols(source, image, name, report);
  // (Without a hash table: linkers put the strings right behind the symbols.)
  const gap = strings.linked > table.linked ? Number((strings.linked - table.linked) / BigInt(size)) : 0;
  const count = Math.min(said ?? gap, room, MAX_SYMBOLS);
  if (said !== undefined && said > count) {
    report(damage(name, table.address, "too long", 0, `${said} of them: the first ${count} are read`));
  }
  const symbols = yield* readTable(source, table.address, count * size);
  const texts = yield* readTable(source, strings.address, stringBytes(image, strings.linked));
  const versions = yield* readVersions(source, image, count, texts, name, report);
  const tables = { symbols, texts, count, at: table.address };
  return decodeSymbols(tables, image.header, versions, name, report);
}

/**
 * The symbols of the section `.symtab` of a file, local ones among them; `undefined` where the file has none (it is stripped), or what
 * says so is not there.
 */
export function* readSymtab(
  file: ElfBytes,
  header: ElfHeader,
  what: string,
  report: OnDamage,
): Routine<ElfSymbol[] | undefined> {
  const size = header.sectionHeaderBytes;
  if (header.sectionHeaders === 0n || size !== (header.bits === 64 ? 64 : 40)) return undefined;
  const count = Math.min(header.sectionCount, MAX_SECTIONS);
  const read = yield* readTable(file, header.sectionHeaders, count * size);
  const words = new ElfWords(read.bytes, header);
  const wide = header.bits === 64;
  const sectionAt = (i: number) => {
    const at = i * size;
    if (i >= count || !isWhole(read, at, at + size)) return undefined;
    const [offset, bytes] = wide
      ? [words.word(at + 24), words.word(at + 32)]
      : [words.word(at + 16), words.word(at + 20)];
    return { type: words.u32(at + 4), offset, bytes, link: words.u32(at + (wide ? 40 : 24)) };
  };
  for (let i = 0; i < count; i++) {
    const section = sectionAt(i);
    if (section?.type !== SHT_SYMTAB) continue;
    const strings = sectionAt(section.link);
    const name = `the symbol table of ${what}`;
    if (strings === undefined) {
      report(
        damage(
          name,
          section.offset,
          "invalid",
          0,
          `its strings are section ${section.link}, of which nothing is there`,
        ),
      );
      return undefined;
    }
    const each = wide ? 24 : 16;
    const said = Number(section.bytes / BigInt(each));
    const kept = Math.min(said, MAX_SYMBOLS);
    if (said > kept)
      report(damage(name, section.offset, "too long", 0, `${said} of them: the first ${kept} are read`));
    const symbols = yield* readTable(file, section.offset, kept * each);
    const texts = yield* readTable(file, strings.offset, Number(strings.bytes));
    return decodeSymbols(
      { symbols, texts, count: kept, at: section.offset },
      header,
      undefined,
      name,
      report,
    );
  }
  return undefined;
}

interface Place {
  readonly linked: bigint;
  readonly address: bigint;
}

/** Where a table is that an entry of the dynamic section points to. */
function placeOf(image: ElfImage, tag: bigint): Place | undefined {
  const value = image.tag(tag);
  const linked = value === undefined ? undefined : image.linkedOf(value);
  const address = linked === undefined ? undefined : image.at(linked);
  return linked === undefined || address === undefined ? undefined : { linked, address };
}

/** As a hash table says; `undefined` where none is there. */
function* countSymbols(
  source: ByteSource,
  image: ElfImage,
  what: string,
  report: OnDamage,
): Routine<number | undefined> {
  const [plain, gnu] = [placeOf(image, DT_HASH), placeOf(image, DT_GNU_HASH)];
  if (plain !== undefined) {
    const read = yield* source.read(plain.address, 8);
    if (isWhole(read, 0, 8)) return new ElfWords(read.bytes, image.header).u32(4);
  }
  if (gnu === undefined) return undefined;
  const head = yield* source.read(gnu.address, 16);
  if (!isWhole(head, 0, 16)) return undefined;
  const words = new ElfWords(head.bytes, image.header);
  const [buckets, first, bloom] = [words.u32(0), words.u32(4), words.u32(8)];
  const room = Number(image.bytesBehind(gnu.linked));
  const bucketsAt = 16 + (bloom * image.header.bits) / 8;
  const chainsAt = bucketsAt + 4 * buckets;
  if (chainsAt > room) {
    report(damage(what, gnu.address, "invalid", 0, "their hash table is larger than its segment"));
    return undefined;
  }
  const table = yield* readTable(source, gnu.address + BigInt(bucketsAt), 4 * buckets);
  const heads = new ElfWords(table.bytes, image.header);
  let last = 0;
  for (let at = 0; at < table.bytes.length; at += 4) {
    if (isWhole(table, at, at + 4)) last = Math.max(last, heads.u32(at));
  }
  if (last < first) return first;
  // The chain of the last bucket: the last symbol's hash is odd.
  const step = 4096;
  for (let index = last; ; ) {
    const offset = chainsAt + 4 * (index - first);
    if (offset + 4 > room || index >= MAX_SYMBOLS) {
      report(damage(what, gnu.address, "invalid", 0, "a chain of their hash table does not end"));
      return undefined;
    }
    const read = yield* source.read(gnu.address + BigInt(offset), Math.min(step, room - offset));
    const chain = new ElfWords(read.bytes, image.header);
    for (let at = 0; at + 4 <= read.bytes.length; at += 4, index++) {
      if (!isWhole(read, at, at + 4)) {
        report(damage(what, gnu.address + BigInt(offset + at), "unreadable", read.holes[0]?.fault ?? 0));
        return index;
      }
      if ((chain.u32(at) & 1) !== 0) return index + 1;
    }
    if (read.bytes.length < 4) return index;
  }
}

/** Versions by symbol. */
interface Versions {
  /** A number for each symbol; bit 15: not the one for who asks for none. */
  readonly numbers: SourceBytes;
  readonly names: ReadonlyMap<number, string>;
}

/** The versions that an image defines; `undefined` where it defines none. */
function* readVersions(
  source: ByteSource,
  image: ElfImage,
  count: number,
  texts: SourceBytes,
  what: string,
  report: OnDamage,
): Routine<Versions | undefined> {
  const [numbers, definitions] = [placeOf(image, DT_VERSYM), placeOf(image, DT_VERDEF)];
  if (numbers === undefined || definitions === undefined) return undefined;
  const names = new Map<number, string>();
  const room = Number(image.bytesBehind(definitions.linked));
  const table = yield* readTable(source, definitions.address, Math.min(room, 1 << 18));
  const words = new ElfWords(table.bytes, image.header);
  let at = 0;
  for (let i = 0; i < MAX_VERSIONS && isWhole(table, at, at + 20); i++) {
    const [flags, number, aux, next] = [
      words.u16(at + 2),
      words.u16(at + 4),
      words.u32(at + 12),
      words.u32(at + 16),
    ];
    // (The first one is the file itself.)
    if ((flags & 1) === 0 && isWhole(table, at + aux, at + aux + 4)) {
      const name = nameAt(texts, words.u32(at + aux));
      if (name !== undefined) names.set(number & 0x7fff, name);
    }
    if (next === 0) return { numbers: yield* readTable(source, numbers.address, 2 * count), names };
    at += next;
  }
  report(damage(`the versions of ${what}`, definitions.address, "invalid", 0, "their list does not end"));
  return { numbers: yield* readTable(source, numbers.address, 2 * count), names };
}

interface Tables {
  readonly symbols: SourceBytes;
  readonly texts: SourceBytes;
  readonly count: number;
  /** For messages. */
  readonly at: bigint;
}

function decodeSymbols(
  { symbols, texts, count, at: address }: Tables,
  header: ElfHeader,
  versions: Versions | undefined,
  what: string,
  report: OnDamage,
): ElfSymbol[] {
  const wide = header.bits === 64;
  const size = wide ? 24 : 16;
  const words = new ElfWords(symbols.bytes, header);
  const numbers = versions === undefined ? undefined : new ElfWords(versions.numbers.bytes, header);
  const found: ElfSymbol[] = [];
  let missing = 0;
  let nameless = 0;
  // Names share their ends; what has many more is made to use up memory.
  let left = 4 * texts.bytes.length + (1 << 16);
  for (let i = 1; i < count; i++) {
    const at = i * size;
    if (!isWhole(symbols, at, at + size)) {
      missing++;
      continue;
    }
    const info = words.u8(at + (wide ? 4 : 12));
    const section = words.u16(at + (wide ? 6 : 14));
    const type = info & 15;
    if (section === SHN_UNDEF || section === SHN_ABS || !isNamed(type)) continue;
    const name = left < 0 ? undefined : nameAt(texts, words.u32(at));
    if (name === undefined) {
      nameless++;
      continue;
    }
    if (name === "") continue;
    left -= name.length;
    const number =
      numbers !== undefined && isWhole((versions as Versions).numbers, 2 * i, 2 * i + 2)
        ? numbers.u16(2 * i)
        : 1;
    found.push({
      name,
      value: words.word(at + (wide ? 8 : 4)),
      size: words.word(at + (wide ? 16 : 8)),
      type,
      binding: info >> 4,
      version: versions?.names.get(number & 0x7fff),
      old: (number & 0x8000) !== 0,
    });
  }
  if (missing > 0) {
    report(damage(what, address, "unreadable", 0, `${missing} of ${count} are in pages that are not there`));
  }
  if (nameless > 0)
    report(damage(what, address, "unreadable", 0, `the names of ${nameless} of ${count} are not there`));
  return found;
}

/** Whether symbols of that type stand for something in memory: no sections and files. */
function isNamed(type: number): boolean {
  return (
    type === STT_NOTYPE ||
    type === STT_OBJECT ||
    type === STT_FUNC ||
    type === STT_COMMON ||
    type === STT_TLS ||
    type === STT_GNU_IFUNC
  );
}

/** `undefined` if its end is not there. */
function nameAt(texts: SourceBytes, at: number): string | undefined {
  const within = texts.bytes.subarray(at, at + MAX_NAME).indexOf(0);
  if (at >= texts.bytes.length || within < 0 || !isWhole(texts, at, at + within + 1)) return undefined;
  return textAt(texts.bytes, at, at + within);
}
