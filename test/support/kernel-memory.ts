/** A kernel's memory and types, made by hand: pages in a map, structures from a few lines of declarations. */
import { fault, layer, type PacketIo, Scheduler } from "../../src/io/index.js";
import {
  type CType,
  EnumType,
  IntType,
  Member,
  PointerType,
  StructType,
  sizeOf,
  stripped,
  TypedefType,
} from "../../src/linux/types/c-type.js";
import { needPlace } from "../../src/linux/types/member-path.js";
import { typeNamed } from "../../src/linux/types/type-name.js";
import type { NamedType, TypeKind, TypeTable } from "../../src/linux/types/type-table.js";
import { AddressSpace } from "../../src/memory/index.js";

export const NOT_PRESENT = fault("not-present", "address", "paging");
export const EXCLUDED = fault("excluded", "page", "format");

const PAGE = 4096;

/** A member: its name and type ("" and members of its own for one without a name); with bits, a bit-field of that width. */
export type MemberOf = readonly [name: string, type: string | readonly MemberOf[], bits?: number];

/** Types laid out as C does. */
export class HandTypes implements TypeTable {
  readonly name = "types made by hand";
  readonly pointerSize: 4 | 8;
  readonly littleEndian: boolean;
  readonly #types = new Map<string, CType>();
  readonly #variables = new Map<string, CType>();

  constructor(pointerSize: 4 | 8 = 8, littleEndian = true) {
    this.pointerSize = pointerSize;
    this.littleEndian = littleEndian;
    const int = (name: string, size: number, signed: boolean, bool = false) =>
      this.#types.set(`name ${name}`, new IntType(name, size, signed, bool));
    int("char", 1, true);
    int("unsigned char", 1, false);
    int("_Bool", 1, false, true);
    int("short int", 2, true);
    int("int", 4, true);
    int("unsigned int", 4, false);
    int("long int", pointerSize, true);
    int("long unsigned int", pointerSize, false);
    int("long long unsigned int", 8, false);
  }

  struct(name: string, ...members: readonly MemberOf[]): this {
    this.#types.set(`struct ${name}`, this.#layOut("struct", name, members));
    return this;
  }
  union(name: string, ...members: readonly MemberOf[]): this {
    this.#types.set(`union ${name}`, this.#layOut("union", name, members));
    return this;
  }
  enumeration(name: string, constants: Readonly<Record<string, number>>): this {
    const list = Object.entries(constants).map(([key, value]) => ({ name: key, value: BigInt(value) }));
    this.#types.set(`enum ${name}`, new EnumType(name, 4, false, () => list));
    return this;
  }
  typedef(name: string, type: string): this {
    this.#types.set(`name ${name}`, new TypedefType(name, () => typeNamed(this, type)));
    return this;
  }
  variableOf(name: string, type: string): this {
    this.#variables.set(name, typeNamed(this, type));
    return this;
  }

  find(kind: TypeKind, name: string): CType | undefined {
    return this.#types.get(`${kind} ${name}`);
  }
  variable(name: string): CType | undefined {
    return this.#variables.get(name);
  }
  *all(): Iterable<NamedType> {}

  /** Bytes from a structure's beginning to a member. */
  offset(struct: string, path: string): number {
    return Math.floor(needPlace(typeNamed(this, struct), path).bitOffset / 8);
  }

  /** What a pointer points to may be declared later, or be the structure itself. */
  #typeOf(name: string): CType {
    return name.endsWith("*")
      ? new PointerType(this.pointerSize, () => typeNamed(this, name.slice(0, -1)))
      : typeNamed(this, name);
  }

  #layOut(kind: "struct" | "union", name: string, members: readonly MemberOf[]): StructType {
    const found: Member[] = [];
    let end = 0;
    let align = 1;
    let size = 0;
    for (const [member, of, bits = 0] of members) {
      const type =
        typeof of === "string"
          ? this.#typeOf(of)
          : this.#layOut(member === "union" ? "union" : "struct", "", of);
      const unit = alignOf(type);
      align = Math.max(align, unit);
      let at = kind === "union" ? 0 : end;
      const width = 8 * sizeOf(type);
      if (bits === 0 || Math.floor(at / width) !== Math.floor((at + bits - 1) / width)) {
        at = Math.ceil(at / (8 * unit)) * 8 * unit;
      }
      found.push(new Member(typeof of === "string" ? member : "", at, bits, () => type));
      end = at + (bits || width);
      size = Math.max(size, end);
    }
    const bytes = Math.ceil(size / 8 / align) * align;
    return new StructType(kind, name, bytes, () => found);
  }
}

function alignOf(type: CType): number {
  const found = stripped(type);
  if (found.kind === "array") return alignOf(found.element);
  if (found.kind === "struct" || found.kind === "union") {
    return Math.max(1, ...found.members.map((member) => alignOf(member.type)));
  }
  return Math.max(1, sizeOf(found));
}

/** Counts requests for many addresses. */
export class CountingSpace extends AddressSpace<number | bigint> {
  gathers = 0;
  override gather(...args: Parameters<AddressSpace<number | bigint>["gather"]>) {
    this.gathers++;
    return super.gather(...args);
  }
}

/** Memory of pages, which grows from an address of the kernel on. */
export class HandMemory {
  readonly space: CountingSpace;
  readonly pages = new Map<bigint, Uint8Array>();
  /** Faults of pages that are missing; others are not mapped. */
  readonly missing = new Map<bigint, number>();
  readonly #pointerSize: 4 | 8;
  readonly #littleEndian: boolean;
  #next: bigint;

  constructor({ pointerSize, littleEndian }: TypeTable) {
    this.#pointerSize = pointerSize;
    this.#littleEndian = littleEndian;
    this.#next = pointerSize === 8 ? 0xffff888000001000n : 0xc0001000n;
    const io: PacketIo<number | bigint> = layer(new Scheduler(), (address: number | bigint, view) => {
      let at = BigInt(address);
      let rest = view;
      for (;;) {
        const inPage = Number(at % 4096n);
        const piece = rest;
        const more = rest.length > PAGE - inPage ? rest.split(PAGE - inPage) : undefined;
        const number = at / 4096n;
        const gone = this.missing.get(number);
        const page = this.pages.get(number);
        if (gone !== undefined) piece.fail(gone);
        else if (page === undefined) piece.fail(NOT_PRESENT);
        else piece.transfer(page.subarray(inPage, inPage + piece.length));
        if (more === undefined) return;
        at += BigInt(PAGE - inPage);
        rest = more;
      }
    });
    this.space = new CountingSpace(io, { pointerSize, littleEndian });
  }

  /** New memory, zeroed. */
  take(size: number, align: number = this.#pointerSize): bigint {
    const step = BigInt(align);
    const at = ((this.#next + step - 1n) / step) * step;
    this.#next = at + BigInt(size);
    for (let page = at / 4096n; page <= (this.#next - 1n) / 4096n; page++) {
      if (!this.pages.has(page)) this.pages.set(page, new Uint8Array(PAGE));
    }
    return at;
  }

  /** Leaves some memory out, so that what follows lies on other pages. */
  skip(size: number): void {
    this.#next += BigInt(size);
  }

  bytes(at: bigint, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) {
      const page = this.pages.get((at + BigInt(i)) / 4096n);
      if (page !== undefined) page[Number((at + BigInt(i)) % 4096n)] = byte;
    }
  }

  /** Writes an integer. */
  put(at: bigint, value: bigint | number, size: number = this.#pointerSize): void {
    const bytes = new Uint8Array(size);
    let rest = BigInt.asUintN(8 * size, BigInt(value));
    for (let i = 0; i < size; i++) {
      bytes[this.#littleEndian ? i : size - 1 - i] = Number(rest & 255n);
      rest >>= 8n;
    }
    this.bytes(at, bytes);
  }
}
