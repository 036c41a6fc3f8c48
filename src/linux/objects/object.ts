/**
 * Objects of the kernel, lazy: a member is an address and a type until it is read. Members are plain properties (kernels have some
 * called `read`, `next` and `then`); everything of our own is under `$`, which no member of C is called.
 */
import { stripped } from "../types/c-type.js";
import { ObjectApi } from "./object-api.js";
import { memberNames, needStep, stepTo } from "./object-steps.js";
import { describeReference, type Reference } from "./reference.js";
import type { KernelObject, Unlisted } from "./schema.js";

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
    return () => describeReference(this.#ref);
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
      this.#api ??= new ObjectApi(this.#ref, makeObject);
      return this.#api;
    }
    if (typeof name === "symbol") return this.#symbol(name);
    if (NUMBER.test(name)) return makeObject(needStep(this.#ref, Number(name)));
    const found = C_NAME.test(name) ? stepTo(this.#ref, name) : undefined;
    if (found !== undefined) return makeObject(found);
    if (name === "toString" || name === "toJSON") return () => describeReference(this.#ref);
    if (name === "length") return this.#length();
    if (ASKED.has(name) || !C_NAME.test(name)) return undefined;
    needStep(this.#ref, name);
    return undefined;
  }

  /** `for…of` and `length` are for arrays whose length is known. */
  #length(): number | undefined {
    const type = stripped(this.#ref.type);
    return type.kind === "array" && type.count !== 0 ? type.count : undefined;
  }

  #symbol(name: symbol): unknown {
    if (name === INSPECT) return () => describeReference(this.#ref);
    if (name === Symbol.toStringTag) return "KernelObject";
    if (name === Symbol.iterator && this.#length() !== undefined) return () => elementsOf(this.#ref);
    if (name !== Symbol.toPrimitive) return undefined;
    return (hint: string) => {
      if (hint !== "number") return describeReference(this.#ref);
      throw new TypeError(`${describeReference(this.#ref)} is no number: read it first, with .$.read()`);
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
  for (let i = 0; type.kind === "array" && i < type.count; i++) yield makeObject(needStep(ref, i));
}

/** The object at a place. @internal */
export function makeObject(ref: Reference): Unlisted {
  return new Proxy(new ObjectTarget(ref), new ObjectHandler(ref)) as Unlisted;
}
