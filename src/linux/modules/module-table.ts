/**
 * A module's own table of symbols: what /proc/kallsyms shows of it.
 *
 * Facts: include/linux/module.h (`struct mod_kallsyms`, since 4.5, 8244062ef1e5), kernel/module/kallsyms.c
 * (`add_kallsyms`, `module_get_kallsym`), include/uapi/linux/elf.h (`Elf64_Sym`, `Elf32_Sym`), kernel/kallsyms.c (`s_show`:
 * a letter is upper case if the symbol is exported to every module), include/linux/export-internal.h and export.h
 * (`struct kernel_symbol`).
 */
import { type Fault, faultState, type Routine } from "../../io/index.js";
import type { KernelData } from "../kernel-data.js";
import { type Damage, damage, type OnDamage } from "../objects/damage.js";
import { int, maybe, place, record, textAt, word } from "../objects/record.js";
import { readStrings } from "../objects/strings.js";
import type { KernelSymbol } from "../symbols/symbol.js";
import type { ModuleRow } from "./module-parts.js";

const KALLSYMS = record("mod_kallsyms", {
  symtab: word("symtab"),
  numSymtab: int("num_symtab"),
  strtab: word("strtab"),
  // Since 5.2 (1c7651f43777); before, the letter stands in `st_info`.
  typetab: maybe(word("typetab")),
});

const EXPORTED = record("kernel_symbol", {
  // Offsets from themselves where the architecture has such relocations, since 4.19 (7290d5809571).
  valueAt: maybe(place("value_offset")),
  valueOffset: maybe(int("value_offset")),
  nameAt: maybe(place("name_offset")),
  nameOffset: maybe(int("name_offset")),
  value: maybe(word("value")),
  name: maybe(word("name")),
});

/** More symbols than any module has (the largest have some ten thousand). */
const MAX_SYMBOLS = 1 << 19;
/** More bytes of names than any module has. */
const MAX_STRINGS = 16 << 20;
const MAX_EXPORTED = 1 << 16;
/** Bytes that are read at a time. */
const PIECE = 1 << 16;
/** `KSYM_NAME_LEN` is 512 at most. */
const MAX_NAME = 512;

/** More symbols than all modules of a kernel have. */
const MAX_ALL = 1 << 22;

/** Tables of one module after the other: each belongs to one, and all of them have an end. @internal */
export class ModuleTables {
  readonly #data: KernelData;
  readonly #report: OnDamage;
  readonly #modules = new Map<bigint, string>();
  #left = MAX_ALL;
  #isTold = false;

  constructor(data: KernelData, report: OnDamage) {
    this.#data = data;
    this.#report = report;
  }

  /** The symbols of a module; at most 2^19. Those without a name, and those that belong to others, are left out. */
  *read(row: ModuleRow): Routine<KernelSymbol[]> {
    const module = row.partial.name ?? "?";
    const place = yield* placeOf(this.#data, row, this.#report);
    if (place === undefined) return [];
    const what = `symbols of module ${module}`;
    const other = this.#modules.get(place.symtab);
    if (other !== undefined) {
      this.#report(damage(what, place.symtab, "invalid", 0, `they are those of module ${other}`));
      return [];
    }
    this.#modules.set(place.symtab, module);
    // (Tables may lie one within the other.)
    const count = Math.min(place.count, this.#left);
    this.#left -= count;
    if (count < place.count && !this.#isTold) {
      this.#isTold = true;
      this.#report(damage(what, place.symtab, "too long", 0, `more than ${MAX_ALL} symbols of all modules`));
    }
    const entries = yield* readTable(this.#data, row, { ...place, count }, this.#report);
    return entries.map(({ symbol }) => symbol);
  }
}

/** A symbol, with what its entry in the table says beside. @internal */
export interface ModuleTableEntry {
  readonly symbol: KernelSymbol;
  /** Bytes. */
  readonly size: number;
  /** `st_info`; `undefined` where the kernel keeps the letter there. */
  readonly info: number | undefined;
}

/** The entries of a module's table, and where its tables lie: no section goes on there. @internal */
export function* readModuleTable(
  data: KernelData,
  row: ModuleRow,
  report: OnDamage,
): Routine<{ entries: ModuleTableEntry[]; tables: bigint[] }> {
  const place = yield* placeOf(data, row, report);
  if (place === undefined) return { entries: [], tables: [] };
  const tables = [place.symtab, place.strtab, place.typetab].filter((each) => each !== undefined);
  return { entries: yield* readTable(data, row, place, report), tables };
}

/** Where a module's symbols lie. */
interface TablePlace {
  readonly symtab: bigint;
  readonly count: number;
  readonly strtab: bigint;
  readonly typetab: bigint | undefined;
}

function* placeOf(
  { memory, types }: KernelData,
  { partial }: ModuleRow,
  report: OnDamage,
): Routine<TablePlace | undefined> {
  const module = partial.name ?? "?";
  const what = `symbols of module ${module}`;
  let { symtab, numSymtab, strtab } = partial;
  let typetab: bigint | undefined;
  if (partial.kallsyms !== undefined && partial.kallsyms !== 0n) {
    const [row] = yield* KALLSYMS.on(types).read(memory, [partial.kallsyms]);
    if (row?.value === undefined) {
      report(damage(what, partial.kallsyms, "unreadable", row?.fault ?? 0));
      return undefined;
    }
    ({ symtab, numSymtab, strtab, typetab } = row.value);
  }
  if (symtab === undefined || strtab === undefined || numSymtab === undefined || symtab === 0n)
    return undefined;
  if (numSymtab > MAX_SYMBOLS) report(damage(what, symtab, "too long", 0, `${numSymtab}`));
  return { symtab, count: Math.min(numSymtab, MAX_SYMBOLS), strtab, typetab };
}

function* readTable(
  data: KernelData,
  { partial }: ModuleRow,
  { symtab, count, strtab, typetab }: TablePlace,
  report: OnDamage,
): Routine<ModuleTableEntry[]> {
  const { memory } = data;
  const module = partial.name ?? "?";
  const what = `symbols of module ${module}`;
  const is64 = memory.pointerSize === 8;
  const entrySize = is64 ? 24 : 16;
  const exported = yield* exportedOf(data, partial.syms, partial.numSyms, module, report);
  const entries = new Pieces(data, symtab, count * entrySize, what, report);
  const letters =
    typetab === undefined || typetab === 0n ? undefined : new Pieces(data, typetab, count, what, report);
  const strings = new Pieces(data, strtab, MAX_STRINGS, `names of ${what}`, report);
  const { littleEndian } = memory.abi;
  const found: ModuleTableEntry[] = [];
  for (let i = 0; i < count; i++) {
    const entry = yield* entries.at(i * entrySize, entrySize);
    if (entry === undefined) {
      // Nothing is mapped there any more: the table's length was a lie.
      if (entries.isLost) break;
      continue;
    }
    const view = new DataView(entry.buffer, entry.byteOffset, entrySize);
    const nameAt = view.getUint32(0, littleEndian);
    const section = view.getUint16(is64 ? 6 : 14, littleEndian);
    // Section 0: what it takes from others, as long as it is being loaded.
    if (nameAt === 0 || section === 0) continue;
    const address = is64 ? view.getBigUint64(8, littleEndian) : BigInt(view.getUint32(4, littleEndian));
    const letter = letters === undefined ? view.getUint8(is64 ? 4 : 12) : (yield* letters.at(i, 1))?.[0];
    const name = yield* strings.text(nameAt);
    if (name === undefined || name === "") continue;
    const type = letter === undefined || letter === 0 ? "?" : String.fromCharCode(letter);
    const isExported = exported.get(name) === address;
    const symbol = { name, address, type: isExported ? type.toUpperCase() : type.toLowerCase(), module };
    const size = is64 ? Number(view.getBigUint64(16, littleEndian)) : view.getUint32(8, littleEndian);
    found.push({ symbol, size, info: letters === undefined ? undefined : view.getUint8(is64 ? 4 : 12) });
  }
  return found;
}

/** Symbols for every module to use, by name. (Those for modules under the GPL only count as local in /proc/kallsyms.) */
function* exportedOf(
  { memory, types }: KernelData,
  at: bigint | undefined,
  count: number | undefined,
  module: string,
  report: OnDamage,
): Routine<Map<string, bigint>> {
  const layout = EXPORTED.onIf(types);
  if (layout === undefined || at === undefined || at === 0n || count === undefined) return new Map();
  const what = `exported symbols of module ${module}`;
  if (count > MAX_EXPORTED) report(damage(what, at, "too long", 0, `${count}`));
  const found = new Map<string, bigint>();
  const total = Math.min(count, MAX_EXPORTED);
  for (let from = 0; from < total; from += 1024) {
    const addresses = Array.from(
      { length: Math.min(1024, total - from) },
      (_, i) => at + BigInt((from + i) * layout.size),
    );
    const rows = (yield* layout.read(memory, addresses)).map(({ value }) => value);
    if (rows.every((row) => row === undefined)) {
      report(damage(what, addresses[0] as bigint, "unreadable", 0, "none of them is there"));
      break;
    }
    const names = yield* readStrings(
      memory,
      rows.map((row) => row?.name ?? relative(row?.nameAt, row?.nameOffset)),
      what,
      report,
      MAX_NAME,
    );
    for (const [i, row] of rows.entries()) {
      const name = names[i];
      const value = row?.value ?? relative(row?.valueAt, row?.valueOffset);
      if (name !== undefined && value !== undefined) found.set(name, value);
    }
  }
  return found;
}

function relative(at: bigint | undefined, offset: number | undefined): bigint | undefined {
  return at === undefined || offset === undefined ? undefined : BigInt.asUintN(64, at + BigInt(offset));
}

interface Piece {
  readonly bytes: Uint8Array;
  readonly holes: readonly { readonly start: number; readonly end: number; readonly fault: Fault }[];
}

/** A range of memory, of which pieces are read as they are asked for. Its length may be a lie. */
class Pieces {
  readonly #data: KernelData;
  readonly #start: bigint;
  readonly #length: number;
  readonly #what: string;
  readonly #report: OnDamage;
  /** Bytes of a piece, and which of them are not there. */
  readonly #pieces = new Map<number, Piece>();
  #lost = false;
  #isTold = false;

  constructor(data: KernelData, start: bigint, length: number, what: string, report: OnDamage) {
    this.#data = data;
    this.#start = start;
    this.#length = length;
    this.#what = what;
    this.#report = report;
  }

  /** Whether there was a whole piece at which nothing is mapped. */
  get isLost(): boolean {
    return this.#lost;
  }

  /** Bytes from an offset; `undefined` if one is not there or beyond the end. */
  *at(offset: number, size: number): Routine<Uint8Array | undefined> {
    if (offset + size > this.#length) return undefined;
    const index = Math.floor(offset / PIECE);
    const from = offset - index * PIECE;
    const piece = yield* this.#piece(index);
    if (from + size <= PIECE) {
      const hole = piece.holes.find((each) => each.start < from + size && each.end > from);
      if (hole === undefined) return piece.bytes.subarray(from, from + size);
      return this.#missing(index * PIECE + Math.max(from, hole.start), hole.fault);
    }
    const first = yield* this.at(offset, PIECE - from);
    const rest = yield* this.at(offset + PIECE - from, from + size - PIECE);
    if (first === undefined || rest === undefined) return undefined;
    const joined = new Uint8Array(size);
    joined.set(first);
    joined.set(rest, first.length);
    return joined;
  }

  /** The string at an offset, cut at the longest that a name may be. */
  *text(offset: number): Routine<string | undefined> {
    if (offset >= this.#length) {
      this.#tell(damage(this.#what, this.#start, "invalid", 0, `one is ${offset} bytes from the first`));
      return undefined;
    }
    const index = Math.floor(offset / PIECE);
    const from = offset - index * PIECE;
    const { bytes, holes } = yield* this.#piece(index);
    const nul = bytes.indexOf(0, from);
    const end = nul < 0 ? Math.min(bytes.length, from + MAX_NAME) : Math.min(nul, from + MAX_NAME);
    const hole = holes.find((each) => each.start <= end && each.end > from);
    if (hole !== undefined) return this.#missing(index * PIECE + Math.max(from, hole.start), hole.fault);
    const text = textAt(bytes, from, end);
    // It goes on in the next piece.
    const isCut = nul < 0 && end === bytes.length && end - from < MAX_NAME;
    const more = isCut && end === PIECE && offset + (PIECE - from) < this.#length;
    return more ? text + ((yield* this.text((index + 1) * PIECE)) ?? "") : text;
  }

  *#piece(index: number): Routine<Piece> {
    const known = this.#pieces.get(index);
    if (known !== undefined) return known;
    const at = this.#start + BigInt(index * PIECE);
    const size = Math.min(PIECE, this.#length - index * PIECE);
    const { bytes, holes } = yield* this.#data.memory.readPartial(at, size);
    const hole = holes[0];
    const isGone = hole !== undefined && hole.start === 0 && hole.end === size;
    this.#lost ||= isGone && isUnmapped(hole.fault);
    const piece = { bytes, holes };
    this.#pieces.set(index, piece);
    return piece;
  }

  #missing(offset: number, fault: Fault): undefined {
    this.#tell(damage(this.#what, this.#start + BigInt(offset), "unreadable", fault));
    return undefined;
  }

  /** Tells of the first thing only: what is missing on one page is missing of many symbols. */
  #tell(found: Damage): void {
    if (!this.#isTold) this.#report(found);
    this.#isTold = true;
  }
}

/** Whether an address is none of the kernel's, rather than that the dump lacks its page. */
function isUnmapped(fault: Fault): boolean {
  const state = faultState(fault);
  return state === "not-present" || state === "non-canonical" || state === "malformed";
}
