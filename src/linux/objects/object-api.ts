/** The methods of an object, under its `$`: they name places without reading them, or give what is there as an `Io` or a sequence. */
import { hex, Io, IoSequence, type Routine } from "../../io/index.js";
import { type CType, sizeOf } from "../types/c-type.js";
import { needPlace } from "../types/member-path.js";
import { typeNamed } from "../types/type-name.js";
import { printC } from "./c-text.js";
import * as sequences from "./containers.js";
import type { DamageOptions } from "./damage.js";
import {
  addressRoutine,
  fieldsPartialRoutine,
  fieldsRoutine,
  type PartialFields,
  readRoutine,
  stringRoutine,
} from "./object-reads.js";
import {
  elementReference,
  exactOffset,
  follow,
  memberNames,
  needPointer,
  needStep,
  pathFrom,
} from "./object-steps.js";
import { checkSize, describeReference, type Reference } from "./reference.js";
import type { FieldValues, KernelObject, PathOf, TypeOfName, Unlisted, ValueOf } from "./schema.js";
import type { KernelValue } from "./value.js";

/** Bytes of text that are read, if the caller does not say. */
const DEFAULT_STRING = 4096;
/** Elements that can be asked for at once. */
const MAX_ELEMENTS = 1 << 20;

/** What can be done with an object: `object.$`. */
export class ObjectApi<T = Unlisted> {
  readonly #ref: Reference;
  /** Makes the object at a place. It is given, because `object.ts`, which has it, imports this module. */
  readonly #make: (ref: Reference) => Unlisted;

  /** @internal */
  constructor(ref: Reference, make: (ref: Reference) => Unlisted) {
    this.#ref = ref;
    this.#make = make;
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
    return this.#make(needPointer(this.#ref));
  }

  /** An element of an array, or of what a pointer points to. @throws {RangeError} beyond an array's end. */
  index(index: number): KernelObject<Unlisted> {
    return this.#make(needStep(this.#ref, index));
  }

  /** The object at the end of a path: `mm.pgd`, `numbers[0].nr`. @throws {TypesError} `NO_MEMBER`. */
  member(path: string): KernelObject<Unlisted> {
    return this.#make(pathFrom(this.#ref, path));
  }

  /** The same place as another type. @throws {TypesError} `NO_TYPE`. */
  cast<const N extends string>(type: N | CType): KernelObject<TypeOfName<N>> {
    return this.#make({ ...this.#ref, type: this.#typeOf(type), bit: 0, bitSize: 0 });
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
    return this.#make({
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
    return this.#make({ ...this.#ref, label, offset }) as KernelObject<T>;
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
    return describeReference(this.#ref);
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
      this.#make,
    );
  }
}
