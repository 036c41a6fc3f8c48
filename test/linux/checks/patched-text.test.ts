import { expect, test } from "vitest";
import { isTracing, patchIn } from "../../../src/linux/checks/patched-text.js";
import type { KernelData } from "../../../src/linux/kernel-data.js";
import { runNow } from "../../support/write-user-elf.js";

const AT = 0xffff_ffff_8100_0000n;
const bytes = (...given: number[]) => Uint8Array.from([...given, ...new Array(16).fill(0x90)].slice(0, 16));
const ENDBR = [0xf3, 0x0f, 0x1e, 0xfa];

test.each([
  ["a jump", bytes(0xe9, 0xfb, 0x0f, 0, 0), "jump", AT + 0x1000n],
  ["a jump behind endbr64", bytes(...ENDBR, 0xe9, 0xf7, 0x0f, 0, 0), "jump", AT + 0x1000n],
  ["a call backwards", bytes(0xe8, 0xfb, 0xff, 0xff, 0xff), "call", AT],
  ["int3", bytes(0xcc), "breakpoint", undefined],
  [
    "a jump by a register",
    bytes(0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xe0),
    "jump",
    0x8000_0000_0000_0001n,
  ],
] as const)("x86-64: %s is seen", (_, code, kind, target) => {
  expect(patchIn("x86_64", AT, code)).toMatchObject({ kind, target });
});

test("x86-64: the nop of ftrace and a function's beginning are no patch", () => {
  expect(patchIn("x86_64", AT, bytes(...ENDBR, 0x0f, 0x1f, 0x44, 0, 0))).toBeUndefined();
  expect(patchIn("x86_64", AT, bytes(0x55, 0x48, 0x89, 0xe5))).toBeUndefined();
});

test("arm64: a branch behind bti is a jump, a nop none", () => {
  const code = new Uint8Array(16);
  const view = new DataView(code.buffer);
  view.setUint32(0, 0xd503245f, true);
  view.setUint32(4, 0x17ffffff, true);
  expect(patchIn("aarch64", AT, code)).toMatchObject({ kind: "jump", target: AT });
  view.setUint32(4, 0xd503201f, true);
  expect(patchIn("aarch64", AT, code)).toBeUndefined();
});

test.each([
  ["ftrace_regs_caller", undefined, true],
  ["ftrace_thunk", "rootkit", false],
  ["bpf_prog_0", "bpf", true],
  ["commit_creds", undefined, false],
])("a patch that leads to %s of module %s is explained: %s", (name, module, explained) => {
  const named = { name, module, address: AT, offset: 0n };
  // biome-ignore lint/correctness/useYield: nothing here has to wait
  const nameOf = function* () {
    return named;
  };
  const data = { kernel: { nameOf } } as unknown as KernelData;
  expect(runNow(isTracing(data, AT, []))).toBe(explained);
});
