/** Memory whose bytes are taken to begin at 0, as a raw image's are, and belong elsewhere. */
import { describe, expect, it } from "vitest";
import { open } from "../../../connectors/index.js";
import { defaultScheduler, Io, MemoryIo } from "../../../src/io/index.js";
import { findBase } from "../../../src/linux/find/find-base.js";
import { parseVmcoreinfo } from "../../../src/linux/find/vmcoreinfo.js";
import { findKernel } from "../../../src/linux/index.js";
import { PhysicalMap } from "../../../src/memory/index.js";
import { memtool } from "../../support/cli.js";
import { testFolder } from "../../support/cli-dump.js";
import { sparseFile } from "../../support/sparse-file.js";

const { file } = testFolder();

/** The RAM of a dump from an address on, with a name in the kernel's `init_uts_ns`, whose page the dump lacks. */
async function ramOf(
  path: string,
  base: number,
  sysname = "Linux\0",
): Promise<{ ram: Uint8Array; end: number }> {
  const machine = await open(path);
  try {
    const { physical, kernel } = machine;
    if (physical === undefined || kernel === undefined) throw new Error(`${path}: no kernel`);
    const { vmcoreinfo, imageOffset = 0n } = kernel;
    const { end } = physical.map;
    const ram = new Uint8Array(end - base);
    for (const range of physical.map.ranges()) {
      if (range.state !== "present" || range.start < base) continue;
      ram.set(await physical.read(range.start, range.end - range.start), range.start - base);
    }
    const namespace = BigInt.asUintN(64, (vmcoreinfo.symbols.get("init_uts_ns") ?? 0n) + imageOffset);
    const name = Number(namespace) + (vmcoreinfo.offsets.get("uts_namespace.name") ?? 0) - base;
    ram.set(Buffer.from(sysname), name);
    // What is no kernel's, at the same place of a page.
    ram.set(Buffer.from(sysname), name % 4096);
    return { ram, end };
  } finally {
    await machine.close();
  }
}

/** What is said of it, where its first byte is taken for that of address 0. */
function errorOf(ram: Uint8Array): Promise<unknown> {
  return Promise.resolve(findKernel(new MemoryIo(ram), { map: PhysicalMap.single(0, ram.length) })).then(
    () => undefined,
    (error) => error,
  );
}

describe("a kernel in memory that begins elsewhere", () => {
  it.each([
    ["linux-6.1-arm64", 0x4000_0000],
    ["linux-6.12-arm64-16k", 0x4000_0000],
    ["linux-6.12-riscv64-sv39", 0x8000_0000],
  ])("%s: is told with where it begins", async (name, base) => {
    const { ram, end } = await ramOf(`fixtures/${name}.kdump`, base);
    const [first, last] = [base, end].map((each) => `0x${each.toString(16)}`);
    expect(await errorOf(ram)).toMatchObject({
      code: "MISPLACED",
      message: expect.stringMatching(new RegExp(`physical address ${first}, .*--map ${first}-${last}$`)),
    });
  });

  it("is told where nothing tells that: its page tables lie where no memory is", async () => {
    const { ram } = await ramOf("fixtures/linux-6.1-arm64.kdump", 0x4000_0000, "?");
    expect(await errorOf(ram)).toMatchObject({
      code: "MISPLACED",
      message: expect.stringMatching(
        /has its page tables at 0x4157b000, where .* no memory: .*--map START-END/,
      ),
    });
  });

  it("is found with the --map that the command names", async () => {
    const { ram } = await ramOf("fixtures/linux-6.1-arm64.kdump", 0x4000_0000);
    const path = file("guest.raw", ram);
    const none = await memtool(["read", "swapper_pg_dir", "-f", path]);
    expect([none.status, none.out]).toEqual([1, ""]);
    const [, ranges = ""] = /^memtool: Linux 6\.1\.\S+ is in .* --map ([^\s;]+)/m.exec(none.err) ?? [];
    const { status, out } = await memtool(["translate", "swapper_pg_dir", "-f", path, "--map", ranges]);
    expect([status, out]).toEqual([0, expect.stringContaining("0x000000004157b000")]);
  });
});

it("where RAM begins is found without reading what is known to be zero, and a range may begin within a page", () => {
  const size = 2 ** 34;
  const name = 2 ** 33 + 0x5a8;
  const base = 0x4000_0000;
  const text = `SYMBOL(init_uts_ns)=${(base + name - 4).toString(16)}\nOFFSET(uts_namespace.name)=4\n`;
  const file = sparseFile(size, [{ at: name, bytes: Buffer.from("Linux\0") }]);
  const start = name - (name % 512);
  const map = PhysicalMap.from([
    { start: 0, end: start, state: "present", zero: true },
    { start, end: start + 512, state: "present" },
    { start: start + 512, end: size, state: "present", zero: true },
  ]);
  const found = Io.of(file.scheduler ?? defaultScheduler, () =>
    // biome-ignore lint/correctness/useYield: nothing more is read.
    findBase(file, map, parseVmcoreinfo(Buffer.from(text)), 0n, function* () {
      return true;
    }),
  );
  expect([found.sync(), file.asked.bytes]).toEqual([base, 512]);
});
