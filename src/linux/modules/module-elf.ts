/**
 * A loaded module as an ELF file: its memory, its sections and its symbols, at the addresses that they have in the kernel.
 *
 * Facts: the ELF specification (gABI), "Sections", "Symbol Table", "Program Header"; elf(5) for numbers.
 */
import { encodeUtf8 } from "../../memory/text.js";
import type { LinuxKernel } from "../kernel.js";
import type { ModuleHole, ModuleRun } from "./module-memory.js";
import type { SectionPlace } from "./module-sections.js";
import type { ModuleTableEntry } from "./module-table.js";

/** What became of a section. `freed`: its memory was given back once the module had been set up. */
export type ModuleSectionState = "present" | "partial" | "missing" | "freed";

/** A section of a loaded module. */
export interface ModuleSection {
  readonly name: string;
  readonly address: bigint;
  /** Bytes up to the next section, or to the end of the module's memory; 0 if that was freed. */
  readonly size: number;
  readonly state: ModuleSectionState;
}

/** Bytes of a file. */
export interface ModuleFilePiece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What the file is made of. @internal */
export interface ModuleFacts {
  readonly sections: readonly ModuleSection[];
  /** Ascending; none overlaps another. */
  readonly runs: readonly ModuleRun[];
  readonly symbols: readonly ModuleTableEntry[];
  readonly pointerSize: 4 | 8;
  readonly littleEndian: boolean;
  readonly architecture: LinuxKernel["architecture"];
}

const MACHINES = { x86_64: 62, i386: 3, aarch64: 183, riscv64: 243 } as const;
const ET_EXEC = 2;
const [PROGBITS, SYMTAB, STRTAB, NOBITS] = [1, 2, 3, 8];
const [WRITE, ALLOC, EXECUTE] = [1, 2, 4];
const SHN_ABS = 0xfff1;
/** Numbers of sections, and of runs, end below what ELF keeps for other things. */
const MAX_HEADERS = 0xfe00;
const PAGE = 4096;

interface Header {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly address: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link?: number;
  readonly info?: number;
  readonly entry?: number;
}

/** Sections out of where they begin. @param holes Ascending; none overlaps another. @internal */
export function sectionsOf(
  places: readonly SectionPlace[],
  parts: readonly { readonly address: bigint; readonly size: number }[],
  tables: readonly bigint[],
  holes: readonly ModuleHole[],
): ModuleSection[] {
  const starts = [...places.map(({ address }) => address), ...tables].sort((a, b) =>
    a < b ? -1 : a > b ? 1 : 0,
  );
  const sections = [...places]
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0))
    .map(({ name, address }): ModuleSection => {
      const part = parts.find(
        (each) => each.address <= address && address < each.address + BigInt(each.size),
      );
      if (part === undefined) return { name, address, size: 0, state: "freed" };
      const partEnd = part.address + BigInt(part.size);
      const next = starts[indexAbove(starts.length, address, (i) => starts[i] as bigint)];
      const end = next === undefined || next > partEnd ? partEnd : next;
      return { name, address, size: Number(end - address), state: stateOf(address, end, holes) };
    });
  if (sections.length > 0) return sections;
  // Without names, the memory itself is what there is.
  return parts.map(({ address, size }, i) => ({
    name: `.memory.${i}`,
    address,
    size,
    state: stateOf(address, address + BigInt(size), holes),
  }));
}

function stateOf(start: bigint, end: bigint, holes: readonly ModuleHole[]): ModuleSectionState {
  const first = holes[indexAbove(holes.length, start, (i) => (holes[i] as ModuleHole).end)];
  if (first === undefined || first.start >= end) return "present";
  return first.start <= start && first.end >= end ? "missing" : "partial";
}

/** The index of the first of some ascending numbers that is above one, by halves. */
function indexAbove(count: number, address: bigint, at: (i: number) => bigint): number {
  let [from, to] = [0, count];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (at(middle) <= address) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** The file: its pieces ascending, and its length. Sections are cut where memory is missing: the rest has no bytes. @internal */
export function moduleFile(facts: ModuleFacts): { size: number; pieces: ModuleFilePiece[] } {
  const is64 = facts.pointerSize === 8;
  const pieces: ModuleFilePiece[] = [];
  const runs = facts.runs.slice(0, MAX_HEADERS);
  let at = (is64 ? 64 : 52) + runs.length * (is64 ? 56 : 32);
  const offsets: number[] = [];
  for (const { address, bytes } of runs) {
    // At a place that is as far behind a page's beginning as in memory, so that it could be mapped.
    at += (Number(address & BigInt(PAGE - 1)) - (at % PAGE) + PAGE) % PAGE;
    offsets.push(at);
    pieces.push({ offset: at, bytes });
    at += bytes.length;
  }
  const headers: Header[] = [{ name: "", type: 0, flags: 0, address: 0n, offset: 0, size: 0 }];
  for (const section of facts.sections) {
    // (The module's own tables of symbols: the file has them anew.)
    if (section.state === "freed" && /^\.(symtab|strtab)$/.test(section.name)) continue;
    if (headers.length >= MAX_HEADERS) break;
    headers.push(...headersOf(section, runs, offsets).slice(0, MAX_HEADERS - headers.length));
  }
  const { table, strings, locals } = symbolTable(facts, headers);
  const add = (header: Omit<Header, "flags" | "address" | "offset" | "size">, bytes: Uint8Array) => {
    at += (8 - (at % 8)) % 8;
    headers.push({ ...header, flags: 0, address: 0n, offset: at, size: bytes.length });
    pieces.push({ offset: at, bytes });
    at += bytes.length;
  };
  const entry = is64 ? 24 : 16;
  add({ name: ".symtab", type: SYMTAB, link: headers.length + 1, info: locals, entry }, table);
  add({ name: ".strtab", type: STRTAB }, strings);
  const names = new Strings();
  const nameAt = [...headers.map(({ name }) => names.add(name)), names.add(".shstrtab")];
  add({ name: ".shstrtab", type: STRTAB }, names.bytes());
  at += (8 - (at % 8)) % 8;
  const headersAt = at;
  const words = new Words(facts);
  for (const [i, each] of headers.entries()) {
    words
      .u32(nameAt[i] as number)
      .u32(each.type)
      .word(each.flags)
      .word(each.address)
      .word(each.offset)
      .word(each.size);
    words
      .u32(each.link ?? 0)
      .u32(each.info ?? 0)
      .word(each.type === SYMTAB ? 8 : 1)
      .word(each.entry ?? 0);
  }
  pieces.push({ offset: headersAt, bytes: words.bytes() });
  const size = headersAt + words.length;
  pieces.unshift({ offset: 0, bytes: header(facts, runs, offsets, headersAt, headers.length) });
  return { size, pieces };
}

/** The headers of a section: one, or one for each of its pieces and holes. */
function headersOf(section: ModuleSection, runs: readonly ModuleRun[], offsets: readonly number[]): Header[] {
  const found: Header[] = [];
  const { address: start } = section;
  const end = start + BigInt(section.size);
  const endOf = (i: number) => {
    const { address, bytes } = runs[i] as ModuleRun;
    return address + BigInt(bytes.length);
  };
  const push = (from: bigint, to: bigint, run: number | undefined) => {
    const isFirst = from === start;
    const suffix = isFirst ? "" : `.${(from - start).toString(16)}`;
    const name = section.name + suffix;
    const size = Number(to - from);
    const { writable, executable, address } = run === undefined ? NONE : (runs[run] as ModuleRun);
    const flags = ALLOC | (writable ? WRITE : 0) | (executable ? EXECUTE : 0);
    const offset = run === undefined ? 0 : (offsets[run] as number) + Number(from - address);
    found.push({ name, type: run === undefined ? NOBITS : PROGBITS, flags, address: from, offset, size });
  };
  let at = start;
  for (let i = indexAbove(runs.length, start, endOf); i < runs.length; i++) {
    const { address } = runs[i] as ModuleRun;
    if (address >= end) break;
    const runEnd = endOf(i);
    if (address > at) {
      push(at, address, undefined);
      at = address;
    }
    const from = at;
    at = runEnd < end ? runEnd : end;
    push(from, at, i);
  }
  if (at < end || found.length === 0) push(at, end, undefined);
  return found;
}

const NONE = { writable: false, executable: false, address: 0n };

function header(
  facts: ModuleFacts,
  runs: readonly ModuleRun[],
  offsets: readonly number[],
  headersAt: number,
  count: number,
): Uint8Array {
  const is64 = facts.pointerSize === 8;
  const size = is64 ? 64 : 52;
  const words = new Words(facts);
  words.u32be(0x7f454c46).u8(is64 ? 2 : 1, facts.littleEndian ? 1 : 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  words.u16(ET_EXEC).u16(MACHINES[facts.architecture]).u32(1);
  words
    .word(0)
    .word(runs.length === 0 ? 0 : size)
    .word(headersAt)
    .u32(0);
  words
    .u16(size)
    .u16(is64 ? 56 : 32)
    .u16(runs.length)
    .u16(is64 ? 64 : 40)
    .u16(count)
    .u16(count - 1);
  for (const [i, { address, bytes, writable, executable }] of runs.entries()) {
    const flags = 4 | (writable ? 2 : 0) | (executable ? 1 : 0);
    const offset = offsets[i] as number;
    words.u32(1);
    if (is64) words.u32(flags);
    words.word(offset).word(address).word(address).word(bytes.length).word(bytes.length);
    if (!is64) words.u32(flags);
    words.word(PAGE);
  }
  return words.bytes();
}

/** Symbols at their addresses; local ones come first, as they must. */
function symbolTable(
  facts: ModuleFacts,
  headers: readonly Header[],
): { table: Uint8Array; strings: Uint8Array; locals: number } {
  const is64 = facts.pointerSize === 8;
  const all = facts.symbols.map((each) => ({ ...each, info: each.info ?? infoOf(each.symbol.type) }));
  const isLocal = ({ info }: { info: number }) => info >> 4 === 0;
  const ordered = [...all.filter(isLocal), ...all.filter((each) => !isLocal(each))];
  const sections = [...headers.entries()]
    .filter(([, { flags }]) => (flags & ALLOC) !== 0)
    .sort(([, a], [, b]) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  const starts = sections.map(([, { address }]) => address);
  const strings = new Strings();
  const words = new Words(facts);
  words.u8(...new Array<number>(is64 ? 24 : 16).fill(0));
  for (const { symbol, size, info } of ordered) {
    const name = strings.add(symbol.name);
    const at = indexAbove(starts.length, symbol.address, (i) => starts[i] as bigint) - 1;
    const [index, section] = sections[at] ?? [SHN_ABS, undefined];
    const isIn = section !== undefined && symbol.address < section.address + BigInt(section.size);
    const place = isIn ? index : SHN_ABS;
    words.u32(name);
    if (is64) words.u8(info, 0).u16(place).word(symbol.address).word(size);
    else words.word(symbol.address).word(size).u8(info, 0).u16(place);
  }
  return { table: words.bytes(), strings: strings.bytes(), locals: 1 + all.filter(isLocal).length };
}

/** STB_GLOBAL for what is exported, STB_LOCAL else; STT_FUNC for text, STT_OBJECT else. */
function infoOf(letter: string): number {
  const isText = /[tTwW]/.test(letter);
  return (/[A-Z]/.test(letter) ? 0x10 : 0) | (isText ? 2 : 1);
}

/** A table of strings. */
class Strings {
  readonly #parts: Uint8Array[] = [Uint8Array.of(0)];
  readonly #known = new Map<string, number>([["", 0]]);
  #length = 1;

  /** @returns where it is. */
  add(text: string): number {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const at = this.#length;
    const bytes = encodeUtf8(`${text}\0`);
    this.#parts.push(bytes);
    this.#length += bytes.length;
    this.#known.set(text, at);
    return at;
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}

/** Numbers one after the other, as the machine has them. */
class Words {
  readonly #is64: boolean;
  readonly #little: boolean;
  #view = new DataView(new ArrayBuffer(256));
  #at = 0;

  constructor({ pointerSize, littleEndian }: Pick<ModuleFacts, "pointerSize" | "littleEndian">) {
    this.#is64 = pointerSize === 8;
    this.#little = littleEndian;
  }

  get length(): number {
    return this.#at;
  }

  u8(...values: number[]): this {
    for (const value of values) this.#room(1).setUint8(this.#at++, value);
    return this;
  }

  u16(value: number): this {
    this.#room(2).setUint16(this.#at, value, this.#little);
    this.#at += 2;
    return this;
  }

  u32(value: number): this {
    this.#room(4).setUint32(this.#at, value, this.#little);
    this.#at += 4;
    return this;
  }

  u32be(value: number): this {
    this.#room(4).setUint32(this.#at, value, false);
    this.#at += 4;
    return this;
  }

  /** As wide as a pointer. */
  word(value: number | bigint): this {
    if (!this.#is64) return this.u32(Number(BigInt.asUintN(32, BigInt(value))));
    this.#room(8).setBigUint64(this.#at, BigInt(value), this.#little);
    this.#at += 8;
    return this;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#at);
  }

  #room(bytes: number): DataView {
    if (this.#at + bytes <= this.#view.byteLength) return this.#view;
    const larger = new Uint8Array(2 * this.#view.byteLength);
    larger.set(new Uint8Array(this.#view.buffer));
    this.#view = new DataView(larger.buffer);
    return this.#view;
  }
}
