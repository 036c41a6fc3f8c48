import { describe, expect, test } from "vitest";
import { userEnd } from "../../../src/linux/tasks/user-end.js";
import { aarch64 } from "../../../src/paging/formats/aarch64.js";
import { X86_32, X86_64, X86_PAE } from "../../../src/paging/formats/x86.js";

describe("where a process's own part of its address space ends", () => {
  test.each([
    [X86_64, undefined, 1n << 47n],
    [X86_32, -0xc000_0000n, 0xc000_0000n],
    [X86_PAE, -0x7800_0000n, 0x7800_0000n],
    [X86_32, undefined, 1n << 32n],
    [aarch64({ granule: 4096, bits: 48, lowerBits: 48 }), undefined, 1n << 48n],
    [aarch64({ granule: 4096, bits: 39, lowerBits: 39 }), undefined, 1n << 39n],
  ])("%#", (mmu, imageOffset, end) => {
    expect(userEnd({ memory: { mmu }, imageOffset })).toBe(end);
  });
});
