/**
 * x86: the state that XSAVE keeps, out of the kernel's form into the one that processors, debuggers and core files share.
 *
 * Facts: Intel SDM vol. 1, chapter 13 (13.4: the XSAVE area, its header, the compacted form; 13.2: components; 10.5.1: FXSAVE);
 * arch/x86/include/asm/fpu/types.h, arch/x86/kernel/fpu/xstate.c (`copy_xstate_to_uabi_buf`; `xstate_offsets`, `xstate_sizes`,
 * `xstate_flags`, which hold what CPUID told). Of a core file: bytes 464 to 471 hold XCR0 (arch/x86/include/uapi/asm/sigcontext.h).
 */
import { FieldBytes } from "../core/bytes.js";

/** Bytes of the legacy area, and of the header behind it. */
const LEGACY = 512;
const HEADER_END = 576;
/** Where FXSAVE's area has the control and status of SSE, and its registers. */
const CONTROL = { fcw: 0, mxcsr: 24, x87End: 160, xmm: 160, xmmEnd: 416, xcr0: 464 } as const;
const INITIAL = { fcw: 0x37f, mxcsr: 0x1f80 } as const;
/** Number of the component of PKRU. */
const PKRU = 9;

/** A component of the state: where the plain form has it, and how many bytes. */
export interface XComponent {
  readonly offset: number;
  readonly size: number;
  /** Whether the compacted form begins it at a multiple of 64. */
  readonly aligned: boolean;
}

/** The components that a processor has, by their number; from 2 on. */
export type XComponents = ReadonlyMap<number, XComponent>;

/** The state of a thread in the plain form. */
export interface XState {
  /** As FXSAVE writes it: 512 bytes. */
  readonly fxsave: Uint8Array<ArrayBuffer>;
  /** As XSAVE writes it, the components of `features`. */
  readonly xsave: Uint8Array<ArrayBuffer>;
  /** Components that are left out: where they lie is not known, or not all of it was saved. */
  readonly lost: readonly number[];
}

/** What processors have that have AVX, where the kernel's own table is not known: others' places differ between makers. */
export const COMMON_COMPONENTS: XComponents = new Map([
  [2, { offset: HEADER_END, size: 256, aligned: false }],
]);

/**
 * Brings a saved state into the plain form.
 *
 * @param saved    As the kernel has it: plain, or compacted (bit 63 of XCOMP_BV).
 * @param features The components that programs may use, as XCR0 has them.
 * @param pkru     Where the kernel keeps that elsewhere.
 * @returns `undefined` for what is too short to be one.
 */
export function plainXState(
  saved: Uint8Array,
  features: bigint,
  components: XComponents,
  pkru?: number,
): XState | undefined {
  if (saved.length < HEADER_END) return undefined;
  const view = new DataView(saved.buffer, saved.byteOffset, saved.length);
  const inUse = view.getBigUint64(LEGACY, true);
  const compaction = view.getBigUint64(LEGACY + 8, true);
  const compacted = compaction >> 63n === 1n;
  const has = (bits: bigint, component: number) => ((bits >> BigInt(component)) & 1n) === 1n;
  const wanted = [...components].filter(([number]) => has(features, number));
  const end = wanted.reduce((most, [, { offset, size }]) => Math.max(most, offset + size), HEADER_END);
  const out = new FieldBytes(end);
  legacyInto(out, saved, view, inUse);
  const lost: number[] = [];
  const places = compacted ? compactPlaces(compaction, components) : undefined;
  let used = inUse & features & 3n;
  for (let number = 2; number < 63; number++) {
    if (!has(features, number)) continue;
    const component = components.get(number);
    if (number === PKRU && pkru !== undefined && component !== undefined) {
      out.u32(component.offset, pkru);
      if (pkru !== 0) used |= 1n << BigInt(PKRU);
      continue;
    }
    if (!has(inUse, number)) continue;
    const from = compacted ? places?.get(number) : component?.offset;
    if (component === undefined || from === undefined || from + component.size > saved.length) {
      lost.push(number);
      continue;
    }
    out.put(component.offset, saved.subarray(from, from + component.size));
    used |= 1n << BigInt(number);
  }
  // (What is lost is not said to be in its first state.)
  const told = lost.reduce((bits, number) => bits & ~(1n << BigInt(number)), features);
  out.word(CONTROL.xcr0, told);
  out.word(LEGACY, used);
  return { fxsave: out.bytes.slice(0, LEGACY), xsave: out.bytes, lost };
}

/** The x87 and SSE registers; of a part that is not in use, its first state. */
function legacyInto(out: FieldBytes, saved: Uint8Array, view: DataView, inUse: bigint): void {
  const [x87, sse, avx] = [(inUse & 1n) !== 0n, (inUse & 2n) !== 0n, (inUse & 4n) !== 0n];
  if (x87) out.put(0, saved.subarray(0, CONTROL.x87End));
  else out.u16(CONTROL.fcw, INITIAL.fcw);
  if (sse) out.put(CONTROL.xmm, saved.subarray(CONTROL.xmm, CONTROL.xmmEnd));
  // (MXCSR and its mask are saved with either.)
  out.u32(CONTROL.mxcsr, sse || avx ? view.getUint32(CONTROL.mxcsr, true) : INITIAL.mxcsr);
  out.u32(CONTROL.mxcsr + 4, view.getUint32(CONTROL.mxcsr + 4, true));
}

/** Where the compacted form has each component: one behind the other; `undefined` from the first on whose size is not known. */
function compactPlaces(compaction: bigint, components: XComponents): ReadonlyMap<number, number> {
  const places = new Map<number, number>();
  let at = HEADER_END;
  for (let number = 2; number < 63; number++) {
    if (((compaction >> BigInt(number)) & 1n) === 0n) continue;
    const component = components.get(number);
    if (component === undefined) break;
    if (component.aligned) at = Math.ceil(at / 64) * 64;
    places.set(number, at);
    at += component.size;
  }
  return places;
}
