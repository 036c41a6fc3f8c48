/** The symbols of a process by name and address: those of its program and libraries. */
import { editDistance, isGlob, matchesGlob } from "../names.js";
import { type KernelSymbol, SymbolError } from "../symbols/symbol.js";
import { compare } from "./order.js";

/** A symbol of a program or library in a process. */
export interface UserSymbol extends KernelSymbol {
  /** `name@VERSION` where the object has another of that name, which programs get that ask for no version. */
  readonly name: string;
  /** As nm has it: `T` text, `D` data, `B` zeroed data, `R` what is only read, `W` or `V` weak, `i` an indirect function; small if local. */
  readonly type: string;
  /** The object's name, as `module` of the kernel's: that of its file without folders, or its own, or "vdso". */
  readonly module: string;
  /** Path of the object's file; `undefined` for what has none. */
  readonly path: string | undefined;
  /** Bytes; 0n where that is not said. */
  readonly size: bigint;
  /** The version that it is of, where the object gives versions. */
  readonly version: string | undefined;
}

/** An address by name. */
export interface NamedUserAddress extends UserSymbol {
  /** Bytes from the symbol's address. */
  readonly offset: bigint;
}

/** An object, and its symbols. @internal */
export interface UserObject {
  readonly name: string;
  readonly soname: string | undefined;
  readonly path: string | undefined;
  readonly start: bigint;
  readonly end: bigint;
  /** Ascending by address. */
  readonly symbols: readonly UserSymbol[];
  /** Names of what each thread has its own of, and where it is in a thread's block. */
  readonly threadLocal: ReadonlyMap<string, bigint>;
}

/** Symbols of each name, with their objects. */
type Names = Map<string, { readonly symbol: UserSymbol; readonly object: UserObject }[]>;

/** Symbols below an address that are tried: one that holds many others may begin far below. */
const MAX_TRIED = 64;

/** The symbols of a process. */
export class UserSymbols {
  readonly #objects: readonly UserObject[];
  #byName: Names | undefined;

  /** Use `process.symbols`. @internal */
  constructor(objects: readonly UserObject[]) {
    this.#objects = [...objects].sort((a, b) => compare(a.start, b.start));
  }

  /** Names of the objects that have symbols. */
  get objects(): string[] {
    return this.#objects.filter(({ symbols }) => symbols.length > 0).map(({ name }) => name);
  }

  /** How many there are. */
  get count(): number {
    return this.#objects.reduce((sum, { symbols }) => sum + symbols.length, 0);
  }

  /**
   * Those of a name, one for each address, ascending: "malloc", "libc.so.6:malloc", "memcpy@GLIBC_2.2.5". Of several versions in one object,
   * the one for who asks for none.
   */
  symbol(name: string): UserSymbol[] {
    const { object, symbol } = qualified(name);
    const found = this.#named().get(symbol.replace("@@", "@")) ?? [];
    const own = object === undefined ? found : found.filter((each) => isNamed(each.object, object));
    const addresses = new Set<bigint>();
    return own.flatMap(({ symbol: each }) => {
      if (addresses.has(each.address)) return [];
      addresses.add(each.address);
      return [each];
    });
  }

  /** Those whose whole name matches a pattern (`*`, `?`, `[a-z]`), ascending by address; "libc.so.6:mem*" those of one object. */
  *match(pattern: string): Generator<UserSymbol, void> {
    const { object, symbol } = qualified(pattern);
    for (const each of this.#objects) {
      if (object !== undefined && !isNamed(each, object)) continue;
      for (const one of each.symbols) {
        if (matchesGlob(symbol, one.name)) yield one;
      }
    }
  }

  /** Some with names like one. */
  near(name: string): UserSymbol[] {
    const { symbol } = qualified(name);
    const found = new Map<string, UserSymbol>();
    for (const { symbols } of this.#objects) {
      for (const each of symbols) {
        if (Math.abs(each.name.length - symbol.length) > 2 || found.has(each.name)) continue;
        if (editDistance(symbol, each.name, 2) <= 2) found.set(each.name, each);
        if (found.size >= 5) return [...found.values()];
      }
    }
    return [...found.values()];
  }

  /** What says more of a name that is none of an address; `undefined` if there is nothing to say. */
  hintOf(name: string): string | undefined {
    const { object, symbol } = qualified(name);
    if (object !== undefined && !this.#objects.some((each) => isNamed(each, object))) {
      return `no object with symbols is named "${object}": ${this.objects.slice(0, 8).join(", ")}`;
    }
    const own = this.#objects.find(({ threadLocal }) => threadLocal.has(symbol));
    const offset = own?.threadLocal.get(symbol);
    return own === undefined || offset === undefined
      ? undefined
      : `each thread has its own, at 0x${offset.toString(16)} of its block of ${own.name}`;
  }

  /**
   * The symbol that an address is in; or, of those without a size, the nearest below in the same object. Where there is none, the object
   * itself, by its name and with type "?"; `undefined` for an address of no object.
   */
  nameOf(address: bigint): NamedUserAddress | undefined {
    const object = this.#objects.findLast(({ start, end }) => start <= address && address < end);
    if (object === undefined) return undefined;
    const { symbols, name, path, start, end } = object;
    let low = 0;
    let high = symbols.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((symbols[middle] as UserSymbol).address <= address) low = middle + 1;
      else high = middle;
    }
    let best: UserSymbol | undefined;
    for (let i = low - 1; i >= 0 && low - i <= MAX_TRIED; i--) {
      const each = symbols[i] as UserSymbol;
      if (best !== undefined && each.address !== best.address) break;
      const offset = address - each.address;
      const isIn = offset === 0n || offset < each.size || each.size === 0n;
      if (isIn && (best === undefined || isBetter(each, best))) best = each;
    }
    if (best !== undefined) return { ...best, offset: address - best.address };
    const itself = {
      name,
      module: name,
      path,
      address: start,
      size: end - start,
      type: "?",
      version: undefined,
    };
    return { ...itself, offset: address - start };
  }

  #named(): Names {
    if (this.#byName !== undefined) return this.#byName;
    const byName: Names = new Map();
    const add = (name: string, object: UserObject, symbol: UserSymbol) => {
      const same = byName.get(name);
      if (same === undefined) byName.set(name, [{ symbol, object }]);
      else same.push({ symbol, object });
    };
    for (const object of this.#objects) {
      for (const symbol of object.symbols) {
        add(symbol.name, object, symbol);
        const { name, version } = symbol;
        if (version !== undefined && !name.includes("@")) add(`${name}@${version}`, object, symbol);
      }
    }
    this.#byName = byName;
    return byName;
  }
}

/** "libc.so.6:malloc" as its parts. (Symbols have no colons, also those of C++, whose names are mangled; files may have: "memfd:name".) */
function qualified(name: string): { object: string | undefined; symbol: string } {
  const colon = name.lastIndexOf(":");
  return colon <= 0
    ? { object: undefined, symbol: name }
    : { object: name.slice(0, colon), symbol: name.slice(colon + 1) };
}

function isNamed({ name, soname, path }: UserObject, object: string): boolean {
  return name === object || soname === object || path === object || `[${name}]` === object;
}

/** Of two at one address: what is not local, of the newest version, with fewer underscores, the shorter one. */
function isBetter(a: UserSymbol, b: UserSymbol): boolean {
  return rank(a) < rank(b) || (rank(a) === rank(b) && a.name.length < b.name.length);
}

function rank({ name, type }: UserSymbol): number {
  const isLocal = type === type.toLowerCase() && type !== "i";
  return (isLocal ? 200 : 0) + (name.includes("@") ? 50 : 0) + (/^_*/.exec(name)?.[0].length ?? 0);
}

/** The one symbol of a name. @throws {SymbolError} `NO_SYMBOL`, `AMBIGUOUS_SYMBOL`. */
export function oneUserSymbol(symbols: UserSymbols, name: string): UserSymbol {
  const found = symbols.symbol(name);
  if (found.length === 1) return found[0] as UserSymbol;
  if (found.length > 1) {
    throw new SymbolError("AMBIGUOUS_SYMBOL", name, found, "or name its object: OBJECT:NAME");
  }
  throw new SymbolError("NO_SYMBOL", name, symbols.near(name), symbols.hintOf(name), "symbol of the process");
}

/** Those of a name, or that match a pattern. */
export function userSymbolsOf(symbols: UserSymbols, pattern: string): Iterable<UserSymbol> {
  return isGlob(pattern) ? symbols.match(pattern) : symbols.symbol(pattern);
}
