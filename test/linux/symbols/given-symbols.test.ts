/** A table of symbols from a file, in place of the kernel's own. */
import { describe, expect, it } from "vitest";
import { open } from "../../../connectors/index.js";
import { jsonLines, memtool } from "../../support/cli.js";
import { ON_DUMP, testFolder, truth } from "../../support/cli-dump.js";

const { file, folder } = testFolder();
const KASLR = BigInt(`0x${/KERNELOFFSET=([0-9a-f]+)/.exec(truth.vmcoreinfo.text)?.[1]}`);
interface Listed {
  readonly address: string;
  readonly type: string;
  readonly name: string;
  readonly module?: string;
}
const own: Listed[] = truth.symbols.filter(({ module }: Listed) => module === undefined);

/** The lines that a System.map has: addresses as they were linked. */
function systemMap(slide: bigint): string {
  const lines = own.map(({ address, type, name }) => {
    const at = BigInt(address);
    const linked = at >= 0xffff_ffff_8000_0000n ? at - slide : at;
    return `${linked.toString(16).padStart(16, "0")} ${type} ${name}\n`;
  });
  return lines.join("");
}

describe("--symbols", () => {
  it.each([
    ["a System.map is moved by KASLR", KASLR],
    ["a saved /proc/kallsyms stays where it is", 0n],
  ])("%s", async (_, slide) => {
    const path = file(`symbols-${slide}`, `${systemMap(slide)}ffffffff81234567 T only_in_the_file\n`);
    const { out, err } = await memtool([
      "symbols",
      "init_task",
      "only_in_the_file",
      "--json",
      "--symbols",
      path,
      ...ON_DUMP,
    ]);
    expect(err).toBe("");
    const [task, added] = jsonLines(out);
    expect(task?.address).toBe(own.find(({ name }) => name === "init_task")?.address);
    expect(added?.address).toBe(`0x${(0xffffffff81234567n + slide).toString(16)}`);
  });

  it("one that has none of the symbols that VMCOREINFO names is refused: nobody knows where it belongs", async () => {
    const path = file("few", "ffffffff81234567 T only_in_the_file\n");
    const { err, status } = await memtool(["symbols", "only_in_the_file", "--symbols", path, ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toContain("it has none of the symbols that VMCOREINFO names");
  });

  describe("of a kernel whose VMCOREINFO does not say KASLR's offset, as i386's", () => {
    const I386 = "fixtures/linux-6.1-i386.kdump";
    const SLIDE = 0x300_0000n;

    /** What VMCOREINFO names, as it was linked, or some of it by more. */
    async function run(count: number, wrong = 0n): ReturnType<typeof memtool> {
      const machine = await open(I386);
      const { vmcoreinfo, named } = await machine.linux();
      await machine.close();
      expect(vmcoreinfo.kernelOffset).toBe(undefined);
      const lines = [...named]
        .slice(0, count)
        .map(([name, at], i) => `${(at - SLIDE + (i === 1 ? wrong : 0n)).toString(16)} D ${name}\n`);
      const path = file(`i386-${count}-${wrong}`, `${lines.join("")}c1234560 T only_in_the_file\n`);
      return await memtool(["symbols", "only_in_the_file", "--json", "--symbols", path, "-f", I386]);
    }

    it("it is moved by what the symbols of both are apart", async () => {
      const { out, err } = await run(4);
      expect([err, jsonLines(out)[0]?.address]).toEqual(["", `0x${(0xc1234560n + SLIDE).toString(16)}`]);
    });

    it("it is refused if they are not all apart by the same, or only one is in both", async () => {
      for (const result of [await run(4, 0x1000n), await run(1)]) {
        expect(result.status).toBe(1);
        expect(result.err).toContain("is of another kernel: it has ");
      }
    });
  });

  it("another kernel's is refused, with what disagrees", async () => {
    const path = file("other", systemMap(KASLR + 0x1000n));
    const { err, status } = await memtool(["symbols", "init_task", "--symbols", path, ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toContain(`${path} is of another kernel: it has `);
    expect(err).toContain("VMCOREINFO says 0xffffffff");
  });

  it.each([
    ["no file", () => `${folder}/nowhere`, "ENOENT"],
    [
      "no table of symbols",
      () => file("readme", "The true System.map is in the debug package.\n"),
      "readme: no line of 1 is",
    ],
  ])("%s is told", async (_, path, message) => {
    const { err, status } = await memtool(["symbols", "init_task", "--symbols", path(), ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toContain(message);
  });
});
