/**
 * System.map: the kernel's symbols as its build lists them (scripts/mksysmap: what `nm -n vmlinux` prints), a line each of address in
 * hex, type and name. A saved /proc/kallsyms has the same form, with a column more for symbols of modules.
 */
import { hex, MemtoolError } from "../../io/index.js";
import { Kallsyms, MAX_SYMBOLS } from "./kallsyms.js";
import { lowestImage, moveImage, wordsOf } from "./kallsyms-addresses.hot.js";
import { MAX_NAME, nameScan, scanNames } from "./kallsyms-names.hot.js";
import { plainTokens } from "./kallsyms-tokens.js";

/** What a System.map holds. */
export interface SystemMap {
  /** Its symbols, in its order. */
  readonly kallsyms: Kallsyms;
  /** Lines that are none of a symbol; they are left out. */
  readonly damaged: number;
  /** The first of them, counted from 1; 0 if there is none. */
  readonly firstDamaged: number;
  /** Lines of modules' symbols (of a saved /proc/kallsyms), which are left out too. */
  readonly modules: number;
}

/** A text without symbols, or with more than any kernel has. */
export class SystemMapError extends MemtoolError {
  constructor(message: string) {
    super("SYSTEM_MAP", message);
  }
}

/** Options of {@link parseSystemMap}. */
export interface SystemMapOptions {
  /**
   * What KASLR added to the addresses of the kernel's image; default 0. It is added modulo 2^64 (2^32, of a 32-bit kernel). What is
   * not of the image stays: the per-CPU area's offsets, and absolute symbols (`A`) below it.
   */
  readonly kaslr?: bigint | undefined;
}

/** The shortest line: address, blank, type, blank, name, end. */
const LEAST_LINE = 6;

/**
 * Parses a System.map. Memory is in proportion to the text.
 *
 * @throws {SystemMapError} if no line is that of a symbol, or all of their addresses are 0 (as /proc/kallsyms shows them to users), or there
 * are more than any kernel has.
 */
export function parseSystemMap(text: Uint8Array, options: SystemMapOptions = {}): SystemMap {
  const most = Math.min(Math.floor(text.length / LEAST_LINE) + 1, MAX_SYMBOLS);
  const all = new BigUint64Array(most);
  const words = wordsOf(all);
  const names = new Uint8Array(text.length);
  const line = new SystemMapLine(text);
  let filled = 0;
  let count = 0;
  let damaged = 0;
  let firstDamaged = 0;
  let modules = 0;
  let number = 0;
  let some = false;
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf(10, at);
    const end = newline < 0 ? text.length : newline;
    number++;
    const kind = line.parse(at, end);
    at = end + 1;
    if (kind === "module") modules++;
    if (kind === "damaged") {
      damaged++;
      if (firstDamaged === 0) firstDamaged = number;
    }
    if (kind !== "symbol") continue;
    if (count === most) throw new SystemMapError(`more than ${MAX_SYMBOLS} symbols: no kernel's System.map`);
    words[2 * count] = line.low;
    words[2 * count + 1] = line.high;
    some ||= line.low !== 0 || line.high !== 0;
    // As kallsyms has them: a length, then the type and the name, each character its own token.
    const length = line.nameEnd - line.nameStart + 1;
    if (length < 128) names[filled++] = length;
    else {
      names[filled++] = (length & 127) | 128;
      names[filled++] = length >> 7;
    }
    names[filled++] = line.type;
    names.set(text.subarray(line.nameStart, line.nameEnd), filled);
    filled += length - 1;
    count++;
  }
  if (count === 0) {
    throw new SystemMapError(`no line of ${number} is "address type name": no System.map`);
  }
  if (!some) {
    throw new SystemMapError(
      `all ${count} symbols have the address 0: a /proc/kallsyms that was read without the right to see them`,
    );
  }
  const addresses = all.slice(0, count);
  const bytes = names.slice(0, filled);
  const columns = {
    starts: new Uint32Array(count),
    lengths: new Uint16Array(count),
    hashes: new Int32Array(count),
  };
  const tokens = plainTokens();
  scanNames(nameScan(), bytes, bytes.length, count, tokens, columns);
  const parts = { addresses, names: { ...columns, bytes }, tokens };
  if (options.kaslr !== undefined && options.kaslr !== 0n) move(new Kallsyms(parts), options.kaslr);
  return { kallsyms: new Kallsyms(parts), damaged, firstDamaged, modules };
}

/** Moves the image's addresses in place. */
function move(kallsyms: Kallsyms, kaslr: bigint): void {
  const { addresses } = kallsyms;
  const image = (kallsyms.symbol("_text")[0] ?? kallsyms.symbol("_stext")[0])?.address;
  const lowest = lowestImage(addresses);
  if (image !== undefined && image < lowest) {
    throw new SystemMapError(`the kernel's text is at ${hex(image)} there: not where a kernel's image is`);
  }
  const stay: number[] = [];
  if (image !== undefined) {
    for (let i = 0; i < addresses.length; i++) {
      const address = addresses[i] as bigint;
      if (address >= lowest && address < image && kallsyms.at(i).type.toUpperCase() === "A") stay.push(i);
    }
  }
  const kept = stay.map((i) => addresses[i] as bigint);
  moveImage(addresses, kaslr);
  stay.forEach((i, k) => {
    addresses[i] = kept[k] as bigint;
  });
}

/** One line's parts; used again and again. */
class SystemMapLine {
  readonly #text: Uint8Array;
  low = 0;
  high = 0;
  type = 0;
  nameStart = 0;
  nameEnd = 0;

  constructor(text: Uint8Array) {
    this.#text = text;
  }

  /** Parses the line from `start` to `end` (exclusive). */
  parse(start: number, end: number): "symbol" | "module" | "damaged" | "empty" {
    const text = this.#text;
    let last = end;
    while (last > start && isBlank(text[last - 1] as number)) last--;
    if (last === start) return "empty";
    let at = start;
    let low = 0;
    let high = 0;
    for (; at < last; at++) {
      const digit = hexDigit(text[at] as number);
      if (digit < 0) break;
      high = ((high << 4) | (low >>> 28)) >>> 0;
      low = ((low << 4) | digit) >>> 0;
    }
    const digits = at - start;
    if (digits === 0 || digits > 16 || text[at] !== 32) return "damaged";
    const type = text[at + 1] as number;
    // (nm has "?" for what it can't tell, and "-" for debuggers' symbols.)
    const isType = (type | 32) >= 97 && (type | 32) <= 122;
    if (at + 3 >= last || (!isType && type !== 63 && type !== 45) || text[at + 2] !== 32) return "damaged";
    this.low = low;
    this.high = high;
    this.type = type;
    this.nameStart = at + 3;
    at = this.nameStart;
    while (at < last && (text[at] as number) > 32 && text[at] !== 127) at++;
    this.nameEnd = at;
    if (at === this.nameStart || at - this.nameStart > MAX_NAME) return "damaged";
    if (at === last) return "symbol";
    while (at < last && isBlank(text[at] as number)) at++;
    return text[at] === 91 && text[last - 1] === 93 ? "module" : "damaged";
  }
}

/** Blank, tab, carriage return. */
function isBlank(byte: number): boolean {
  return byte === 32 || byte === 9 || byte === 13;
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}
