/**
 * What kprobes have registered, and what they write into text.
 *
 * Facts: kernel/kprobes.c (`kprobe_table`, KPROBE_HASH_BITS is 6), include/linux/kprobes.h (`struct kprobe`, `struct optimized_kprobe`,
 * KPROBE_FLAG_OPTIMIZED), arch/x86/kernel/kprobes/core.c (int3, and the byte it replaced in `opcode`) and opt.c (a jump to
 * `optinsn.insn`; the bytes behind the first that it replaced in `optinsn.copied_insn`), arch/arm64/kernel/probes/kprobes.c (`brk`).
 */
import type { Routine } from "../../io/index.js";
import { type KernelData, symbolAddress } from "../kernel-data.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { walkChain } from "../objects/list.js";
import { pointersAt } from "../objects/pointers.js";
import { int, maybe, offsetOf, raw, record, word } from "../objects/record.js";

const PROBE = record("kprobe", {
  at: word("addr"),
  pre: word("pre_handler"),
  post: word("post_handler"),
  opcode: int("opcode"),
  flags: maybe(int("flags")),
});
const OPTIMIZED = record("optimized_kprobe", {
  slot: word("optinsn.insn"),
  copied: raw("optinsn.copied_insn"),
});
const IS_OPTIMIZED = 4;
/** KPROBE_TABLE_SIZE. */
const BUCKETS = 64;

/** A kprobe. */
export interface Probe {
  readonly address: bigint;
  readonly at: bigint;
  readonly pre: bigint;
  readonly post: bigint;
  /** What stood where it is: a byte on x86, an instruction elsewhere. */
  readonly opcode: number;
  /** Where a jump leads that may stand in its breakpoint's stead, and the bytes that stood behind the first. */
  readonly optimized: { readonly slot: bigint; readonly copied: Uint8Array } | undefined;
}

/** The kprobes of the table (of several at one address, the one that stands for them); `undefined` if nothing names the table. */
export function* kprobes(data: KernelData, report: OnDamage): Routine<Probe[] | undefined> {
  const layout = PROBE.onIf(data.types);
  const table = yield* symbolAddress(data, "kprobe_table");
  if (layout === undefined || table === undefined) return undefined;
  const heads = yield* pointersAt(data.memory, table, BUCKETS);
  if (typeof heads === "number") {
    report(damage("the table of kprobes", table, "unreadable", heads));
    return undefined;
  }
  const seen = new Set<bigint>();
  const offset = BigInt(offsetOf(data.types, "kprobe", "hlist"));
  const addresses: bigint[] = [];
  for (const head of heads) {
    for (const node of yield* walkChain(data.memory, head, "the table of kprobes", report, 0, seen)) {
      addresses.push(node - offset);
    }
  }
  const rows = yield* layout.read(data.memory, addresses);
  const optimized = rows.flatMap(({ address, value }) =>
    ((value?.flags ?? 0) & IS_OPTIMIZED) === 0 ? [] : [address],
  );
  const jumps = new Map<bigint, Probe["optimized"]>();
  const jumpLayout = OPTIMIZED.onIf(data.types);
  for (const { address, value } of jumpLayout === undefined
    ? []
    : yield* jumpLayout.read(data.memory, optimized)) {
    jumps.set(address, value);
  }
  const found: Probe[] = [];
  for (const { address, value, fault } of rows) {
    if (value === undefined) report(damage("a kprobe", address, "unreadable", fault));
    else {
      const { at, pre, post, opcode } = value;
      found.push({ address, at, pre, post, opcode, optimized: jumps.get(address) });
    }
  }
  return found;
}

/** What a kprobe wrote over text. */
export interface ProbeText {
  /** What stood there before, and so how many bytes it wrote. */
  readonly replaced: Uint8Array;
}

/** Where kprobes are, and what they write there. */
export class ProbeTexts {
  readonly #architecture: string;
  readonly #probes: ReadonlyMap<bigint, Probe>;

  constructor(architecture: string, probes: readonly Probe[]) {
    this.#architecture = architecture;
    this.#probes = new Map(probes.map((probe) => [probe.at, probe]));
  }

  static *read(data: KernelData): Routine<ProbeTexts> {
    return new ProbeTexts(data.kernel.architecture, (yield* kprobes(data, () => {})) ?? []);
  }

  /**
   * What a kprobe wrote at an address; `undefined` if there is none, or if something else stands there: a breakpoint, or where the
   * kprobe is optimized a jump to its own slot, is all that one writes.
   *
   * @param code The text from there on.
   */
  at(address: bigint, code: Uint8Array): ProbeText | undefined {
    const probe = this.#probes.get(address);
    if (probe === undefined) return undefined;
    if (this.#architecture === "x86_64") return x86Text(probe, code, 64);
    if (this.#architecture === "i386") return x86Text(probe, code, 32);
    return this.#architecture === "aarch64" ? arm64Text(probe, code) : undefined;
  }
}

/** @param width Bits of an address, where jumps wrap around. */
function x86Text({ at, opcode, optimized }: Probe, code: Uint8Array, width: number): ProbeText | undefined {
  if (code[0] === 0xcc) return { replaced: Uint8Array.of(opcode) };
  if (code[0] !== 0xe9 || code.length < 5 || optimized === undefined) return undefined;
  const offset = new DataView(code.buffer, code.byteOffset).getInt32(1, true);
  if (BigInt.asUintN(width, at + 5n + BigInt(offset)) !== optimized.slot) return undefined;
  return { replaced: Uint8Array.of(opcode, ...optimized.copied.subarray(0, 4)) };
}

/** (`brk` with any number: what kprobes use has changed.) */
function arm64Text({ opcode }: Probe, code: Uint8Array): ProbeText | undefined {
  if (code.length < 4) return undefined;
  const word = new DataView(code.buffer, code.byteOffset).getUint32(0, true);
  if ((word & 0xffe0001f) >>> 0 !== 0xd4200000) return undefined;
  const replaced = new Uint8Array(4);
  new DataView(replaced.buffer).setUint32(0, opcode >>> 0, true);
  return { replaced };
}
