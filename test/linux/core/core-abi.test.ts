import { describe, expect, test } from "vitest";
import { abiOfProcess } from "../../../src/linux/core/core-abi.js";
import type { LinuxKernel } from "../../../src/linux/index.js";

const kernel = { architecture: "x86_64" } as LinuxKernel;
/** AT_SYSINFO_EHDR, AT_PAGESZ, AT_NULL, in words of 64 or 32 bits. */
const WORDS = [33, 0x7ffc_1000, 6, 4096, 0, 0];
const wide = new Uint8Array(BigUint64Array.from(WORDS, BigInt).buffer);
const narrow = new Uint8Array(Uint32Array.from(WORDS).buffer);
const word = (auxv: Uint8Array | undefined, cs: bigint) => abiOfProcess(kernel, auxv, cs).word;

describe("the kind of a process", () => {
  test("is what its auxiliary vector is made of", () => {
    expect(word(wide, 0x33n)).toBe(8);
    expect(word(narrow, 0x23n)).toBe(4);
    expect(() => word(narrow, 0x33n)).toThrow("x32");
  });

  test("is what its code segment says, where the vector is damaged, empty, or not there", () => {
    const noise = Uint8Array.from(wide, (byte, i) => byte ^ (37 * i + 129));
    for (const auxv of [noise, new Uint8Array(64), undefined]) {
      expect(word(auxv, 0x33n)).toBe(8);
      expect(word(auxv, 0x23n)).toBe(4);
    }
  });
});
