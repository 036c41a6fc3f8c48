/** The kernel's symbols, once they are read (see kallsyms-tables.ts): by name, by address, by pattern. */

import { editDistance, matchesGlob } from "../names.js";
import { ALL_THERE, type Need } from "../paged-bytes.js";
import { areAscending, movedAddress, moveImage, wordsOf } from "./kallsyms-addresses.hot.js";
import {
  bucketOf,
  chainHashes,
  type HashChains,
  MAX_NAME,
  type NameColumns,
  rowOf,
} from "./kallsyms-names.hot.js";
import { hashText, type TokenTable } from "./kallsyms-tokens.js";
import type { KernelSymbol, NamedAddress } from "./symbol.js";

/** More symbols than any kernel has (an allyesconfig has under a million): a count above it is not believed. */
export const MAX_SYMBOLS = 1 << 22;

/** The compressed names, and what one pass over them found. */
export interface Names extends NameColumns {
  /** As `kallsyms_names` has them: of each name its length, then its tokens. */
  readonly bytes: Uint8Array;
}

/** What a {@link Kallsyms} is made of. @internal */
export interface KallsymsParts {
  /** Before they are moved. */
  readonly addresses: BigUint64Array;
  /** How far those of the image are moved (see `moveImage`); then they ascend. Default: not at all, and their order is looked at. */
  readonly slide?: bigint | undefined;
  /** Asked for what is looked at. */
  readonly need?: Need | undefined;
  readonly names: Names;
  readonly tokens: TokenTable;
  /** Names by hash, if they are known already. */
  readonly chains?: HashChains | undefined;
  /** Rows behind which others of the kernel's table are missing. */
  readonly gaps?: ReadonlySet<number> | undefined;
  readonly damage?: string | undefined;
}

/**
 * The symbols of the kernel's image, in the table's order: ascending by address. Symbols of modules are elsewhere, in
 * each module's own structures (modules/module-table.ts).
 */
export class Kallsyms {
  /** What is wrong with the kernel's table: symbols are missing. `undefined` for a whole one. */
  readonly damage: string | undefined;
  readonly #stored: BigUint64Array;
  readonly #slide: bigint | undefined;
  readonly #need: Need;
  #moved: BigUint64Array | undefined;
  readonly #gaps: ReadonlySet<number> | undefined;
  readonly #names: Names;
  readonly #tokens: TokenTable;
  /** Indices by ascending address, if the table's own order is not that; `null` before anybody needed them. */
  #sorted: Uint32Array | undefined | null = null;
  /** Names by hash. Made when they pay. */
  #chains: HashChains | undefined;
  /** Names that were looked for without them. */
  #passes = 0;

  /** Use `readKallsyms`, `kallsymsFromState` or `parseSystemMap`. @internal */
  constructor({ addresses, slide, need, names, tokens, chains, gaps, damage }: KallsymsParts) {
    this.#stored = addresses;
    this.#slide = slide;
    this.#need = need ?? ALL_THERE;
    if (slide !== undefined) this.#sorted = undefined;
    this.damage = damage;
    this.#gaps = gaps;
    this.#names = names;
    this.#tokens = tokens;
    this.#chains = chains;
  }

  /** @internal */
  static partsOf(kallsyms: Kallsyms): KallsymsParts & { readonly chains: HashChains } {
    kallsyms.#needAll();
    return {
      addresses: kallsyms.addresses,
      names: kallsyms.#names,
      tokens: kallsyms.#tokens,
      chains: kallsyms.#allChains(),
    };
  }

  /** Column: address of each symbol. */
  get addresses(): BigUint64Array {
    if (this.#slide === undefined) return this.#stored;
    if (this.#moved === undefined) {
      this.#need(this.#stored, 0, this.length);
      this.#moved = this.#stored.slice();
      moveImage(this.#moved, this.#slide);
    }
    return this.#moved;
  }

  /** Number of symbols. */
  get length(): number {
    return this.#stored.length;
  }

  /** Address of a symbol that there is. */
  #addressOf(index: number): bigint {
    if (this.#slide === undefined || this.#moved !== undefined) return this.addresses[index] as bigint;
    const last = this.length - 1;
    this.#need(this.#stored, index, index + 1);
    this.#need(this.#stored, last, last + 1);
    return movedAddress(this.#stored[index] as bigint, this.#stored[last] as bigint, this.#slide);
  }

  /** For passes over all of it. */
  #needAll(): void {
    const { bytes, starts, lengths, hashes } = this.#names;
    for (const column of [this.#stored, bytes, starts, lengths, hashes]) this.#need(column, 0, column.length);
    if (this.#chains === undefined) return;
    for (const column of [this.#chains.heads, this.#chains.next]) this.#need(column, 0, column.length);
  }

  /** Symbol `index` of the table. @throws {RangeError} if there is none. */
  at(index: number): KernelSymbol {
    if (!(index in this.#stored)) throw new RangeError(`symbol ${index} of ${this.length}`);
    const address = this.#addressOf(index);
    const text = this.#text(index);
    return { name: text.slice(1), address, type: text.slice(0, 1) };
  }

  /** Every symbol, in the table's order. */
  *[Symbol.iterator](): Generator<KernelSymbol, void, void> {
    this.#needAll();
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  /** Every symbol of this name, in the table's order. */
  symbol(name: string): KernelSymbol[] {
    const { hashes } = this.#names;
    const wanted = hashText(name, 0);
    const found: KernelSymbol[] = [];
    if (this.#chains === undefined && this.#passes < FEW_PASSES) {
      this.#passes++;
      for (let i = rowOf(hashes, wanted, 0); i < hashes.length; i = rowOf(hashes, wanted, i + 1)) {
        if (this.#nameOf(i) === name) found.push(this.at(i));
      }
      return found;
    }
    const { heads, next, shift } = this.#allChains();
    const bucket = bucketOf(wanted, shift);
    this.#need(heads, bucket, bucket + 1);
    let i = heads[bucket] as number;
    // (Chains ascend. One that was kept in a file may be anything, but not a circle.)
    for (let before = -1; i > before; i = next[i] as number) {
      this.#need(hashes, i, i + 1);
      this.#need(next, i, i + 1);
      if (hashes[i] === wanted && this.#nameOf(i) === name) found.push(this.at(i));
      before = i;
    }
    return found;
  }

  #allChains(): HashChains {
    this.#chains ??= chainHashes(this.#names.hashes);
    return this.#chains;
  }

  /**
   * The nearest symbol at or below an address, the first of several at that address. Undefined below the first, more
   * than a page above the last, where symbols are missing, and for addresses in the lower half that lie above its per-CPU offsets.
   */
  nameOf(address: bigint): NamedAddress | undefined {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ordered(middle) <= address) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const nearest = this.#ordered(low - 1);
    // Per-CPU variables have offsets for addresses: nothing in the upper half is near one.
    const isLast = low === this.length || this.#ordered(low) >> 63n !== nearest >> 63n;
    if (nearest >> 63n !== address >> 63n || (isLast && address - nearest > LAST_SYMBOL_SIZE))
      return undefined;
    if (address !== nearest && this.#gaps?.has(this.#order()?.[low - 1] ?? low - 1) === true)
      return undefined;
    let first = low - 1;
    while (first > 0 && this.#ordered(first - 1) === nearest) first--;
    const symbol = this.at(this.#order()?.[first] ?? first);
    return { ...symbol, offset: address - nearest };
  }

  /** Symbols whose whole name matches a glob pattern (see `matchesGlob`), in the table's order. */
  *match(pattern: string): Generator<KernelSymbol, void, void> {
    this.#needAll();
    for (let i = 0; i < this.length; i++) {
      if (matchesGlob(pattern, this.#nameOf(i))) yield this.at(i);
    }
  }

  /** Up to `limit` symbols with names most like this one: a few typing errors away, else such as begin with it. */
  near(name: string, limit = 5): KernelSymbol[] {
    const distance = Math.min(3, Math.max(1, Math.floor(name.length / 3)));
    const similar: { index: number; cost: number }[] = [];
    const begin: number[] = [];
    const wanted = name.slice(0, MAX_NAME);
    this.#needAll();
    for (let i = 0; i < this.length; i++) {
      const other = this.#nameOf(i);
      const cost = editDistance(wanted, other, distance);
      if (cost <= distance) similar.push({ index: i, cost });
      else if (wanted.length > 2 && begin.length < limit && other.startsWith(wanted)) begin.push(i);
    }
    similar.sort((a, b) => a.cost - b.cost || a.index - b.index);
    const seen = new Map<string, KernelSymbol>();
    for (const index of [...similar.map((entry) => entry.index), ...begin]) {
      const symbol = this.at(index);
      if (!seen.has(symbol.name)) seen.set(symbol.name, symbol);
      if (seen.size === limit) break;
    }
    return [...seen.values()];
  }

  /** The address that is i-th from below. */
  #ordered(i: number): bigint {
    return this.#addressOf(this.#order()?.[i] ?? i);
  }

  #order(): Uint32Array | undefined {
    if (this.#sorted === null) this.#sorted = ascending(this.addresses);
    return this.#sorted;
  }

  #nameOf(index: number): string {
    return this.#text(index).slice(1);
  }

  /** Type and name. */
  #text(index: number): string {
    const { bytes, starts, lengths } = this.#names;
    this.#need(starts, index, index + 1);
    this.#need(lengths, index, index + 1);
    const start = starts[index] as number;
    const end = start + (lengths[index] as number);
    this.#need(bytes, start, end);
    const { texts } = this.#tokens;
    let text = "";
    for (let i = start; i < end; i++) text += texts[bytes[i] as number] ?? "";
    return text;
  }
}

/** Passes over all hashes that take as long as chains of them. Most programs look for fewer names. */
const FEW_PASSES = 64;

/** How far an address may lie above the last symbol and still be named by it. */
const LAST_SYMBOL_SIZE = 4096n;

/** Indices that sort the addresses, or undefined if they are sorted. */
function ascending(addresses: BigUint64Array): Uint32Array | undefined {
  if (areAscending(addresses)) return undefined;
  const words = wordsOf(addresses);
  const order = Uint32Array.from(addresses, (_, i) => i);
  return order.sort((a, b) => {
    const high = (words[2 * a + 1] as number) - (words[2 * b + 1] as number);
    return high || (words[2 * a] as number) - (words[2 * b] as number) || a - b;
  });
}
