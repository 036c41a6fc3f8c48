/** `memtool dump` on the dump that ships. gdb is the judge of cores: of their threads, registers, memory and holes. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { run } from "../../fixtures/vm/tools.mjs";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, region, testFolder, truth } from "../support/cli-dump.js";
import { skipIfMissing } from "../support/missing.js";

const { folder } = testFolder();
const guest = truth.processes.find(({ pid }: { pid: number }) => pid === truth.pid);

async function gdb(core: string, ...commands: string[]): Promise<string> {
  return await run("gdb", [
    "-batch",
    "-nx",
    "-ex",
    "set sysroot /nowhere",
    "-ex",
    `core ${core}`,
    ...commands.flatMap((each) => ["-ex", each]),
  ]);
}

describe("memtool dump", () => {
  it("writes a core that gdb opens with the threads, registers, auxiliary vector and memory", async (context) => {
    const core = join(folder, "core.97");
    const { out, err, status } = await memtool(["dump", "--pid", String(truth.pid), "-o", core, ...ON_DUMP]);
    expect(out).toBe("");
    expect(err).toContain(`wrote    ${core}`);
    // (Swapped pages are missing.)
    expect(status).toBe(3);
    const dense = BigInt(region("dense").start);
    let said: string;
    try {
      said = await gdb(
        core,
        "info threads",
        "info auxv",
        "thread 2",
        'printf "syscall %x\\n", *(unsigned short *)($rip - 2)',
        `printf "dense %lx\\n", *(unsigned long *)${dense}`,
      );
    } catch (error) {
      return skipIfMissing(context, error);
    }
    const lwps = [...said.matchAll(/^[* ] +\d+ .*LWP (\d+)/gm)].map(([, tid]) => Number(tid));
    expect(lwps).toEqual(guest.threads.map(({ tid }: { tid: number }) => tid));
    expect(said).toMatch(/AT_EXECFN .*"\/guest"/);
    // A thread that sleeps has just made a system call: 0f 05.
    expect(said).toContain("syscall 50f");
    // mix(0x100000040000, 0), as fixtures/vm/guest.c defines it.
    expect(said).toContain("dense 4617d86651b8f6ca");
  });

  it("leaves holes holes: gdb can't access a page that was never touched", async (context) => {
    const core = join(folder, "core.sparse");
    const { start } = region("sparse");
    const args = ["dump", "--pid", String(truth.pid), "--vma", start, "-o", core, ...ON_DUMP];
    expect((await memtool(args)).status).toBe(0);
    try {
      const said = await gdb(
        core,
        `python gdb.selected_inferior().read_memory(${start}, 4096)`,
        "echo there\\n",
      );
      expect(said).toContain("there");
    } catch (error) {
      return skipIfMissing(context, error);
    }
    await expect(gdb(core, `x/gx ${BigInt(start) + 4096n}`)).rejects.toThrow("Cannot access memory");
  });

  it("--json says what is in the file, and what is not", async () => {
    const core = join(folder, "core.json");
    const { out } = await memtool(["dump", "--pid", String(truth.pid), "--json", "-o", core, ...ON_DUMP]);
    const [line] = jsonLines(out);
    expect(line).toMatchObject({ path: core, pid: truth.pid, comm: "guest", holes: { swapped: "0x10000" } });
    expect(line?.size).toBe(readFileSync(core).length);
  });

  it("--format raw writes a range as it is, and stops at a hole unless told what to write there", async () => {
    const range = ["--pid", String(truth.witnessPid), "--range", "0x100000040000+0x2000", "--format", "raw"];
    const stopped = await memtool(["dump", ...range, "-o", join(folder, "raw"), ...ON_DUMP]);
    expect(stopped.status).toBe(1);
    expect(stopped.err).toContain("stopped at 0x100000041000");
    expect(existsSync(join(folder, "raw"))).toBe(false);
    const filled = await memtool(["dump", ...range, "--fill", "0xee", ...ON_DUMP]);
    const read = [
      "read",
      "0x100000040000",
      "-l",
      "4096",
      "--format",
      "raw",
      "--pid",
      String(truth.witnessPid),
    ];
    const page = await memtool([...read, ...ON_DUMP]);
    expect(filled.stdout.subarray(0, 4096).equals(page.stdout)).toBe(true);
    expect(filled.stdout.subarray(4096).equals(Buffer.alloc(4096, 0xee))).toBe(true);
  });

  it("replaces no file unless told so, and says what is wrong before it opens anything", async () => {
    const path = join(folder, "there");
    const args = ["dump", "--pid", String(truth.witnessPid), "-o", path, ...ON_DUMP];
    expect((await memtool(args)).status).toBe(0);
    expect((await memtool(args)).err).toContain("--force replaces it");
    expect((await memtool([...args, "--force"])).status).toBe(0);
    for (const wrong of [[], ["--pid", "97", "--format", "raw"], ["--pid", "97", "--range", "5-4"]]) {
      expect((await memtool(["dump", ...wrong, "-f", "/nowhere"])).status).toBe(2);
    }
  });
});
