import { describe, expect, it } from "vitest";
import { plainXState, type XComponents } from "../../../src/linux/registers/xstate.js";

const COMPONENTS: XComponents = new Map([
  [2, { offset: 576, size: 256, aligned: false }],
  [5, { offset: 1088, size: 64, aligned: false }],
  [9, { offset: 2688, size: 8, aligned: true }],
]);

/** A compacted state in which AVX's component is in its first state, and has its place all the same. */
function compacted(): Uint8Array {
  const bytes = new Uint8Array(1024);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(512, 0b10_0010_0010n, true);
  view.setBigUint64(520, (1n << 63n) | 0b10_0010_0111n, true);
  view.setUint32(24, 0x1fa0, true);
  bytes.fill(0x11, 160, 416);
  bytes.fill(0x55, 576 + 256, 576 + 256 + 64);
  bytes.fill(0x99, 896, 904);
  return bytes;
}

describe("a saved vector state in the plain form", () => {
  it("has each component where the processor has it, and first states where none is in use", () => {
    const state = plainXState(compacted(), 0b10_0010_0111n, COMPONENTS);
    const view = new DataView((state as { xsave: Uint8Array<ArrayBuffer> }).xsave.buffer);
    expect([view.getUint16(0, true), view.getUint32(24, true)]).toEqual([0x37f, 0x1fa0]);
    expect([view.getUint8(160), view.getUint8(576), view.getUint8(1088), view.getUint8(2688)]).toEqual([
      0x11, 0, 0x55, 0x99,
    ]);
    expect([view.getBigUint64(464, true), view.getBigUint64(512, true)]).toEqual([
      0b10_0010_0111n,
      0b10_0010_0010n,
    ]);
    expect(state?.lost).toEqual([]);
  });

  it("leaves out what lies behind a component of unknown size, and does not say that it is zero", () => {
    const known = new Map([...COMPONENTS].filter(([number]) => number !== 2));
    const state = plainXState(compacted(), 0b10_0010_0111n, known);
    expect(state?.lost).toEqual([5, 9]);
    const view = new DataView((state as { xsave: Uint8Array<ArrayBuffer> }).xsave.buffer);
    expect(view.getBigUint64(464, true)).toBe(0b111n);
  });

  it("is none where it is too short for a header", () => {
    expect(plainXState(new Uint8Array(575), 7n, COMPONENTS)).toBeUndefined();
  });
});
