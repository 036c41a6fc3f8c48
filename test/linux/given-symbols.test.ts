/** A table of symbols from a file, in place of the kernel's own. */
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, testFolder, truth } from "../support/cli-dump.js";

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
