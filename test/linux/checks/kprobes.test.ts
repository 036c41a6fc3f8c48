import { expect, test } from "vitest";
import { type Probe, ProbeTexts } from "../../../src/linux/checks/kprobes.js";

const AT = 0xffff_ffff_8100_0010n;
const PLAIN: Probe = { address: 1n, at: AT, pre: 0n, post: 0n, opcode: 0x55, optimized: undefined };
const SLOT = { slot: AT + 0x2005n, copied: Uint8Array.of(1, 2, 3, 4) };
const JUMP = Uint8Array.of(0xe9, 0x00, 0x20, 0x00, 0x00, 0x90);

function replacedBy(architecture: string, probe: Probe, code: Uint8Array, at = AT): number[] | undefined {
  const found = new ProbeTexts(architecture, [probe]).at(at, code);
  return found && [...found.replaced];
}

test("x86-64: int3 at a kprobe stands for the byte that the kprobe keeps", () => {
  expect(replacedBy("x86_64", PLAIN, Uint8Array.of(0xcc, 1, 2))).toEqual([0x55]);
  expect(replacedBy("x86_64", PLAIN, Uint8Array.of(0xcc, 1, 2), AT + 1n)).toBeUndefined();
});

test("x86-64: a jump is a kprobe's only if it is optimized, and leads to its slot", () => {
  expect(replacedBy("x86_64", { ...PLAIN, optimized: SLOT }, JUMP)).toEqual([0x55, 1, 2, 3, 4]);
  expect(replacedBy("x86_64", PLAIN, JUMP)).toBeUndefined();
  expect(replacedBy("x86_64", { ...PLAIN, optimized: SLOT }, JUMP.with(2, 0x21))).toBeUndefined();
  expect(replacedBy("x86_64", { ...PLAIN, optimized: SLOT }, JUMP.subarray(0, 4))).toBeUndefined();
});

test("i386: a jump over the end of the address space leads to its slot", () => {
  const at = 0xffff_f000n;
  const probe = { ...PLAIN, at, optimized: { ...SLOT, slot: 0x1005n } };
  expect(replacedBy("i386", probe, JUMP, at)).toEqual([0x55, 1, 2, 3, 4]);
});

test("x86-64: anything else at a kprobe's place is not its", () => {
  expect(
    replacedBy("x86_64", { ...PLAIN, optimized: SLOT }, Uint8Array.of(0xe8, 0, 0x20, 0, 0)),
  ).toBeUndefined();
  expect(replacedBy("x86_64", PLAIN, new Uint8Array())).toBeUndefined();
});

test("arm64: brk stands for the instruction that the kprobe keeps", () => {
  const probe = { ...PLAIN, opcode: 0xa9bf7bfd };
  expect(replacedBy("aarch64", probe, Uint8Array.of(0x80, 0x00, 0x20, 0xd4))).toEqual([
    0xfd, 0x7b, 0xbf, 0xa9,
  ]);
  expect(replacedBy("aarch64", probe, Uint8Array.of(0x00, 0x00, 0x00, 0x14))).toBeUndefined();
  expect(replacedBy("aarch64", probe, Uint8Array.of(0x80, 0x00, 0x20))).toBeUndefined();
});
