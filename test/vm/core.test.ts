/** Cores of processes whose registers are known: what gdb says of them against what the threads put there, on three kernels. */
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { open, type WrittenCore, writeCore } from "../../connectors/index.js";
import { bootRegisters, type RegistersGuest } from "../../fixtures/vm/registers.mjs";
import { run } from "../../fixtures/vm/tools.mjs";
import { skipIfMissing } from "../support/missing.js";

for (const kind of ["amd64", "amd64-612", "arm64"] as const) {
  describe(`a guest with known registers: ${kind}`, () => {
    const isArm = kind === "arm64";
    let guest: RegistersGuest;
    let threads: WrittenCore;
    let stopped: WrittenCore;

    beforeAll(async () => {
      guest = await bootRegisters({ machine: kind, log: (line) => console.log(line) });
      // (Pages of the program that nobody touched, gdb reads from the file of that name.)
      await mkdir(join(guest.directory, "root"));
      await copyFile(guest.program, join(guest.directory, "root", "init"));
      await using machine = await open(guest.elfFile);
      threads = await writeCore(machine, pid("threads"), join(guest.directory, "threads.core"));
      stopped = await writeCore(machine, pid("stopped"), join(guest.directory, "stopped.core"));
    });
    afterAll(async () => {
      await guest?.close();
    });

    const pid = (role: string) => Number(guest.texts.get(`pid of ${role}`));
    const lines = (name: string) => (guest.texts.get(name) ?? "").split("\n").filter((line) => line !== "");

    /** What each thread put in its registers, by its number. */
    function known(): { tid: number; facts: Map<string, string[]> }[] {
      return [...guest.texts.keys()].flatMap((name) => {
        const tid = /^thread (\d+)$/.exec(name)?.[1];
        const facts = lines(name).map((line) => line.split(" "));
        return tid === undefined
          ? []
          : [{ tid: Number(tid), facts: new Map(facts.map(([key = "", ...rest]) => [key, rest])) }];
      });
    }

    async function gdb(context: TestContext, core: WrittenCore, ...commands: string[]): Promise<string> {
      const all = [`set sysroot ${join(guest.directory, "root")}`, `core ${core.path}`, ...commands];
      const args = ["-batch", "-nx", ...all.flatMap((each) => ["-ex", each]), guest.program];
      try {
        return await run(isArm ? "gdb-multiarch" : "gdb", args);
      } catch (error) {
        return skipIfMissing(context, error);
      }
    }

    /** The number of each thread in gdb, by the kernel's. */
    async function numbers(context: TestContext): Promise<Map<number, number>> {
      const said = await gdb(context, threads, "info threads");
      return new Map(
        [...said.matchAll(/^[* ] +(\d+) .*LWP (\d+)/gm)].map(([, own, tid]) => [Number(tid), Number(own)]),
      );
    }

    it("every thread has the general registers that it had, whether it slept, ran or waited for a CPU", async (context) => {
      const own = await numbers(context);
      expect([...own.keys()].sort()).toEqual(
        known()
          .map(({ tid }) => tid)
          .sort(),
      );
      for (const { tid, facts } of known()) {
        const said = await gdb(context, threads, `thread ${own.get(tid)}`, "echo @@\\n", "info registers");
        const values = new Map(
          [...said.slice(said.indexOf("@@")).matchAll(/^(\w+) +0x([0-9a-f]+)/gm)].map(([, name, value]) => [
            name,
            value,
          ]),
        );
        const general = [...facts].filter(([name]) => /^(r|x\d)/.test(name));
        expect(general.length).toBeGreaterThan(11);
        for (const [name, [value]] of general)
          expect([tid, name, values.get(name)]).toEqual([tid, name, value]);
        const call = lines(`/proc/${pid("threads")}/task/${tid}/syscall`)[0]?.split(" ");
        if (call === undefined) continue;
        expect([`0x${values.get(isArm ? "sp" : "rsp")}`, `0x${values.get(isArm ? "pc" : "rip")}`]).toEqual(
          call.slice(-2),
        );
      }
    });

    it("has the vector registers of threads that no CPU ran, and says that the others' are not available", async (context) => {
      const own = await numbers(context);
      const names = Array.from({ length: isArm ? 32 : 16 }, (_, i) =>
        isArm ? `$v${i}.d.u` : `$ymm${i}.v4_int64`,
      );
      let without = 0;
      for (const { tid, facts } of known()) {
        const shown = names.map((name) => `output/x ${name.split(".")[0]}`);
        const asked = names.flatMap((name) => [`output/x ${name}`, "echo \\n"]);
        const isThere = threads.core.threads.find((thread) => thread.pid === tid)?.floating === true;
        if (!isThere) {
          without++;
          expect(await gdb(context, threads, `thread ${own.get(tid)}`, shown[3] as string)).toContain(
            "<unavailable>",
          );
          continue;
        }
        const said = await gdb(context, threads, `thread ${own.get(tid)}`, "echo @@\\n", ...asked);
        const values = said
          .slice(said.indexOf("@@") + 3)
          .trim()
          .split("\n");
        const wanted = names.map((_, i) => `{0x${(facts.get(`vector${i}`) ?? []).join(", 0x")}}`);
        expect([tid, values]).toEqual([tid, wanted]);
      }
      // (Two CPUs, and three threads that want them.)
      expect(without).toBe(2);
    });

    it("gdb goes back through the calls of a stopped process, and prints its variables", async (context) => {
      const said = await gdb(context, stopped, "bt", "frame function stop_here", "info locals", "print told");
      expect(said).toMatch(
        /stop_here[\s\S]*with_text \(text=[\s\S]*"text of a stopped process"[\s\S]*with_number \([\s\S]*main \(/,
      );
      expect(said).toContain(`innermost = ${0x600dca11600dca11n}`);
      expect(said).toContain("number = 4711");
    });

    it("has the auxiliary vector and the mapped files that the kernel has", async (context) => {
      const said = await gdb(context, threads, "info auxv", "info proc mappings");
      const bytes = Buffer.from(lines(`/proc/${pid("threads")}/auxv`).join(""), "hex");
      const keys = Array.from({ length: bytes.length / 16 }, (_, i) => Number(bytes.readBigUInt64LE(16 * i)));
      expect([...said.matchAll(/^(\d+) +(?:AT_|\?)/gm)].map(([, key]) => Number(key))).toEqual(keys);
      const files = lines(`/proc/${pid("threads")}/maps`).filter((line) => line.endsWith("/init"));
      const mapped = [...said.matchAll(/^ +0x([0-9a-f]+) +0x([0-9a-f]+) .*\/init$/gm)];
      expect(mapped.map(([, start, end]) => `${start?.padStart(8, "0")}-${end?.padStart(8, "0")}`)).toEqual(
        files.map((line) => line.split(" ")[0]),
      );
    });

    it("has pages that were written, and holes where none was", async (context) => {
      const [start = "", size = "", count] = (lines("pages")[0] ?? "").split(" ");
      for (let i = 0; i < Number(count); i += 2) {
        const at = BigInt(`0x${start}`) + BigInt(i) * BigInt(`0x${size}`);
        expect(await gdb(context, threads, `output/x *(unsigned long *)${at}`)).toContain(
          `0x${at.toString(16)}`,
        );
        const hole = at + BigInt(`0x${size}`);
        const script = `python\ntry: gdb.selected_inferior().read_memory(${hole}, 1); print("read")\nexcept gdb.MemoryError: print("hole")`;
        expect(await gdb(context, threads, `${script.replace("python\n", "python exec('''")}''')`)).toContain(
          "hole",
        );
      }
    });
  });
}
