/**
 * BTF, the types of a kernel as it carries them in its own memory: every kind to date, both byte orders, and the split BTF of
 * modules, whose types and strings go on where those of the kernel end.
 *
 * Facts: Documentation/bpf/btf.rst; include/uapi/linux/btf.h; kernel/bpf/btf.c (`btf_parse_module`, `start_id`,
 * `start_str_off`).
 */
import { decodeLatin1 } from "../../../memory/text.js";
import { ALL_THERE, type Need } from "../../paged-bytes.js";
import {
  ArrayType,
  type CType,
  type Enumerator,
  EnumType,
  FloatType,
  ForwardType,
  FunctionType,
  IntType,
  Member,
  PointerType,
  QualifiedType,
  StructType,
  stripped,
  TypedefType,
  VOID,
} from "../c-type.js";
import { type NamedType, type TypeKind, TypesError, type TypeTable } from "../type-table.js";
import { type BtfHeader, HEADER_SIZE, KIND, parseBtfHeader } from "./btf-header.js";
import { hashBytes, indexNames, indexTypes, type NameIndex, TYPE_WORDS, typeWords } from "./btf-index.hot.js";

/** Options of {@link Btf}. */
export interface BtfOptions {
  /** For messages; default "the BTF". */
  readonly name?: string | undefined;
  /** What split BTF goes on from: the kernel's own. */
  readonly base?: Btf | undefined;
  /** Bytes of a pointer, which BTF does not say; default: as large as its `unsigned long`, else 8. */
  readonly pointerSize?: 4 | 8 | undefined;
  /** What `indexOf` gave of the same bytes, which need not be gone over then. @internal */
  readonly index?: BtfColumns | undefined;
  /** Asked for what is looked at of the bytes and the index. @internal */
  readonly need?: Need | undefined;
}

/**
 * What going over all types finds, of BTF without damage that goes on from no other; kept beside the bytes, nobody need go over them
 * again. @internal
 */
export interface BtfColumns extends NameIndex {
  /** Of each type, where it begins, in words of 4 bytes. */
  readonly starts: Uint32Array;
}

/** INT's encoding bits: BTF_INT_SIGNED, BTF_INT_CHAR, BTF_INT_BOOL. */
const INT_SIGNED = 1;
const INT_BOOL = 4;
/** Longest name believed: `KSYM_NAME_LEN` is 512. */
const MAX_NAME = 1024;
/** Where the per-CPU variables are: the one section of a kernel's BTF. */
const PER_CPU_SECTION = ".data..percpu";

/** Types of one BTF. */
export class Btf implements TypeTable {
  readonly name: string;
  readonly littleEndian: boolean;
  readonly pointerSize: 4 | 8;
  /** What it goes on from. */
  readonly base: Btf | undefined;
  /** Number of its first type: 1, or where the base's end. */
  readonly firstId: number;
  /** Types of its own. */
  readonly count: number;
  /** What is wrong behind its last type, if something is: types from there on are lost. */
  readonly damage: string | undefined = undefined;
  readonly #bytes: Uint8Array;
  /** The same as words, in the host's byte order. */
  readonly #words: Uint32Array;
  readonly #need: Need;
  readonly #header: BtfHeader;
  readonly #starts: Uint32Array;
  /** Where its own strings begin, as offsets in types count them. */
  readonly #firstString: number;
  readonly #types: (CType | undefined)[] = [];
  readonly #found = new Map<string, CType | undefined>();
  #names: NameIndex | undefined;
  #variables: Map<string, CType> | undefined;
  #perCpuOffsets: Map<string, number> | undefined;

  /**
   * @param bytes All of it. It is kept, and must not change.
   * @throws {TypesError} `BTF` if its header is none, or says more than there is, or the index can't be one.
   */
  constructor(bytes: Uint8Array, options: BtfOptions = {}) {
    this.#need = options.need ?? ALL_THERE;
    this.#need(bytes, 0, HEADER_SIZE);
    const header = parseBtfHeader(bytes);
    this.#header = header;
    this.#bytes = bytes;
    // (They are turned round as a whole.)
    if (!header.littleEndian) this.#need(bytes, 0, bytes.length);
    this.#words = wordsOf(bytes, header.littleEndian);
    this.name = options.name ?? "the BTF";
    this.littleEndian = header.littleEndian;
    this.base = options.base;
    this.firstId = options.base === undefined ? 1 : options.base.firstId + options.base.count;
    this.#firstString = options.base?.stringsEnd ?? 0;
    const { index } = options;
    if (index !== undefined) {
      checkIndex(index, this.name);
      this.#starts = index.starts;
      this.#names = index;
      this.count = index.starts.length;
    } else {
      const { starts, count, end } = indexTypes(this.#words, header.typesStart / 4, header.typesEnd >>> 2);
      this.#starts = starts;
      this.count = count;
      this.damage = end * 4 === header.typesEnd ? undefined : this.#damageAt(end);
    }
    this.pointerSize = options.pointerSize ?? options.base?.pointerSize ?? this.#guessPointerSize();
  }

  /** Where the strings of what goes on from it begin. @internal */
  get stringsEnd(): number {
    return this.#firstString + this.#header.stringsEnd - this.#header.stringsStart;
  }

  /** What was found by going over all types. @internal */
  static indexOf(btf: Btf): BtfColumns {
    btf.#needAll();
    return { starts: btf.#starts, ...btf.#allNames() };
  }

  /** All of it, as it was given. */
  get bytes(): Uint8Array {
    this.#needAll();
    return this.#bytes;
  }

  /** For passes over all of it. */
  #needAll(): void {
    for (const column of [this.#bytes, this.#starts, this.#names?.buckets, this.#names?.next]) {
      if (column !== undefined) this.#need(column, 0, column.length);
    }
  }

  #damageAt(word: number): string {
    const info = this.#words[word + 1] ?? 0;
    const what =
      4 * word + 12 > this.#header.typesEnd
        ? "the section ends within it"
        : `its kind is ${(info >>> 24) & 31}`;
    return `${this.name}: type ${this.firstId + this.count} at offset 0x${(4 * word).toString(16)} can't be read (${what}); types from there on are missing`;
  }

  #guessPointerSize(): 4 | 8 {
    const long = this.find("name", "long unsigned int") ?? this.find("name", "unsigned long");
    return long?.kind === "int" && long.size === 4 ? 4 : 8;
  }

  /** A type by number; `void` for 0 and for a number that no type has. */
  type(id: number): CType {
    if (id < this.firstId) return id <= 0 ? VOID : (this.base?.type(id) ?? VOID);
    const index = id - this.firstId;
    if (!(index < this.count)) return VOID;
    let type = this.#types[index];
    if (type === undefined) {
      type = this.#make(index);
      this.#types[index] = type;
    }
    return type;
  }

  find(kind: TypeKind, name: string): CType | undefined {
    // Kept: damaged BTF may have any number of types of one name.
    const key = `${kind} ${name}`;
    let found = this.#found.get(key);
    if (found === undefined && !this.#found.has(key)) {
      found = this.#find(kind, name);
      this.#found.set(key, found);
    }
    return found;
  }

  #find(kind: TypeKind, name: string): CType | undefined {
    let declared: CType | undefined;
    for (const id of this.idsOf(name)) {
      const type = this.type(id);
      const found = kindOf(type);
      if (found !== kind || this.#isVariable(id)) continue;
      if (type.kind !== "forward") return type;
      declared ??= type;
    }
    return this.base?.find(kind, name) ?? declared;
  }

  /** Numbers of its own types of a name, of any kind. */
  *idsOf(name: string): Generator<number, void, void> {
    const { stringsStart, stringsEnd } = this.#header;
    const { buckets, next } = this.#allNames();
    const key = encodeName(name);
    if (key === undefined) return;
    const hash = hashBytes(key, 0, key.length);
    const bucket = hash & (buckets.length - 1);
    this.#need(buckets, bucket, bucket + 1);
    let i = buckets[bucket] as number;
    // (Chains ascend. One that was kept in a file may be anything, but not a circle.)
    for (let before = 0; i > before && i <= this.count; i = next[i - 1] as number) {
      this.#need(next, i - 1, i);
      const at = stringsStart + (this.#words[this.#startOf(i - 1)] as number) - this.#firstString;
      this.#need(this.#bytes, at, at + key.length + 1);
      if (isNamed(this.#bytes, at, stringsEnd, key)) yield this.firstId + i - 1;
      before = i;
    }
  }

  #allNames(): NameIndex {
    const { stringsStart, stringsEnd } = this.#header;
    this.#names ??= indexNames(
      this.#words,
      this.#bytes,
      this.#starts,
      stringsStart,
      stringsEnd,
      this.#firstString,
    );
    return this.#names;
  }

  variable(name: string): CType | undefined {
    this.#variables ??= this.#findVariables();
    return this.#variables.get(name) ?? this.base?.variable(name);
  }

  perCpuOffset(name: string): number | undefined {
    this.#perCpuOffsets ??= this.#findPerCpuOffsets();
    return this.#perCpuOffsets.get(name);
  }

  *all(): Generator<NamedType, void, void> {
    this.#needAll();
    for (let i = 0; i < this.count; i++) {
      const kind = this.#kindAt(i);
      if (kind === KIND.function || kind === KIND.variable || kind === KIND.section) continue;
      const type = this.type(this.firstId + i);
      const name = "name" in type ? type.name : "";
      const named = kindOf(type);
      if (name !== "" && named !== undefined) yield { kind: named, name, type };
    }
  }

  /** The word that a type begins with; its `struct btf_type` is there. */
  #startOf(index: number): number {
    this.#need(this.#starts, index, index + 1);
    const at = this.#starts[index] as number;
    this.#need(this.#words, at, at + TYPE_WORDS);
    return at;
  }

  #kindAt(index: number): number {
    return ((this.#words[this.#startOf(index) + 1] as number) >>> 24) & 31;
  }

  #isVariable(id: number): boolean {
    return this.#kindAt(id - this.firstId) === KIND.variable;
  }

  #findVariables(): Map<string, CType> {
    const found = new Map<string, CType>();
    this.#needAll();
    for (let i = 0; i < this.count; i++) {
      if (this.#kindAt(i) !== KIND.variable) continue;
      const at = this.#starts[i] as number;
      found.set(this.#string(this.#words[at] as number), this.type(this.#words[at + 2] as number));
    }
    return found;
  }

  /** A section is a list of (variable, offset, size): Documentation/bpf/btf.rst, BTF_KIND_DATASEC. */
  #findPerCpuOffsets(): Map<string, number> {
    const found = new Map<string, number>();
    this.#needAll();
    for (let i = 0; i < this.count; i++) {
      if (this.#kindAt(i) !== KIND.section) continue;
      const at = this.#starts[i] as number;
      if (this.#string(this.#words[at] as number) !== PER_CPU_SECTION) continue;
      const count = (this.#words[at + 1] as number) & 0xffff;
      for (let first = at + 3; first < at + 3 + 3 * count; first += 3) {
        const index = (this.#words[first] as number) - this.firstId;
        if (!(index >= 0 && index < this.count)) continue;
        const name = this.#words[this.#starts[index] as number] as number;
        found.set(this.#string(name), this.#words[first + 1] as number);
      }
    }
    return found;
  }

  /** A string by its offset; "" for one that is not there. */
  #string(offset: number): string {
    if (offset < this.#firstString) return this.base === undefined ? "" : this.base.#string(offset);
    const { stringsStart, stringsEnd } = this.#header;
    const start = stringsStart + offset - this.#firstString;
    if (start >= stringsEnd) return "";
    const limit = Math.min(stringsEnd, start + MAX_NAME);
    this.#need(this.#bytes, start, limit);
    let end = start;
    while (end < limit && this.#bytes[end] !== 0) end++;
    return decodeLatin1(this.#bytes, start, end);
  }

  /** Makes the type of an index. */
  #make(index: number): CType {
    const words = this.#words;
    const at = this.#startOf(index);
    // An index that was kept in a file may point anywhere.
    const length = typeWords(words, at, this.#header.typesEnd >>> 2);
    if (length === 0) return VOID;
    this.#need(words, at, at + length);
    const info = words[at + 1] as number;
    const name = this.#string(words[at] as number);
    const size = words[at + 2] as number;
    const flag = info >>> 31 === 1;
    const ref = () => this.type(size);
    switch ((info >>> 24) & 31) {
      case KIND.int: {
        const encoding = (words[at + 3] as number) >>> 24;
        return new IntType(name, size, (encoding & INT_SIGNED) !== 0, (encoding & INT_BOOL) !== 0);
      }
      case KIND.pointer:
        return new PointerType(this.pointerSize, ref);
      case KIND.array:
        return new ArrayType(words[at + 5] as number, () => this.type(words[at + 3] as number));
      case KIND.struct:
        return new StructType("struct", name, size, () => this.#members(at, flag));
      case KIND.union:
        return new StructType("union", name, size, () => this.#members(at, flag));
      case KIND.enum:
        return new EnumType(name, size, flag, () => this.#enumerators(at, flag, false));
      case KIND.enum64:
        return new EnumType(name, size, flag, () => this.#enumerators(at, flag, true));
      case KIND.forward:
        return new ForwardType(flag ? "union" : "struct", name);
      case KIND.typedef:
        return new TypedefType(name, ref);
      case KIND.volatile:
        return new QualifiedType("volatile", ref);
      case KIND.const:
        return new QualifiedType("const", ref);
      case KIND.restrict:
        return new QualifiedType("restrict", ref);
      case KIND.prototype:
        return this.#prototype(at);
      case KIND.float:
        return new FloatType(name, size);
      case KIND.function:
      case KIND.variable:
      case KIND.typeTag:
        // What it is a name of, or a note about.
        return new TypedefType(name, ref);
      default:
        return VOID;
    }
  }

  /** With the flag, a member's offset has its width in bits in the high byte (since 4.20, 9d5f9f701b18). */
  #members(at: number, flag: boolean): Member[] {
    const words = this.#words;
    const count = (words[at + 1] as number) & 0xffff;
    const members: Member[] = [];
    for (let i = 0; i < count; i++) {
      const first = at + 3 + 3 * i;
      const id = words[first + 1] as number;
      const offset = words[first + 2] as number;
      const ref = () => this.type(id);
      let bitOffset = flag ? offset & 0xff_ffff : offset;
      let bitSize = flag ? offset >>> 24 : 0;
      if (bitSize === 0) {
        const field = this.#bitsOfInt(id);
        if (field !== undefined) {
          bitOffset += field.offset;
          bitSize = field.size;
        }
      }
      members.push(new Member(this.#string(words[first] as number), bitOffset, bitSize, ref));
    }
    return members;
  }

  /** An integer that is some bits of its bytes: how a bit-field was written before there was the flag. */
  #bitsOfInt(id: number): { offset: number; size: number } | undefined {
    if (id < this.firstId) return this.base === undefined ? undefined : this.base.#bitsOfInt(id);
    const index = id - this.firstId;
    if (!(index < this.count) || this.#kindAt(index) !== KIND.int) return undefined;
    const at = this.#startOf(index);
    this.#need(this.#words, at, at + TYPE_WORDS + 1);
    const encoding = this.#words[at + 3] as number;
    const bits = encoding & 0xff;
    const offset = (encoding >>> 16) & 0xff;
    return bits === 0 || (offset === 0 && bits === 8 * (this.#words[at + 2] as number))
      ? undefined
      : { offset, size: bits };
  }

  #enumerators(at: number, signed: boolean, wide: boolean): Enumerator[] {
    const words = this.#words;
    const count = (words[at + 1] as number) & 0xffff;
    const found: Enumerator[] = [];
    const step = wide ? 3 : 2;
    for (let i = 0; i < count; i++) {
      const first = at + 3 + step * i;
      const low = BigInt(words[first + 1] as number);
      const value = wide ? (BigInt(words[first + 2] as number) << 32n) | low : low;
      // An enumeration without the flag may still have negative constants, of a kernel whose tools did not set it.
      found.push({
        name: this.#string(words[first] as number),
        value: signed ? BigInt.asIntN(wide ? 64 : 32, value) : value,
      });
    }
    return found;
  }

  /** A last parameter without name and type stands for "more may follow". */
  #prototype(at: number): FunctionType {
    const words = this.#words;
    const count = (words[at + 1] as number) & 0xffff;
    const last = at + 3 + 2 * (count - 1);
    const variadic = count > 0 && words[last] === 0 && words[last + 1] === 0;
    return new FunctionType(
      () => this.type(words[at + 2] as number),
      variadic,
      () =>
        Array.from({ length: variadic ? count - 1 : count }, (_, i) => ({
          name: this.#string(words[at + 3 + 2 * i] as number),
          type: this.type(words[at + 4 + 2 * i] as number),
        })),
    );
  }
}

/** @throws {TypesError} `BTF` for what can't be the index of any BTF. */
function checkIndex({ starts, next, buckets }: BtfColumns, name: string): void {
  const { length } = buckets;
  if (next.length === starts.length && length > 0 && (length & (length - 1)) === 0) return;
  throw new TypesError("BTF", name, `${name}: an index that is not of ${starts.length} types`);
}

/** The namespace that a type's name is in. */
function kindOf(type: CType): TypeKind | undefined {
  switch (type.kind) {
    case "struct":
    case "union":
    case "enum":
      return type.kind;
    case "forward":
      return type.of;
    case "int":
    case "float":
    case "typedef":
      return "name";
    default:
      return undefined;
  }
}

/** The bytes as words of the host's order, which is little-endian; copied where they are not aligned, or the other way round. */
function wordsOf(bytes: Uint8Array, littleEndian: boolean): Uint32Array {
  const count = bytes.length >>> 2;
  if (littleEndian && bytes.byteOffset % 4 === 0)
    return new Uint32Array(bytes.buffer, bytes.byteOffset, count);
  const words = new Uint32Array(count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = 0; i < count; i++) words[i] = view.getUint32(4 * i, littleEndian);
  return words;
}

/** A name as the strings have it: a byte a character, as they are decoded; `undefined` for one that no string can be. */
function encodeName(name: string): Uint8Array | undefined {
  const bytes = new Uint8Array(name.length);
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit === 0 || unit > 0xff) return undefined;
    bytes[i] = unit;
  }
  return bytes;
}

/** Whether a string of the bytes is a name: no more, no less. */
function isNamed(bytes: Uint8Array, at: number, end: number, key: Uint8Array): boolean {
  if (at + key.length > end) return false;
  for (let i = 0; i < key.length; i++) if (bytes[at + i] !== key[i]) return false;
  return at + key.length === end || bytes[at + key.length] === 0;
}

/** Whether a type is described, not only named. */
export function isDefined(type: CType): boolean {
  const { kind } = stripped(type);
  return kind !== "forward" && kind !== "void";
}
