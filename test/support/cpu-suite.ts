/** CPUs of a dump's kernel against /proc/cpuinfo, and against what the emulator said of its registers. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../connectors/index.js";
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { type Cpu, type Damage, listCpus } from "../../src/linux/index.js";
import type { LinuxSubject } from "./linux-suite.js";

/** Runs the tests. @param get The dump, stopped where the truth's `kernel` stop is, and its truth. */
export function cpuSuite(name: string, get: () => Promise<LinuxSubject>): void {
  describe(`the CPUs of ${name}`, () => {
    let machine: Machine;
    let truth: Truth;
    let cpus: Cpu[];
    const damage: Damage[] = [];
    beforeAll(async () => {
      const subject = await get();
      truth = subject.truth;
      machine = await open(subject.target);
      const registers = machine.image?.notes.cpus;
      const onDamage = (found: Damage) => damage.push(found);
      cpus = await listCpus(await machine.linux(), { registers, onDamage }).toArray();
    });
    afterAll(() => machine?.close());

    it("are those of /proc/cpuinfo, with all that it says of each and that the kernel keeps", () => {
      const text = truth.texts["/proc/cpuinfo"];
      if (text === undefined) throw new Error("the guest has not printed /proc/cpuinfo");
      const printed = text
        .trim()
        .split("\n\n")
        .map(
          (part) =>
            new Map(part.split("\n").map((line) => [line.split("\t")[0]?.replace(/:.*/, "").trim(), line])),
        );
      const online = cpus.filter((cpu) => cpu.online === true);
      expect(online.length).toBe(printed.length);
      for (const [i, cpu] of online.entries()) {
        const lines = linesOf(cpu);
        const guests = Object.keys(lines).map((key) => {
          const line = printed[i]?.get(key) ?? "";
          return [key, line.slice(line.indexOf(":") + 1).trim()];
        });
        expect(lines).toEqual(Object.fromEntries(guests));
      }
      expect(damage).toEqual([]);
    });

    it("were running the program that was stopped", () => {
      const [cpu] = cpus;
      const process = truth.processes.find(({ pid }) => pid === truth.pid);
      expect(cpu?.current).toMatchObject({ pid: truth.pid, comm: process?.name });
      expect(cpu?.idle).toBe(false);
    });

    it("had the registers that the emulator said, or none if the dump has none", () => {
      const [cpu] = cpus;
      const { registers, symbol } = truth.stops.kernel;
      if ((machine.image?.notes.cpus.length ?? 0) === 0) {
        expect([cpu?.registers, cpu?.pc, cpu?.symbol]).toEqual([undefined, undefined, undefined]);
        return;
      }
      expect([cpu?.pc, cpu?.sp]).toEqual([BigInt(registers.rip), BigInt(registers.rsp)]);
      const named = cpu?.symbol;
      const offset = named?.offset === 0n ? "" : `+0x${named?.offset.toString(16)}`;
      expect(`${named?.name}${offset}`).toBe(symbol.replace(/\+0x0$/, ""));
      for (const [own, theirs] of [
        ["rflags", "rflags"],
        ["cr2", "cr2"],
        ["cr3", "cr3"],
        ["gs_base", "gsBase"],
        ["fs_base", "fsBase"],
      ] as const) {
        const value = registers[theirs];
        if (value !== undefined) expect([own, cpu?.registers?.[own]]).toEqual([own, BigInt(value)]);
      }
      // In the kernel, gs leads to the CPU's own variables.
      if (registers.gsBase !== undefined) expect(cpu?.perCpuOffset).toBe(BigInt(registers.gsBase));
    });
  });
}

/** As /proc/cpuinfo writes them, by its names. */
function linesOf({ number, processor }: Cpu): Record<string, string> {
  if (processor === undefined) return { processor: `${number}` };
  if (processor.kind === "arm64") {
    return {
      processor: `${number}`,
      Features: processor.features?.join(" ") ?? "?",
      "CPU implementer": `0x${processor.implementer.toString(16).padStart(2, "0")}`,
      "CPU variant": `0x${processor.variant.toString(16)}`,
      "CPU part": `0x${processor.part.toString(16).padStart(3, "0")}`,
      "CPU revision": `${processor.revision}`,
    };
  }
  return {
    processor: `${number}`,
    vendor_id: processor.vendor,
    "cpu family": `${processor.family}`,
    model: `${processor.model}`,
    "model name": processor.modelName,
    stepping: `${processor.stepping}`,
    microcode: `0x${processor.microcode?.toString(16)}`,
    "cache size": `${processor.cacheSize} KB`,
    "physical id": `${processor.package}`,
    "core id": `${processor.core}`,
    apicid: `${processor.apicId}`,
    flags: processor.features?.join(" ") ?? "?",
    bugs: processor.bugs?.join(" ") ?? "?",
    "address sizes": `${processor.physicalBits} bits physical, ${processor.virtualBits} bits virtual`,
  };
}
