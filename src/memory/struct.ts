/** Structs: members with names, laid out as C does or at given offsets. */
import { Bits } from "./bits.js";
import { checkCount, Type } from "./type.js";

/** Bytes of a struct that mean nothing: no member of the decoded value, kept by `encode`. */
export class Padding extends Type<undefined> {
  /** Tells it from other types. */
  readonly isPadding = true;

  /** @internal */
  constructor(length: number) {
    checkCount(length, "padding");
    super(`padding[${length}]`, length, 1);
  }

  get(): undefined {
    return undefined;
  }

  set(): void {}

  resolve(): Padding {
    return this;
  }

  override touched(): void {}
}

/** `length` bytes of a struct that mean nothing. */
export function padding(length: number): Padding {
  return new Padding(length);
}

/** A struct's member with an offset of its own; made by `at`. */
export class Placed<T> {
  /** Bytes from the struct's first. */
  readonly offset: number;
  readonly type: Type<T>;

  /** @internal */
  constructor(offset: number, type: Type<T>) {
    checkCount(offset, "at");
    this.offset = offset;
    this.type = type;
  }
}

/** A member at a known offset, in bytes. Members may overlap (a union), and need not ascend. */
export function at<T>(offset: number, type: Type<T>): Placed<T> {
  return new Placed(offset, type);
}

/** What `struct` takes: member names, each with a type, or `at` an offset. */
export type Members = Readonly<Record<string, Type<unknown> | Placed<unknown>>>;

/** What a member decodes to. */
export type MemberValue<M> = M extends Placed<infer T> ? T : M extends Type<infer T> ? T : never;

/** What a struct of these members decodes to. */
export type StructValue<M> = {
  -readonly [K in keyof M as M[K] extends Padding ? never : K]: MemberValue<M[K]>;
};

/** Options of {@link struct}. */
export interface StructOptions {
  /** No padding between members and alignment 1, as `__attribute__((packed))`. */
  readonly packed?: boolean;
  /** Alignment of the whole in bytes, a power of two; raises the members', as `__attribute__((aligned))`. */
  readonly align?: number;
  /** Size in bytes, where it is more than the members need. */
  readonly size?: number;
  /** For messages. */
  readonly name?: string;
}

interface Field {
  readonly name: string;
  readonly offset: number;
  readonly type: Type<unknown>;
}

/** A struct; see {@link struct}. */
export class Struct<M extends Members> extends Type<StructValue<M>> {
  override readonly bitwise: boolean;
  readonly #members: M;
  readonly #options: StructOptions;
  /** Without padding. */
  readonly #fields: readonly Field[];

  /** @internal */
  constructor(members: M, options: StructOptions) {
    const { fields, size, align } = layOut(members, options);
    super(options.name ?? "struct", size, align);
    this.#members = members;
    this.#options = options;
    this.#fields = fields;
    this.bitwise = fields.some((field) => field.type.bitwise);
  }

  /** Names of the members, in their order, without padding. */
  get names(): readonly (keyof StructValue<M> & string)[] {
    return this.#fields.map((field) => field.name as keyof StructValue<M> & string);
  }

  /** Offset of a member in bytes; of a bit-field, that of its unit. @throws {RangeError} if there is none. */
  offsetOf(name: keyof StructValue<M> & string): number {
    const field = this.#fields.find((candidate) => candidate.name === name);
    if (field === undefined) throw new RangeError(`${this.name} has no member ${name}`);
    return field.offset;
  }

  get(bytes: Uint8Array, at: number): StructValue<M> {
    const value: Record<string, unknown> = {};
    const fields = this.#fields;
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i] as Field;
      value[field.name] = field.type.get(bytes, at + field.offset);
    }
    return value as StructValue<M>;
  }

  set(bytes: Uint8Array, at: number, value: StructValue<M>): void {
    for (const field of this.#fields) {
      try {
        field.type.set(bytes, at + field.offset, (value as Record<string, unknown>)[field.name]);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        throw new RangeError(`${this.name}.${field.name}: ${error.message}`, { cause: error });
      }
    }
  }

  resolve(little: boolean | undefined, pointerSize: 4 | 8 | undefined): Type<StructValue<M>> {
    let changed = false;
    const members: Record<string, Type<unknown> | Placed<unknown>> = {};
    for (const [name, member] of Object.entries(this.#members)) {
      const type = member instanceof Placed ? member.type : member;
      const resolved = type.resolve(little, pointerSize);
      if (resolved !== type) changed = true;
      members[name] = member instanceof Placed ? new Placed(member.offset, resolved) : resolved;
    }
    return changed ? new Struct(members as unknown as M, this.#options) : this;
  }

  override touched(base: number, out: number[]): void {
    const own: number[] = [];
    for (const field of this.#fields) field.type.touched(base + field.offset, own);
    // Members may overlap and need not ascend.
    const pairs: { start: number; end: number }[] = [];
    for (let i = 0; i < own.length; i += 2)
      pairs.push({ start: own[i] as number, end: own[i + 1] as number });
    pairs.sort((a, b) => a.start - b.start);
    for (const { start, end } of pairs) {
      const last = out.length - 1;
      if (last > 0 && start <= (out[last] as number)) out[last] = Math.max(out[last] as number, end);
      else out.push(start, end);
    }
  }
}

function layOut(members: Members, options: StructOptions): { fields: Field[]; size: number; align: number } {
  const what = options.name ?? "struct";
  const least = options.align ?? 1;
  if (!(Number.isSafeInteger(least) && least > 0 && Number.isInteger(Math.log2(least)))) {
    throw new RangeError(`${what}: alignment ${least} is not a power of two`);
  }
  const packed = options.packed === true;
  const fields: Field[] = [];
  let align = least;
  let next = 0;
  let end = 0;
  // The unit that bit-fields share: its storage, offset, and the bits that are taken.
  let unit: { storage: Type<unknown>; offset: number; taken: number } | undefined;
  for (const [name, member] of Object.entries(members)) {
    if (name === "__proto__") throw new RangeError(`${what}: a member cannot be called __proto__`);
    if (/^(0|[1-9][0-9]*)$/.test(name)) {
      throw new RangeError(
        `${what}: a member cannot be called "${name}": JavaScript sorts such keys to the front`,
      );
    }
    const placed = member instanceof Placed;
    const type = placed ? member.type : member;
    const memberAlign = packed ? 1 : type.align;
    if (memberAlign > align) align = memberAlign;
    let offset: number;
    if (placed) {
      offset = member.offset;
      unit = undefined;
    } else if (type instanceof Bits) {
      if (unit === undefined || unit.storage !== type.storage || type.shift < unit.taken) {
        unit = { storage: type.storage, offset: roundUp(next, memberAlign), taken: 0 };
      }
      unit.taken = type.shift + type.width;
      offset = unit.offset;
    } else {
      offset = roundUp(next, memberAlign);
      unit = undefined;
    }
    next = offset + type.size;
    if (next > end) end = next;
    if (!(type instanceof Padding)) fields.push({ name, offset, type });
  }
  const natural = roundUp(end, align);
  const size = options.size ?? natural;
  if (!(Number.isSafeInteger(size) && size >= end)) {
    throw new RangeError(
      `${what}: size ${String(options.size)} is less than the ${end} bytes of its members`,
    );
  }
  return { fields, size, align };
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

/**
 * A struct, laid out as C does: members in their order, each at a multiple of its alignment, the whole padded to a
 * multiple of the largest (64-bit integers are aligned to 8, as everywhere but on i386).
 *
 * @throws {RangeError} for an alignment or a size that can't be, or a member's name that is an integer.
 */
export function struct<const M extends Members>(members: M, options: StructOptions = {}): Struct<M> {
  return new Struct(members, options);
}
