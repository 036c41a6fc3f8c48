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

/** In which of its orders scripts/kallsyms.c wrote the tables. */
export interface KernelOrder {
  /** Bytes of a pointer. */
  readonly pointerSize: 4 | 8;
  /** `early`: the addresses before the names, until 6.3; `late`: behind the tokens. */
  readonly order: "early" | "late";
  /** What each table begins at a multiple of. */
  readonly align: number;
  /** Bytes of a marker, and of the count. */
  readonly markerSize: 4 | 8;
  /** Whether `kallsyms_seqs_of_names` is there (since 6.2). */
  readonly seqs: boolean;
}

/**
 * Writes tables as a kernel has them: with markers, sequence numbers, and in its order. Tokens are those given whose characters
 * symbols use, as no other can be.
 */
export function writeKernelKallsyms(
  list: readonly WrittenSymbol[],
  options: WriteOptions,
  { pointerSize, order, align, markerSize, seqs }: KernelOrder,
): WrittenKallsyms {
  const used = new Set(list.flatMap(({ type, name }) => [...type, ...name]));
  const tokens = (options.tokens ?? []).filter((token) => [...token].every((c) => used.has(c)));
  const { tokenOf, table, index } = writeTokens(list, [...new Set(tokens)]);
  const coded = list.map((symbol) => writeName(symbol, tokenOf));
  const markers: number[] = [];
  let at = 0;
  coded.forEach((name, i) => {
    if (i % 256 === 0) markers.push(at);
    at += name.length;
  });
  const wide = (values: number[], size: 4 | 8) =>
    words32(size === 4 ? values : values.flatMap((value) => [value, 0]));
  const byName = list
    .map((symbol, i) => ({ name: symbol.name, i }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.i - b.i));
  const sequence: [string, Uint8Array][] = seqs
    ? [["kallsyms_seqs_of_names", Uint8Array.from(byName.flatMap(({ i }) => [i >> 16, i >> 8, i]))]]
    : [];
  const middle: [string, Uint8Array][] = [
    ["kallsyms_num_syms", wide([list.length], markerSize)],
    ["kallsyms_names", Uint8Array.from(coded.flat())],
    ["kallsyms_markers", wide(markers, markerSize)],
    ...(order === "early" ? sequence : []),
    ["kallsyms_token_table", table],
    ["kallsyms_token_index", index],
  ];
  const place = (parts: readonly [string, Uint8Array][]) => {
    const starts = new Map<string, number>();
    let end = 0;
    for (const [name, bytes] of parts) {
      starts.set(name, end);
      end = Math.ceil((end + bytes.length) / align) * align;
    }
    return { starts, end };
  };
  // Where the offsets lie matters only if they count from there, and then they come last.
  const from = options.at + BigInt(place(middle).end);
  const addresses = writeAddresses(list, options.form, from, pointerSize);
  const parts = order === "early" ? [...addresses, ...middle] : [...middle, ...addresses, ...sequence];
  const { starts, end } = place(parts);
  const bytes = new Uint8Array(end);
  for (const [name, part] of parts) bytes.set(part, starts.get(name));
  const symbols = new Map([...starts].map(([name, start]) => [name, options.at + BigInt(start)]));
  return { bytes, symbols, starts };
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
  pointerSize: 4 | 8 = 8,
): [string, Uint8Array][] {
  const top = BigInt(8 * pointerSize - 1);
  const upper = list.map((symbol) => symbol.address).filter((address) => address >> top === 1n);
  const base = upper.sort((a, b) => (a < b ? -1 : 1))[0] ?? 0n;
  const offset = (address: bigint, i: number): number => {
    if (form === "pc-relative") return Number(BigInt.asIntN(32, address - (at + BigInt(4 * i))));
    if (form === "relative") return Number(BigInt.asIntN(32, address - base));
    return address >> 63n === 1n ? Number(base - 1n - address) : Number(address);
  };
  if (form === "absolute") {
    return [
      [
        "kallsyms_addresses",
        pointers(
          list.map((symbol) => symbol.address),
          pointerSize,
        ),
      ],
    ];
  }
  const offsets: [string, Uint8Array] = [
    "kallsyms_offsets",
    words32(list.map((symbol, i) => offset(symbol.address, i))),
  ];
  if (form === "pc-relative") return [offsets];
  return [offsets, ["kallsyms_relative_base", pointers([base], pointerSize)]];
}

function pointers(values: readonly bigint[], size: 4 | 8): Uint8Array {
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    if (size === 8) view.setBigUint64(8 * i, value, true);
    else view.setUint32(4 * i, Number(value), true);
  });
  return bytes;
}

function words32(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setInt32(4 * i, value, true);
  });
  return bytes;
}
