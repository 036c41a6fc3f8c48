/** Modules of the dump that ships, each against what its guest printed; and what damage does to them. */
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Machine, open } from "../../../connectors/index.js";
import { type Damage, type Linux, type LoadedModule, listModules } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { sizeOf } from "../../../src/linux/types/index.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));
interface SymbolFact {
  readonly name: string;
  readonly address: string;
  readonly type: string;
  readonly module?: string;
}
const ofModules: readonly SymbolFact[] = truth.symbols.filter(
  ({ module }: SymbolFact) => module !== undefined,
);

describe("modules of the committed dump", () => {
  let machine: Machine;
  let linux: Linux;
  beforeAll(async () => {
    machine = await open(DUMP);
    linux = await machine.linux();
  });
  afterAll(() => machine.close());

  it("are those of /proc/modules, field by field and in its order", async () => {
    const found = await linux.modules().toArray();
    expect(
      found.map(({ name, size, references, usedBy, state, address }) => ({
        name,
        size,
        references,
        usedBy,
        state,
        address: `0x${address?.toString(16)}`,
      })),
    ).toEqual(truth.modules);
  });

  it("have their parameters, with the kernel's names of types and sysfs's form of values", async () => {
    const found = await linux.modules().toArray();
    // zram counts it down while it makes its devices (it is given 1), and has no file in sysfs for it.
    expect(found.find(({ name }) => name === "zram")?.parameters).toEqual([
      { name: "num_devices", type: "uint", value: "0", mode: 0 },
    ]);
  });

  it("have the symbols of /proc/kallsyms, each with its letter and module", async () => {
    const { all, damage, error } = await linux.moduleSymbols();
    expect([damage, error]).toEqual([[], undefined]);
    const text = ({ name, address, type, module }: SymbolFact) => `${address} ${type} ${name} [${module}]`;
    const found = all.map(({ name, address, type, module = "" }) =>
      text({ name, address: `0x${address.toString(16)}`, type, module }),
    );
    expect(found.sort()).toEqual(ofModules.map(text).sort());
  });

  it("symbols resolve by name, one that several have with their modules, and are among all", async () => {
    const counts = new Map<string, number>();
    for (const { name } of ofModules) counts.set(name, (counts.get(name) ?? 0) + 1);
    for (const { name, address } of ofModules.filter((each) => counts.get(each.name) === 1)) {
      const found = await linux.symbols(name).toArray();
      if (found[0]?.module === undefined) continue;
      expect((await linux.symbol(name)).address).toBe(BigInt(address));
    }
    const twice = [...counts].find(([, count]) => count > 1)?.[0] as string;
    await expect(linux.symbol(twice)).rejects.toMatchObject({ code: "AMBIGUOUS_SYMBOL" });
    const everyone = await linux.symbols("*").toArray();
    expect(everyone.filter(({ module }) => module !== undefined)).toHaveLength(ofModules.length);
    const high = everyone.map(({ address }) => address).filter((address) => address >> 63n === 1n);
    expect(high).toEqual([...high].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
  });

  it("name addresses in their memory, and none beyond it", async () => {
    for (const { name, address, module } of ofModules) {
      const at = BigInt(address);
      // Offsets of per-CPU variables are no addresses; names of constants that assemblers make say nothing (the kernel's own
      // "%pS" passes over them too).
      if (at >> 63n === 0n || name.startsWith(".L")) continue;
      const found = await linux.nameOf(at);
      expect([found?.module, found?.offset]).toEqual([module, 0n]);
    }
    const program = ofModules.find(({ module }) => module === "bpf") as SymbolFact;
    expect(await linux.nameOf(BigInt(program.address) + 3n)).toMatchObject({
      name: program.name,
      offset: 3n,
    });
    const modules = await linux.modules().toArray();
    const ends = modules.map(({ address, size }) => (address as bigint) + BigInt(size as number));
    const last = ends.sort().at(-1) as bigint;
    expect(await linux.nameOf(last + 0x100000n)).toBeUndefined();
  });

  it("have types of their own over the kernel's", async () => {
    const types = await linux.moduleTypes("zram");
    const zram = types.find("struct", "zram");
    expect(zram?.kind).toBe("struct");
    expect((await linux.types()).find("struct", "zram")).toBeUndefined();
    // A zram holds a list of its devices' disks: the kernel's types are found through the module's.
    expect(types.find("struct", "task_struct")).toBe((await linux.types()).find("struct", "task_struct"));
    if (zram?.kind !== "struct") throw new Error("no struct");
    const disk = zram.members.find(({ name }) => name === "disk");
    expect(disk?.type.kind).toBe("pointer");
    const last = zram.members.at(-1);
    expect(sizeOf(zram)).toBeGreaterThanOrEqual(Math.ceil((last?.bitOffset ?? Number.NaN) / 8));
  });

  it("an unknown module is an error that says where to look", async () => {
    await expect(linux.moduleTypes("nothing")).rejects.toMatchObject({ code: "NO_MODULE" });
  });
});

describe("modules of a damaged kernel", () => {
  let patched: PatchedKernel | undefined;
  afterEach(() => patched?.close());

  async function start(): Promise<{
    modules: LoadedModule[];
    at: (module: string, path: string) => Promise<bigint>;
    list: () => Promise<{ found: LoadedModule[]; damage: Damage[] }>;
  }> {
    // (Another one is asked first: what a kernel once read of its modules' symbols it keeps.)
    const whole = await PatchedKernel.open(DUMP);
    const modules = await listModules(whole.kernel).toArray();
    await whole.close();
    patched = await PatchedKernel.open(DUMP);
    const { kernel } = patched;
    const types = await kernel.types();
    const at = async (name: string, path: string) => {
      const { module } = modules.find((each) => each.name === name) as LoadedModule;
      return module + BigInt(offsetOf(types, "module", path));
    };
    const list = async () => {
      const damage: Damage[] = [];
      const found = await listModules(kernel, { onDamage: (each) => damage.push(each) }).toArray();
      return { found, damage };
    };
    return { modules, at, list };
  }
  const write32 = async (at: bigint, value: number) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    await patched?.set(at, bytes);
  };

  it("are all listed though a link of their list leads nowhere, which is told", async () => {
    const { modules, at, list } = await start();
    await patched?.setPointer(await at("lzo_rle", "list"), 0xdead_0000_0000_0100n);
    const { found, damage } = await list();
    expect(found.map(({ name }) => name)).toEqual(modules.map(({ name }) => name));
    expect(damage).toMatchObject([{ what: "the list of modules", reason: "unreadable" }]);
  });

  it("a count of parameters that can't be is told, and is not believed", async () => {
    const { at, list } = await start();
    await write32(await at("zram", "num_kp"), 0xffff_ffff);
    const { found, damage } = await list();
    expect(found.map(({ name }) => name)).toEqual(truth.modules.map(({ name }: { name: string }) => name));
    expect(damage).toMatchObject([{ reason: "invalid", message: expect.stringContaining("zram") }]);
  });

  it("a loop among those that use one ends, and is told", async () => {
    const { modules, at, list } = await start();
    const head = await at("zsmalloc", "source_list");
    const [node] = new BigUint64Array(
      (await patched?.kernel.memory.read(head, 8))?.slice().buffer as ArrayBuffer,
    );
    await patched?.setPointer(node as bigint, node as bigint);
    const { found, damage } = await list();
    expect(found).toHaveLength(modules.length);
    expect(damage).toMatchObject([
      { what: expect.stringContaining("users of module zsmalloc"), reason: "loop" },
    ]);
  });

  it("a state that can't be is shown as its number, and told", async () => {
    const { at, list } = await start();
    await write32(await at("zram", "state"), 77);
    const { found, damage } = await list();
    expect(found.find(({ name }) => name === "zram")).toMatchObject({ state: "77" });
    expect(damage).toMatchObject([{ reason: "invalid" }]);
  });

  it("symbols of one whose table is a lie are missing and told, those of the others are there", async () => {
    const { at } = await start();
    await patched?.setPointer(await at("zram", "kallsyms"), 0xdead_0000_0000_0100n);
    const symbols = await patched?.kernel.moduleSymbols();
    expect(symbols?.damage).toMatchObject([{ what: "symbols of module zram", reason: "unreadable" }]);
    const modules = new Set(symbols?.all.map(({ module }) => module));
    const others = new Set(ofModules.map(({ module }) => module).filter((module) => module !== "zram"));
    expect(modules).toEqual(others);
  });

  it("symbols that another has already are not its own, which is told", async () => {
    const { at } = await start();
    const kernel = (patched as PatchedKernel).kernel;
    const bytes = await kernel.memory.read(await at("zram", "kallsyms"), 8);
    const table = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    await patched?.setPointer(await at("lzo_rle", "kallsyms"), table);
    const { all, damage } = await kernel.moduleSymbols();
    const owners = new Set(all.map(({ module }) => module));
    expect(owners.has("zram") !== owners.has("lzo_rle")).toBe(true);
    expect(damage).toMatchObject([
      { reason: "invalid", message: expect.stringContaining("those of module") },
    ]);
  });

  it("a count of symbols that can't be ends where its memory does", async () => {
    const { at } = await start();
    const pointer = await at("zram", "kallsyms");
    const read = async (from: bigint) =>
      new DataView((await patched?.kernel.memory.read(from, 8))?.slice().buffer as ArrayBuffer).getBigUint64(
        0,
        true,
      );
    const types = await patched?.kernel.types();
    if (types === undefined) throw new Error("no types");
    const table = (await read(pointer)) + BigInt(offsetOf(types, "mod_kallsyms", "num_symtab"));
    await write32(table, 0xffff_ffff);
    const symbols = await patched?.kernel.moduleSymbols();
    expect(symbols?.damage.map(({ reason }) => reason)).toContain("too long");
    const own = symbols?.all.filter(({ module }) => module === "zram").map(({ name }) => name) ?? [];
    for (const { name } of ofModules.filter(({ module }) => module === "zram")) expect(own).toContain(name);
  });
});
