import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRegisters } from "../../../connectors/qemu/registers.js";
import { pagingOfRegisters } from "../../../src/paging/index.js";
import { real } from "./real.js";

const read = (name: string) => parseRegisters(real(name).registers as string);

describe("registers that QEMU's monitor prints", () => {
  it("of a running Linux tell paging mode and root of both processors", () => {
    const { cpus, architecture } = read("q35 with Linux");
    expect(architecture).toBe("x86_64");
    expect(cpus.map(({ registers }) => pagingOfRegisters(registers, architecture))).toMatchObject([
      { mmu: { name: "x86-64" }, root: 0x296_0000, register: "CR3" },
      { mmu: { name: "x86-64" }, root: 0x1f3_2000, register: "CR3" },
    ]);
    expect(cpus[0]).toMatchObject({
      pid: 0,
      registers: {
        rip: 0xffff_ffff_b781_7a0bn,
        rsp: 0xffff_ffff_b880_3e98n,
        r8: 0xffff_ffff_ffc4_5766n,
        r15: 0x1_4790n,
        rflags: 0x246n,
        cr4: 0x75_0eb0n,
        efer: 0xd01n,
        cs: 0x10n,
        gs_base: 0xffff_8edd_0780_0000n,
        idt_base: 0xffff_fe00_0000_0000n,
      },
    });
  });

  it("of processors that are in their firmware tell no paging", () => {
    const { cpus, architecture } = read("pc");
    expect(architecture).toBeUndefined();
    expect(cpus.map(({ registers }) => registers.eip)).toEqual([0x2bc2n, 0xfd09an]);
    expect(cpus.map(({ registers }) => pagingOfRegisters(registers))).toEqual([undefined, undefined]);
  });

  it("of 32 bits in long mode get the names of 64", () => {
    const text =
      "CPU#0\nEAX=00000001 EBX=00000002\nEIP=08049000 EFL=00000246 [---Z-P-] CPL=3\nCR0=80050033 CR2=0 CR3=0000000002960000 CR4=00750eb0\nEFER=0000000000000d01\n";
    expect(parseRegisters(text)).toEqual({
      architecture: "x86_64",
      cpus: [
        {
          pid: 0,
          registers: {
            rax: 1n,
            rbx: 2n,
            rip: 0x0804_9000n,
            rflags: 0x246n,
            cr0: 0x8005_0033n,
            cr3: 0x296_0000n,
            cr4: 0x75_0eb0n,
            efer: 0xd01n,
          },
        },
      ],
    });
  });

  it("of arm64 are the general ones", () => {
    const { cpus, architecture } = read("arm64 virt");
    expect(architecture).toBe("aarch64");
    expect(cpus[1]?.registers).toMatchObject({ pc: 0n, sp: 0n, x0: 0n, x30: 0n, pstate: 0x4000_03c5n });
    expect(Object.keys(cpus[0]?.registers ?? {}).length).toBe(31 + 3);
  });

  it("of riscv64 include satp", () => {
    const { cpus, architecture } = read("riscv64 virt");
    expect(architecture).toBe("riscv64");
    expect(cpus[0]?.registers).toMatchObject({ pc: 0x8000_0408n, satp: 0n, sp: 0x8004_6ef0n, a2: 7n });
  });

  it("may be anything", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom("CPU#", "0\n", "RAX=", "PSTATE=", " x0/zero ", "ff"))),
        (parts) => {
          parseRegisters(parts.join(""));
        },
      ),
    );
    expect(parseRegisters("CPU#0\n".repeat(100_000)).cpus).toEqual([]);
  });
});
