/** The loop that looks for sockets, against a slow one that says the same in plain words. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { findSockets, markOf, type SocketShape } from "../../../src/linux/socket-scan/socket-shape.hot.js";

const PROTOCOLS = [0xffff_ffff_8123_4560n, 0xffff_ffff_8123_4740n, 0xffff_ffff_c012_3000n];

/** A `sock_common` with its family at 16, its state at 18, its protocol at `at`, as this kernel's types may have it. */
function shapeOf(at: number, size: 4 | 8): SocketShape {
  const marks = new Uint8Array(1 << 16);
  for (const each of PROTOCOLS) marks[markOf(Number(BigInt.asIntN(32, each)))] = 1;
  return {
    protocol: at / 4,
    high: size === 8 ? 1 : 0,
    lows: Int32Array.from(PROTOCOLS, (each) => Number(BigInt.asIntN(32, each))),
    highs: Int32Array.from(PROTOCOLS, (each) => Number(BigInt.asIntN(32, each >> 32n))),
    marks,
    family: { word: 4, shift: 0 },
    state: { word: 4, shift: 16 },
  };
}

function slow(bytes: Uint8Array, size: 4 | 8, at: number, length: number): number[] {
  const view = new DataView(bytes.buffer);
  const found: number[] = [];
  for (let place = 0; place + length <= bytes.length; place += size) {
    const pointer =
      size === 8
        ? view.getBigUint64(place + at, true)
        : 0xffff_ffff_0000_0000n | BigInt(view.getUint32(place + at, true));
    const wanted = size === 8 ? PROTOCOLS : PROTOCOLS.map((each) => each | 0xffff_ffff_0000_0000n);
    const [family, state] = [view.getUint16(place + 16, true), view.getUint8(place + 18)];
    if (wanted.includes(pointer) && family > 0 && family < 64 && state > 0 && state < 14) found.push(place);
  }
  return found;
}

test("finds just what the slow one finds, with pointers of 32 and of 64 bits", () => {
  const planted = fc.record({
    word: fc.nat(255),
    pointer: fc.constantFrom(...PROTOCOLS, 0xffff_fffe_8123_4560n, 0xffff_ffff_8123_4568n),
    family: fc.nat(70),
    state: fc.nat(16),
  });
  let count = 0;
  fc.assert(
    fc.property(fc.constantFrom(4, 8), fc.array(planted, { maxLength: 12 }), (size, all) => {
      const [at, length] = [40, 56];
      const bytes = new Uint8Array(4096);
      const view = new DataView(bytes.buffer);
      for (const { word, pointer, family, state } of all) {
        const place = word * size;
        view.setUint16(place + 16, family, true);
        view.setUint8(place + 18, state);
        if (size === 8) view.setBigUint64(place + at, pointer, true);
        else view.setUint32(place + at, Number(BigInt.asUintN(32, pointer)), true);
      }
      const found: number[] = [];
      const until = (bytes.length - length + 1) / 4;
      findSockets(new Int32Array(bytes.buffer), 0, until, size / 4, shapeOf(at, size), found);
      count += found.length;
      expect(found).toEqual(slow(bytes, size, at, length));
    }),
  );
  expect(count).toBeGreaterThan(50);
});
