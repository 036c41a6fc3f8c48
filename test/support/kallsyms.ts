/**
 * An independent writer of kallsyms tables, for tests: it knows the format from its description in
 * src/linux/kallsyms.ts only, and shares no code with the reader.
 */

/** A symbol to write. */
export interface WrittenSymbol {
  readonly name: string;
  readonly type: string;
  readonly address: bigint;
}

/** Which of the forms of addresses to write. */
export type AddressForm = "relative" | "per-cpu" | "pc-relative" | "absolute";

/** Options of {@link writeKallsyms}. */
export interface WriteOptions {
  /** Where the tables lie. */
  readonly at: bigint;
  readonly form: AddressForm;
  /** Strings of two or more characters that get tokens of their own. */
  readonly tokens?: readonly string[];
}

/** What {@link writeKallsyms} gives. */
export interface WrittenKallsyms {
  /** The tables, one after another, from `at` on. */
  readonly bytes: Uint8Array;
  /** VMCOREINFO's `SYMBOL(...)`s of them. */
  readonly symbols: Map<string, bigint>;
  /** Where each table begins in `bytes`. */
  readonly starts: ReadonlyMap<string, number>;
}

/** Writes tables of symbols, in the order given. */
export function writeKallsyms(list: readonly WrittenSymbol[], options: WriteOptions): WrittenKallsyms {
  const { tokenOf, table, index } = writeTokens(list, options.tokens ?? []);
  const parts: [string, Uint8Array][] = [];
  parts.push(["kallsyms_num_syms", words32([list.length])]);
  parts.push(["kallsyms_names", Uint8Array.from(list.flatMap((symbol) => writeName(symbol, tokenOf)))]);
  parts.push(["kallsyms_token_table", table]);
  parts.push(["kallsyms_token_index", index]);
  const starts = new Map<string, number>();
  let end = 0;
  for (const [name, bytes] of parts) {
    starts.set(name, end);
    end = (end + bytes.length + 7) & ~7;
  }
  for (const [name, bytes] of writeAddresses(list, options.form, options.at + BigInt(end))) {
    parts.push([name, bytes]);
    starts.set(name, end);
    end = (end + bytes.length + 7) & ~7;
  }
  const bytes = new Uint8Array(end);
  for (const [name, part] of parts) bytes.set(part, starts.get(name));
  const symbols = new Map([...starts].map(([name, start]) => [name, options.at + BigInt(start)]));
  return { bytes, symbols, starts };
}

function writeTokens(list: readonly WrittenSymbol[], tokens: readonly string[]) {
  const used = new Set(
    list.flatMap((symbol) => [...(symbol.type + symbol.name)].map((c) => c.charCodeAt(0))),
  );
  const texts: string[] = [];
  const tokenOf = new Map<string, number>();
  const spare = [...tokens];
  for (let i = 0; i < 256; i++) {
    const text = used.has(i) ? String.fromCharCode(i) : (spare.shift() ?? "");
    texts.push(text);
    if (text !== "") tokenOf.set(text, i);
  }
  const index: number[] = [];
  const table: number[] = [];
  for (const text of texts) {
    index.push(table.length & 255, table.length >> 8);
    table.push(...[...text].map((c) => c.charCodeAt(0)), 0);
  }
  return { tokenOf, table: Uint8Array.from(table), index: Uint8Array.from(index) };
}

function writeName(symbol: WrittenSymbol, tokenOf: ReadonlyMap<string, number>): number[] {
  const longest = [...tokenOf.keys()].sort((a, b) => b.length - a.length);
  let rest = symbol.type + symbol.name;
  const out: number[] = [];
  while (rest !== "") {
    const token = longest.find((text) => rest.startsWith(text)) as string;
    out.push(tokenOf.get(token) as number);
    rest = rest.slice(token.length);
  }
  const length = out.length < 128 ? [out.length] : [(out.length % 128) + 128, Math.floor(out.length / 128)];
  return [...length, ...out];
}

function writeAddresses(
  list: readonly WrittenSymbol[],
  form: AddressForm,
  at: bigint,
): [string, Uint8Array][] {
  const upper = list.map((symbol) => symbol.address).filter((address) => address >> 63n === 1n);
  const base = upper.sort((a, b) => (a < b ? -1 : 1))[0] ?? 0n;
  const offset = (address: bigint, i: number): number => {
    if (form === "pc-relative") return Number(BigInt.asIntN(32, address - (at + BigInt(4 * i))));
    if (form === "relative") return Number(BigInt.asIntN(32, address - base));
    return address >> 63n === 1n ? Number(base - 1n - address) : Number(address);
  };
  if (form === "absolute") {
    const bytes = new Uint8Array(list.length * 8);
    const view = new DataView(bytes.buffer);
    list.forEach((symbol, i) => {
      view.setBigUint64(8 * i, symbol.address, true);
    });
    return [["kallsyms_addresses", bytes]];
  }
  const offsets: [string, Uint8Array] = [
    "kallsyms_offsets",
    words32(list.map((symbol, i) => offset(symbol.address, i))),
  ];
  if (form === "pc-relative") return [offsets];
  const baseBytes = new Uint8Array(8);
  new DataView(baseBytes.buffer).setBigUint64(0, base, true);
  return [offsets, ["kallsyms_relative_base", baseBytes]];
}

function words32(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setInt32(4 * i, value, true);
  });
  return bytes;
}
