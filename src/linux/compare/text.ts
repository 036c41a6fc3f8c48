/** Which functions of the kernel and of its modules are not what they were. */
import { all, IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import type { LinuxKernel } from "../kernel.js";
import { kernelData, symbolAddress } from "../kernel-data.js";
import { readModules } from "../modules/module-parts.js";
import { int, maybe, record, word } from "../objects/record.js";
import type { NamedAddress } from "../symbols/symbol.js";
import { type CompareOptions, changedFields, type Difference, onSide } from "./difference.js";
import { KernelPair, type Sides } from "./pair.js";
import { TextSites } from "./text-sites.js";

const MODULE = record("module", {
  // Since 6.4 (ac3b43283923), the text is the first of several parts.
  base: word("mem[0].base", "core_layout.base", "module_core"),
  size: int("mem[0].size", "core_layout.text_size", "core_text_size"),
  srcversion: maybe(word("srcversion")),
});

/** Bytes that are compared at a time, and those around them that an instruction may begin in or reach into. */
const PIECE = 1 << 18;
const AROUND = 32;
/** Bytes of the longest that a kprobe writes: a jump. */
const PROBED = 5;
/** Bytes of a function that are shown. */
const SHOWN = 16;
/** Text that is larger is not believed. */
const MAX_TEXT = 1n << 30n;

/** A function of which bytes are not what they were. */
export interface ChangedText {
  /** Its symbol; `undefined` where none is near. */
  readonly symbol: string | undefined;
  /** The module that it is of; null for the kernel itself. */
  readonly module: string | null;
  /** Where the first of the bytes is, in that kernel. */
  readonly address: bigint;
  /** Bytes from the symbol to it. */
  readonly offset: bigint;
  /** How many bytes of the function are different. */
  readonly bytes: number;
  /** Up to 16 bytes from the first on, as they are in that kernel. */
  readonly code: Uint8Array;
}

/**
 * Functions of the kernel and of its modules whose code is not the same. Where the kernel itself changes its text (a static key, a static
 * call, a place that ftrace or a kprobe takes, a lock prefix), the note says so: such a place is in the kernel's own table, and has what
 * the kernel writes there. Anything else has no note.
 *
 * In two boots of one kernel, the addresses in its text are off by what KASLR added; modules' text is not compared then.
 */
export function diffText(
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions = {},
): IoSequence<Difference<ChangedText>> {
  return IoSequence.of(before.memory.scheduler, textRoutine, before, after, options);
}

function* textRoutine(
  sink: Sink<Difference<ChangedText>>,
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions,
): Routine<void> {
  const pair = yield* KernelPair.of(before, after, options);
  yield* textOf(sink, pair);
  pair.damage.end();
}

/** A range of text that both have. */
interface TextRange {
  readonly module: string | null;
  readonly starts: Sides<bigint>;
  readonly size: bigint;
}

/** @internal */
export function* textOf(sink: Sink<Difference<ChangedText>>, pair: KernelPair): Routine<void> {
  const { ranges, skipped } = yield* textRanges(pair);
  const comparison = new TextComparison(pair, [
    yield* onSide("first", TextSites.read(pair.kernels[0])),
    yield* onSide("second", TextSites.read(pair.kernels[1])),
  ]);
  for (const range of ranges) yield* comparison.compare(sink, range);
  const why = [...skipped];
  if (comparison.missing > 0) why.push(`${comparison.missing} bytes are missing in one`);
  pair.options.onPart?.({
    kind: "text",
    compared: comparison.compared,
    notCompared: comparison.missing,
    why: why.join("; "),
  });
}

/** What can be compared, and why the rest can't. */
function* textRanges(pair: KernelPair): Routine<{ ranges: TextRange[]; skipped: string[] }> {
  const bounds: { start: bigint; end: bigint }[] = [];
  for (const kernel of pair.kernels) {
    const start = yield* symbolAddress({ kernel }, "_stext", "_text");
    const end = yield* symbolAddress({ kernel }, "_etext");
    if (start !== undefined && end !== undefined && end > start) bounds.push({ start, end });
  }
  const [first, second] = bounds;
  if (first === undefined || second === undefined) {
    return { ranges: [], skipped: ["no symbols _stext and _etext in both"] };
  }
  const size = first.end - first.start;
  if (size !== second.end - second.start || size > MAX_TEXT) {
    return { ranges: [], skipped: ["two kernels: their texts have other sizes"] };
  }
  const ranges: TextRange[] = [{ module: null, starts: [first.start, second.start], size }];
  if (!pair.sameBoot) return { ranges, skipped: ["modules' text has addresses of its boot"] };
  const [before, after] = [
    yield* onSide("first", moduleTexts(pair.kernels[0])),
    yield* onSide("second", moduleTexts(pair.kernels[1])),
  ];
  const moved: string[] = [];
  for (const [name, one] of before) {
    const other = after.get(name);
    if (other === undefined) continue;
    if (other.base !== one.base || other.size !== one.size) moved.push(name);
    else ranges.push({ module: name, starts: [one.base, other.base], size: BigInt(one.size) });
  }
  return { ranges, skipped: moved.length === 0 ? [] : [`loaded anew: ${moved.join(", ")}`] };
}

function* moduleTexts(kernel: LinuxKernel): Routine<Map<string, { base: bigint; size: number }>> {
  const data = yield* kernelData(kernel);
  const found = new Map<string, { base: bigint; size: number }>();
  // (Damage to the list is told where modules are compared.)
  for (const { address, partial } of yield* readModules(data, () => {})) {
    const [row] = yield* MODULE.on(data.types).read(data.memory, [address]);
    const { base, size } = row?.partial ?? {};
    if (partial.name === undefined || base === undefined || size === undefined) continue;
    if (size > 0 && BigInt(size) <= MAX_TEXT) found.set(partial.name, { base, size });
  }
  return found;
}

/** What is collected of a function. */
interface Found {
  readonly named: Sides<NamedAddress | undefined>;
  readonly module: string | null;
  readonly addresses: Sides<bigint>;
  readonly codes: Sides<Uint8Array>;
  readonly reasons: Set<string>;
  bytes: number;
  isExplained: boolean;
}

class TextComparison {
  /** Bytes that both have, and that one lacks. */
  compared = 0;
  missing = 0;
  readonly #pair: KernelPair;
  readonly #sites: Sides<TextSites>;
  #found: Found | undefined;

  constructor(pair: KernelPair, sites: Sides<TextSites>) {
    this.#pair = pair;
    this.#sites = sites;
  }

  *compare(sink: Sink<Difference<ChangedText>>, range: TextRange): Routine<void> {
    const [a, b] = this.#pair.kernels.map(({ memory }) => memory) as unknown as Sides<AddressSpace>;
    const [first, second] = range.starts;
    for (let at = 0n; at < range.size; at += BigInt(PIECE)) {
      const from = at === 0n ? 0n : at - BigInt(AROUND);
      const until = at + BigInt(PIECE + AROUND) < range.size ? at + BigInt(PIECE + AROUND) : range.size;
      const length = Number(until - from);
      const [one, other] = yield* all([
        a.readPartial(first + from, length),
        b.readPartial(second + from, length),
      ]);
      const isMissing = new Uint8Array(length);
      for (const { start, end } of [...one.holes, ...other.holes]) isMissing.fill(1, start, end);
      const begin = Number(at - from);
      const end = Math.min(length, begin + PIECE);
      for (let i = begin; i < end; ) {
        if (isMissing[i] === 1) {
          this.missing++;
          i++;
          continue;
        }
        if (one.bytes[i] === other.bytes[i]) {
          this.compared++;
          i++;
          continue;
        }
        let to = i + 1;
        while (to < end && isMissing[to] === 0 && one.bytes[to] !== other.bytes[to]) to++;
        this.compared += to - i;
        yield* this.#see(sink, range, from, [one.bytes, other.bytes], i, to);
        i = to;
      }
    }
    yield* this.#emit(sink);
  }

  /** Takes a run of bytes that are different: `from` is where `texts` begin in the range. */
  *#see(
    sink: Sink<Difference<ChangedText>>,
    range: TextRange,
    from: bigint,
    texts: Sides<Uint8Array>,
    start: number,
    end: number,
  ): Routine<void> {
    const [first, second] = range.starts;
    const bases = [first + from, second + from] as const;
    const place = [bases[0] + BigInt(start), bases[1] + BigInt(start)] as const;
    const [before, after] = this.#pair.kernels;
    const named = yield* before.nameOf(place[0]);
    const last = this.#found;
    if (last === undefined || last.named[0]?.address !== named?.address || last.module !== range.module) {
      yield* this.#emit(sink);
      const codes = texts.map((text) => text.slice(start, start + SHOWN)) as unknown as Sides<Uint8Array>;
      this.#found = {
        named: [named, yield* after.nameOf(place[1])],
        module: range.module,
        addresses: place,
        codes,
        reasons: new Set(),
        bytes: 0,
        isExplained: true,
      };
    }
    const found = this.#found as Found;
    found.bytes += end - start;
    for (let at = start; at < end; ) {
      const why = yield* this.#explain(texts, bases, at);
      if (why === undefined) {
        found.isExplained = false;
        break;
      }
      found.reasons.add(why.why);
      at = why.end;
    }
  }

  /** What explains a byte that differs. */
  *#explain(
    texts: Sides<Uint8Array>,
    bases: Sides<bigint>,
    at: number,
  ): Routine<{ readonly why: string; readonly end: number } | undefined> {
    const [a, b] = texts;
    const slide = BigInt.asIntN(32, bases[1] - bases[0]);
    if (slide !== 0n) {
      const moved = relocationAt(a, b, at, Number(slide));
      if (moved !== undefined) return { why: "address", end: moved };
    }
    const probed = this.#probedAt(texts, bases, at);
    if (probed !== undefined) return { why: "kprobe", end: probed };
    const one = yield* this.#sites[0].explain(bases[0] + BigInt(at), a, bases[0]);
    const other = one && (yield* this.#sites[1].explain(bases[1] + BigInt(at), b, bases[1]));
    if (one !== undefined && other !== undefined) {
      const end = Math.min(Number(one.end - bases[0]), Number(other.end - bases[1]));
      // What stands there in the second, if it is tracing that explains it, says more than a nop.
      return { why: one.why === "ftrace" ? other.why : one.why, end };
    }
    // Where one boot had a single CPU and the other more, the table of lock prefixes is gone from both.
    const pair = [a[at], b[at]];
    const isPrefix = !this.#pair.sameBoot && pair.includes(0xf0) && pair.includes(0x3e);
    return isPrefix && a[at + 1] === b[at + 1] ? { why: "lock prefix", end: at + 1 } : undefined;
  }

  /** Where what a kprobe wrote over a byte ends, if both texts are the same without it: it may have begun with bytes that are in both. */
  #probedAt(texts: Sides<Uint8Array>, bases: Sides<bigint>, at: number): number | undefined {
    for (let start = at; start >= 0 && start > at - PROBED; start--) {
      const end = this.#probeEnd(texts, bases, start);
      if (end !== undefined && end > at) return end;
    }
    return undefined;
  }

  #probeEnd(texts: Sides<Uint8Array>, bases: Sides<bigint>, at: number): number | undefined {
    const codes = texts.map((text) => text.subarray(at)) as unknown as Sides<Uint8Array>;
    const one = this.#sites[0].probeAt(bases[0] + BigInt(at), codes[0])?.replaced ?? [];
    const other = this.#sites[1].probeAt(bases[1] + BigInt(at), codes[1])?.replaced ?? [];
    const size = Math.max(one.length, other.length);
    for (let i = 0; i < size; i++) {
      if ((one[i] ?? codes[0][i]) !== (other[i] ?? codes[1][i])) return undefined;
    }
    return size === 0 ? undefined : at + size;
  }

  *#emit(sink: Sink<Difference<ChangedText>>): Routine<void> {
    const found = this.#found;
    this.#found = undefined;
    if (found === undefined) return;
    // Every address of a text that KASLR moved is another one: that is no change of the function.
    if (found.isExplained && [...found.reasons].every((why) => why === "address")) return;
    const { named, module, addresses, codes, bytes } = found;
    const textAt = (side: 0 | 1): ChangedText => ({
      symbol: named[side]?.name,
      module,
      address: addresses[side],
      offset: named[side]?.offset ?? 0n,
      bytes,
      code: codes[side],
    });
    const before = textAt(0);
    const reasons = [...found.reasons].filter((why) => why !== "address");
    yield sink.emit({
      kind: "text",
      change: "changed",
      what: `${module === null ? "" : `${module}:`}${before.symbol ?? `0x${before.address.toString(16)}`}`,
      pid: null,
      before,
      after: textAt(1),
      fields: changedFields({ code: hexOf(codes[0]) }, { code: hexOf(codes[1]) }),
      note: found.isExplained ? `the kernel's own doing: ${reasons.join(", ")}` : null,
    });
  }
}

/** Where a number ends that is off by what KASLR added, if a byte is in one. */
function relocationAt(a: Uint8Array, b: Uint8Array, at: number, slide: number): number | undefined {
  const one = new DataView(a.buffer, a.byteOffset, a.length);
  const other = new DataView(b.buffer, b.byteOffset, b.length);
  for (let start = Math.max(0, at - 3); start <= at && start + 4 <= a.length; start++) {
    const moved = (other.getInt32(start, true) - one.getInt32(start, true)) | 0;
    // (What is not moved, per-CPU variables, is the less far from what is.)
    if (moved === (slide | 0) || moved === (-slide | 0)) return start + 4;
  }
  return undefined;
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
