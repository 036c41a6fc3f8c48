/**
 * Objects of the kernel, lazy: a member is an address and a type until it is read. Members are plain properties (kernels have some
 * called `read`, `next` and `then`); everything of our own is under `$`, which no member of C is called.
 */
import { hex, Io, IoSequence, type Routine } from "../../io/index.js";
import type { Address } from "../../io/packet-io.js";
import { editDistance } from "../names.js";
import { ArrayType, type CType, IntType, sizeOf, stripped, typeName } from "../types/c-type.js";
import { needPlace } from "../types/member-path.js";
import { typeNamed } from "../types/type-name.js";
import { TypesError } from "../types/type-table.js";
import { printC } from "./c-text.js";
import * as sequences from "./containers.js";
import type { DamageOptions } from "./damage.js";
import {
  checkSize,
  exactOffset,
  follow,
  locate,
  type Missing,
  ObjectReadError,
  pathFrom,
  type Reference,
  readReferences,
  stepTo,
} from "./reference.js";
import type { FieldValues, KernelObject, PathOf, TypeOfName, Unlisted, ValueOf } from "./schema.js";
import { isText, type KernelValue, membersOf } from "./value.js";

/** Members that were read, and why the others were not. */
export interface PartialFields<T> {
  readonly values: Partial<T>;
  readonly missing: readonly Missing[];
}

/** Members of one of several objects. */
export interface ObjectRow<T> extends PartialFields<T> {
  /** All of them; `undefined` if one is missing. */
  readonly value: T | undefined;
}

/** Bytes of text that are read, if the caller does not say. */
const DEFAULT_STRING = 4096;
/** Elements that can be asked for at once. */
const MAX_ELEMENTS = 1 << 20;

/** What can be done with an object: `object.$`. */
export class ObjectApi<T = Unlisted> {
  readonly #ref: Reference;

  /** @internal */
  constructor(ref: Reference) {
    this.#ref = ref;
  }

  /** Where it is. @internal */
  get reference(): Reference {
    return this.#ref;
  }

  /** Its type. */
  get type(): CType {
    return this.#ref.type;
  }

  /** Bytes of it. */
  get size(): number {
    return sizeOf(this.#ref.type);
  }

  /** How it was come to, for people: "init_task.mm". */
  get label(): string {
    return this.#ref.label;
  }

  /** Names of its members (a pointer's: of what it points to); those of members without a name are its own. */
  get members(): readonly string[] {
    return memberNames(this.#ref);
  }

  /** Its address; pointers on the way are followed. @throws {ObjectReadError} if one is null, or can't be read. */
  address(): Io<bigint> {
    return this.#run(addressRoutine);
  }

  /**
   * Its value: see `KernelValue`. A structure is read whole; a flexible array in it is empty.
   *
   * @throws {ObjectReadError} if a byte of it can't be read; {RangeError} for one of over 1 MiB.
   */
  read(): Io<ValueOf<T>> {
    return this.#run(readRoutine);
  }

  /**
   * Some members, read as one batch (and one for each pointer on the way), by their paths: `fields("pid", "mm.pgd")`.
   *
   * @throws {TypesError} `NO_MEMBER`; {ObjectReadError} if one can't be read, naming it, with the others in `partial`.
   */
  fields<const P extends PathOf<T>>(...paths: P[]): Io<FieldValues<T, P>> {
    return Io.of(this.#scheduler, fieldsRoutine, this.#ref, paths) as Io<Unlisted>;
  }

  /** As `fields`: what there is, and why the rest is missing. */
  fieldsPartial<const P extends PathOf<T>>(...paths: P[]): Io<PartialFields<FieldValues<T, P>>> {
    return Io.of(this.#scheduler, fieldsPartialRoutine, this.#ref, paths) as Io<Unlisted>;
  }

  /**
   * Text up to a NUL: of a pointer what it points to, else what lies here.
   *
   * @param max Bytes; an array of known length ends there.
   * @throws {PartialReadError} if a byte before the NUL can't be read; {ObjectReadError} if a pointer to it can't.
   */
  string(max: number = DEFAULT_STRING): Io<string> {
    return Io.of(this.#scheduler, stringRoutine, this.#ref, max);
  }

  /** The first `count` elements of an array (a flexible one has any number) or of what a pointer points to. */
  elements(count: number): Io<KernelValue[]> {
    if (!(Number.isInteger(count) && count >= 0 && count <= MAX_ELEMENTS)) {
      throw new RangeError(`${count} elements: from 0 to ${MAX_ELEMENTS} can be read at once`);
    }
    const first = elementReference(this.#ref, count);
    checkSize(first);
    return Io.of(this.#scheduler, readRoutine, first) as Io<KernelValue[]>;
  }

  /** What a pointer points to. It is not read. @throws {TypesError} `BAD_TYPE_NAME` for what is no pointer. */
  deref(): KernelObject<Unlisted> {
    return makeObject(needPointer(this.#ref));
  }

  /** An element of an array, or of what a pointer points to. @throws {RangeError} beyond an array's end. */
  index(index: number): KernelObject<Unlisted> {
    return makeObject(need(this.#ref, index));
  }

  /** The object at the end of a path: `mm.pgd`, `numbers[0].nr`. @throws {TypesError} `NO_MEMBER`. */
  member(path: string): KernelObject<Unlisted> {
    return makeObject(pathFrom(this.#ref, path));
  }

  /** The same place as another type. @throws {TypesError} `NO_TYPE`. */
  cast<const N extends string>(type: N | CType): KernelObject<TypeOfName<N>> {
    return makeObject({ ...this.#ref, type: this.#typeOf(type), bit: 0, bitSize: 0 });
  }

  /**
   * The structure that has this as its member (of a pointer: what it points to).
   *
   * @param member Path of the member in it.
   * @throws {TypesError} `NO_TYPE` or `NO_MEMBER`.
   */
  containerOf<const N extends string>(type: N | CType, member: string): KernelObject<TypeOfName<N>> {
    const outer = this.#typeOf(type);
    const inner = follow(this.#ref) ?? this.#ref;
    const offset = needPlace(outer, member).bitOffset / 8;
    return makeObject({
      ...inner,
      type: outer,
      offset: inner.offset - Math.floor(offset),
      bit: 0,
      bitSize: 0,
      label: `container of ${inner.label}`,
    });
  }

  /** The same type, so many bytes further. */
  offsetBy(bytes: number): KernelObject<T> {
    if (!Number.isSafeInteger(bytes)) throw new RangeError(`${bytes} is no number of bytes`);
    const label = `(${this.#ref.label} ${bytes < 0 ? "-" : "+"} ${hex(Math.abs(bytes))})`;
    const offset = exactOffset(this.#ref.offset + bytes, label);
    return makeObject({ ...this.#ref, label, offset }) as KernelObject<T>;
  }

  /**
   * The structures on a list of which this is the head (`struct list_head`, or a pointer to one).
   *
   * What is damaged goes to `onDamage`, or ends the sequence with a `DamageError` after what could be read; so do all of these.
   *
   * @param member Path of the `list_head` in them.
   * @throws {TypesError} `NO_TYPE` or `NO_MEMBER`, at once.
   */
  list<const N extends string>(
    type: N | CType,
    member: string,
    options: DamageOptions = {},
  ): IoSequence<KernelObject<TypeOfName<N>>> {
    return this.#nodes(sequences.listNodes, type, member, options);
  }

  /** As `list`, of a `struct hlist_head` or `hlist_nulls_head`. */
  hlist<const N extends string>(
    type: N | CType,
    member: string,
    options: DamageOptions = {},
  ): IoSequence<KernelObject<TypeOfName<N>>> {
    return this.#nodes(sequences.chainNodes, type, member, options);
  }

  /** As `list`, of a `struct llist_head`. */
  llist<const N extends string>(
    type: N | CType,
    member: string,
    options: DamageOptions = {},
  ): IoSequence<KernelObject<TypeOfName<N>>> {
    return this.#nodes(sequences.chainNodes, type, member, options);
  }

  /** As `list`, of a `struct rb_root` or `rb_root_cached`, in order. */
  rbtree<const N extends string>(
    type: N | CType,
    member: string,
    options: DamageOptions = {},
  ): IoSequence<KernelObject<TypeOfName<N>>> {
    return this.#nodes(sequences.treeNodes, type, member, options);
  }

  /** What the pointers in a `struct xarray` (or a `radix_tree_root`) point to, ascending by index; values are left out. */
  xarray<const N extends string>(
    type: N | CType,
    options: DamageOptions = {},
  ): IoSequence<KernelObject<TypeOfName<N>>> {
    return this.#nodes(sequences.xarrayNodes, type, undefined, options);
  }

  /** As `xarray`, of a `struct idr` (since 4.11, 0a835c4f090a, on a radix tree). */
  idr<const N extends string>(
    type: N | CType,
    options: DamageOptions = {},
  ): IoSequence<KernelObject<TypeOfName<N>>> {
    return this.#nodes(sequences.idrNodes, type, undefined, options);
  }

  /** What the entries of a `struct maple_tree` point to, in order. */
  mapleTree<const N extends string>(
    type: N | CType,
    options: DamageOptions = {},
  ): IoSequence<KernelObject<TypeOfName<N>>> {
    return this.#nodes(sequences.mapleNodes, type, undefined, options);
  }

  /** Entries of a `struct xarray`, `radix_tree_root` or `idr` as they are stored, with their indices. */
  xarrayEntries(options: DamageOptions = {}): IoSequence<sequences.IndexedEntry> {
    return IoSequence.of(this.#scheduler, sequences.xarrayEntries, this.#ref, options);
  }

  /** Entries of a `struct maple_tree` as they are stored, with their ranges. */
  mapleEntries(options: DamageOptions = {}): IoSequence<sequences.RangeEntry> {
    return IoSequence.of(this.#scheduler, sequences.mapleEntries, this.#ref, options);
  }

  /**
   * It as C would initialise it: `(struct list_head){ .next = 0xffff… }`, one member a line. Pointers have names where they
   * have any; what could not be read is `…`, and why.
   *
   * @throws {ObjectReadError} if a pointer on the way to it can't be read; {RangeError} for one of over 1 MiB.
   */
  toC(): Io<string> {
    return this.#run(printC);
  }

  /** What it is and where, without reading: `(struct task_struct) at 0xffff…`. */
  toString(): string {
    return shown(this.#ref);
  }

  get #scheduler() {
    return this.#ref.context.memory.scheduler;
  }

  #run<R>(routine: (ref: Reference) => Routine<R>): Io<R> {
    return Io.of(this.#scheduler, routine, this.#ref);
  }

  #typeOf(type: string | CType): CType {
    return typeof type === "string" ? typeNamed(this.#ref.context.types, type) : type;
  }

  #nodes(
    nodes: sequences.NodesRoutine,
    type: string | CType,
    member: string | undefined,
    options: DamageOptions,
  ): IoSequence<Unlisted> {
    const outer = this.#typeOf(type);
    const offset = member === undefined ? 0 : Math.floor(needPlace(outer, member).bitOffset / 8);
    const found: sequences.Found = { type: outer, offset };
    return IoSequence.of(this.#scheduler, sequences.objectsOf, this.#ref, nodes, found, options).map(
      makeObject,
    );
  }
}

/**
 * Members of several objects (of one kernel, of any types), read as one batch, and one for each round of pointers on the way.
 * Never throws for what can't be read: each row says what is missing.
 *
 * @throws {TypesError} `NO_MEMBER`.
 */
export function readAll<T, const P extends PathOf<T>>(
  objects: readonly KernelObject<T>[],
  ...paths: P[]
): Io<ObjectRow<FieldValues<T, P>>[]> {
  const refs = objects.map(referenceOf);
  const first = refs[0];
  if (first === undefined) return Io.value([]);
  if (refs.some(({ context }) => context.memory !== first.context.memory)) {
    throw new RangeError("objects of several kernels can't be read at once");
  }
  return Io.of(first.context.memory.scheduler, readAllRoutine, refs, paths as string[]) as Io<Unlisted>;
}

/** Where an object is. @internal */
export function referenceOf(object: { readonly $: ObjectApi<Unlisted> }): Reference {
  return object.$.reference;
}

function* addressRoutine(ref: Reference): Routine<bigint> {
  const located = (yield* locate([ref]))[0];
  if (located === undefined || located.missing !== undefined) {
    throw new ObjectReadError(located === undefined ? [] : [located.missing]);
  }
  return located.address;
}

function* readRoutine(ref: Reference): Routine<KernelValue> {
  const [outcome] = yield* readReferences([ref]);
  if (outcome?.missing !== undefined) throw new ObjectReadError([outcome.missing]);
  return outcome?.value;
}

function* fieldsPartialRoutine(
  ref: Reference,
  paths: readonly string[],
): Routine<PartialFields<KernelValue>> {
  return (yield* readAllRoutine([ref], paths))[0] as ObjectRow<KernelValue>;
}

function* fieldsRoutine(ref: Reference, paths: readonly string[]): Routine<KernelValue> {
  const { values, missing } = yield* fieldsPartialRoutine(ref, paths);
  if (missing.length > 0) throw new ObjectReadError(missing, values);
  return values;
}

function* readAllRoutine(
  refs: readonly Reference[],
  paths: readonly string[],
): Routine<ObjectRow<KernelValue>[]> {
  const outcomes = yield* readReferences(refs.flatMap((ref) => paths.map((path) => pathFrom(ref, path))));
  return refs.map((_, i) => {
    const values = Object.create(null) as Record<string, KernelValue>;
    const missing: Missing[] = [];
    for (const [k, path] of paths.entries()) {
      const outcome = outcomes[i * paths.length + k];
      if (outcome?.missing === undefined) values[path] = outcome?.value;
      else missing.push(outcome.missing);
    }
    return { value: missing.length === 0 ? values : undefined, values, missing };
  });
}

function* stringRoutine(ref: Reference, max: number): Routine<string> {
  const type = stripped(ref.type);
  const limit = type.kind === "array" && type.count !== 0 ? Math.min(max, sizeOf(type)) : max;
  const at = yield* addressRoutine(follow(ref) ?? ref);
  return yield* ref.context.memory.readString(at as Address, limit);
}

/** An array of so many elements, where an array is, or where a pointer points to. */
function elementReference(ref: Reference, count: number): Reference {
  const type = stripped(ref.type);
  if (type.kind === "array") {
    if (type.count !== 0 && count > type.count) {
      throw new RangeError(`${ref.label} has ${type.count} elements, not ${count}`);
    }
    return { ...ref, type: new ArrayType(count, () => numeric(type.element)) };
  }
  const target = needPointer(ref);
  return { ...target, type: new ArrayType(count, () => numeric(target.type)) };
}

/** An array of `char` would be text: asked for by element, they are numbers. */
function numeric(element: CType): CType {
  const type = stripped(element);
  return isText(type) && type.kind === "int" ? new IntType("signed char", 1, type.signed) : element;
}

function needPointer(ref: Reference): Reference {
  const target = follow(ref);
  if (target === undefined) {
    throw new TypesError("BAD_TYPE_NAME", ref.label, `${ref.label} is no pointer, but ${typeName(ref.type)}`);
  }
  return target;
}

/** A member or element. @throws {TypesError} `NO_MEMBER`, with names that are like it. */
function need(ref: Reference, step: string | number): Reference {
  const found = stepTo(ref, step);
  if (found !== undefined) return found;
  const name = String(step);
  const near = memberNames(ref)
    .map((other) => ({ other, cost: editDistance(name, other, 2) }))
    .filter(({ cost }) => cost <= 2)
    .sort((a, b) => a.cost - b.cost)
    .map(({ other }) => other);
  const hint = near.length === 0 ? "" : `; there is ${near.slice(0, 3).join(", ")}`;
  const what = typeof step === "number" ? `no elements (asked for [${step}])` : `no member ${step}`;
  throw new TypesError("NO_MEMBER", name, `${typeName(ref.type)} has ${what}${hint}`);
}

function memberNames(ref: Reference): string[] {
  const pointer = stripped(ref.type);
  const type = pointer.kind === "pointer" ? stripped(pointer.target) : pointer;
  if (type.kind !== "struct" && type.kind !== "union") return [];
  return [...membersOf(type)].map(({ name }) => name);
}

/** What and where, without reading. */
function shown({ context, type, base, hops, offset, label }: Reference): string {
  const at =
    hops.length === 0
      ? hex(BigInt.asUintN(8 * context.memory.pointerSize, base + BigInt(offset)))
      : `the end of ${label}`;
  return `(${typeName(type)}) at ${at}`;
}

/** Node's way to ask for what `console.log` shows; a registered symbol, so that no platform is needed for it. */
const INSPECT = Symbol.for("nodejs.util.inspect.custom");
/** Names that JavaScript itself, or what prints and compares, asks any object for. No error for these. */
const ASKED = new Set(
  "then toJSON toString valueOf constructor asymmetricMatch nodeType tagName length inspect _isMockFunction".split(
    " ",
  ),
);
/** An index as JavaScript writes a number. */
const NUMBER = /^-?(\d+|\d(\.\d+)?e\+\d+)$/;
const C_NAME = /^[A-Za-z_]\w*$/;

/**
 * What stands behind a proxy: Node's `inspect` looks at it. (Not the handler itself: with one object for both, members were
 * `undefined` on Node 24.)
 */
class ObjectTarget {
  readonly #ref: Reference;

  constructor(ref: Reference) {
    this.#ref = ref;
  }

  /** What `console.log` shows. Node calls it with the proxy for `this`. */
  get [INSPECT](): () => string {
    return () => shown(this.#ref);
  }
}

/** The behaviour of one object. */
class ObjectHandler implements ProxyHandler<object> {
  readonly #ref: Reference;
  #api: ObjectApi | undefined;

  constructor(ref: Reference) {
    this.#ref = ref;
  }

  get(_target: object, name: string | symbol): unknown {
    if (name === "$") {
      this.#api ??= new ObjectApi(this.#ref);
      return this.#api;
    }
    if (typeof name === "symbol") return this.#symbol(name);
    if (NUMBER.test(name)) return makeObject(need(this.#ref, Number(name)));
    const found = C_NAME.test(name) ? stepTo(this.#ref, name) : undefined;
    if (found !== undefined) return makeObject(found);
    if (name === "toString" || name === "toJSON") return () => shown(this.#ref);
    if (name === "length") return this.#length();
    if (ASKED.has(name) || !C_NAME.test(name)) return undefined;
    need(this.#ref, name);
    return undefined;
  }

  /** `for…of` and `length` are for arrays whose length is known. */
  #length(): number | undefined {
    const type = stripped(this.#ref.type);
    return type.kind === "array" && type.count !== 0 ? type.count : undefined;
  }

  #symbol(name: symbol): unknown {
    if (name === INSPECT) return () => shown(this.#ref);
    if (name === Symbol.toStringTag) return "KernelObject";
    if (name === Symbol.iterator && this.#length() !== undefined) return () => elementsOf(this.#ref);
    if (name !== Symbol.toPrimitive) return undefined;
    return (hint: string) => {
      if (hint !== "number") return shown(this.#ref);
      throw new TypeError(`${shown(this.#ref)} is no number: read it first, with .$.read()`);
    };
  }

  has(_target: object, name: string | symbol): boolean {
    if (name === "$") return true;
    return typeof name === "string" && C_NAME.test(name) && stepTo(this.#ref, name) !== undefined;
  }

  /** Names are found by completion, but not enumerated: what compares or copies deeply would never end. */
  ownKeys(): string[] {
    return ["$", ...new Set(memberNames(this.#ref))];
  }

  getOwnPropertyDescriptor(target: object, name: string | symbol): PropertyDescriptor | undefined {
    if (!this.has(target, name)) return undefined;
    return { value: this.get(target, name), configurable: true, enumerable: false, writable: false };
  }

  getPrototypeOf(): null {
    return null;
  }
  set(): boolean {
    return false;
  }
  defineProperty(): boolean {
    return false;
  }
  deleteProperty(): boolean {
    return false;
  }
  preventExtensions(): boolean {
    return false;
  }
  setPrototypeOf(): boolean {
    return false;
  }
}

function* elementsOf(ref: Reference): Generator<KernelObject<Unlisted>> {
  const type = stripped(ref.type);
  for (let i = 0; type.kind === "array" && i < type.count; i++) yield makeObject(need(ref, i));
}

/** The object at a place. @internal */
export function makeObject(ref: Reference): Unlisted {
  return new Proxy(new ObjectTarget(ref), new ObjectHandler(ref)) as Unlisted;
}
