/** Modules of the dump that ships as ELF files: what is in them against what their guest printed, and against the kernel's memory. */
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ExtractedModule, extractModules } from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const truth: {
  symbols: { name: string; address: string; module?: string }[];
  modules: { name: string; address: string }[];
} = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));

let patched: PatchedKernel;
beforeAll(async () => {
  patched = await PatchedKernel.open("fixtures/linux-6.1-x86_64.kdump");
});
afterEach(() => patched.restore());
afterAll(() => patched?.close());

async function extract(name: string) {
  const damage: string[] = [];
  const options = { names: [name], onDamage: ({ message }: { message: string }) => damage.push(message) };
  const found = await extractModules(patched.kernel, options).toArray();
  expect(found).toHaveLength(1);
  return { module: found[0] as ExtractedModule, damage };
}

/** A small reader of 64-bit ELF files, of what the tests compare. */
function elf({ size, pieces }: ExtractedModule) {
  const bytes = new Uint8Array(size);
  for (const piece of pieces) bytes.set(piece.bytes, piece.offset);
  const view = new DataView(bytes.buffer);
  const number = (at: number) => Number(view.getBigUint64(at, true));
  const text = (at: number) => new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
  const headers = Array.from({ length: view.getUint16(60, true) }, (_, i) => number(40) + 64 * i);
  const names = number((headers[view.getUint16(62, true)] as number) + 24);
  const sections = headers.map((at) => ({
    name: text(names + view.getUint32(at, true)),
    type: view.getUint32(at + 4, true),
    address: view.getBigUint64(at + 16, true),
    offset: number(at + 24),
    size: number(at + 32),
  }));
  const of = (name: string) => sections.find((each) => each.name === name) as (typeof sections)[0];
  const symbols = Array.from({ length: of(".symtab").size / 24 }, (_, i) => of(".symtab").offset + 24 * i)
    .slice(1)
    .map((at) => ({
      name: text(of(".strtab").offset + view.getUint32(at, true)),
      info: bytes[at + 4] as number,
      section: view.getUint16(at + 6, true),
      address: view.getBigUint64(at + 8, true),
      size: number(at + 16),
    }));
  return { bytes, sections, symbols, section: of };
}
/** STT_FUNC, SHT_NOBITS. */
const [FUNCTION, NO_BYTES] = [2, 8];

test("every module has the symbols that the guest's /proc/kallsyms shows of it", async () => {
  const key = (name: string, address: bigint) => `${address.toString(16)} ${name}`;
  let checked = 0;
  for await (const module of extractModules(patched.kernel)) {
    const wanted = truth.symbols
      .filter((each) => each.module === module.name)
      .map(({ name, address }) => key(name, BigInt(address)));
    expect(
      elf(module)
        .symbols.map(({ name, address }) => key(name, address))
        .sort(),
    ).toEqual(wanted.sort());
    checked++;
  }
  expect(checked).toBe(truth.modules.length);
});

test("each function lies in the section that its symbol names, with the bytes that the kernel has there", async () => {
  const { bytes, sections, symbols } = elf((await extract("zram")).module);
  const functions = symbols.filter(({ info, size }) => (info & 15) === FUNCTION && size > 0);
  expect(functions.length).toBeGreaterThan(40);
  for (const { address, size, section } of functions) {
    const home = sections[section] as (typeof sections)[0];
    const at = home.offset + Number(address - home.address);
    expect(address + BigInt(size)).toBeLessThanOrEqual(home.address + BigInt(home.size));
    expect(bytes.subarray(at, at + size)).toEqual(await patched.kernel.memory.read(address, size));
  }
});

test("what was freed after the module had been set up has a header and no bytes", async () => {
  const { module } = await extract("zram");
  const freed = module.sections.filter(({ state }) => state === "freed").map(({ name }) => name);
  expect(freed).toEqual([".init.text", ".init.data", ".symtab", ".strtab"]);
  expect(elf(module).section(".init.text")).toMatchObject({ type: NO_BYTES, size: 0 });
});

test("a name is taken as the kernel takes it", async () => {
  expect((await extract("qemu-fw-cfg")).module.name).toBe("qemu_fw_cfg");
});

describe("what is not there", () => {
  test("is a section without bytes between those of the rest, and is listed", async () => {
    const text = (await extract("zram")).module.sections.find(({ name }) => name === ".text");
    const start = text?.address as bigint;
    await patched.remove(start + 0x1000n);
    const { module } = await extract("zram");
    expect(module.holes).toEqual([{ start: start + 0x1000n, end: start + 0x2000n, why: "excluded" }]);
    expect(module.memory - module.present).toBe(4096);
    expect(module.sections.find(({ name }) => name === ".text")?.state).toBe("partial");
    const file = elf(module);
    expect(file.section(".text")).toMatchObject({ type: 1, size: 4096 });
    expect(file.section(".text.1000")).toMatchObject({
      type: NO_BYTES,
      address: start + 0x1000n,
      size: 4096,
    });
    expect(file.section(".text.2000")).toMatchObject({ type: 1, address: start + 0x2000n });
  });

  test("sections whose number is a lie are told, and the module's memory is there", async () => {
    const { module: sound } = await extract("zram");
    const types = await patched.kernel.types();
    const place = sound.module + BigInt(offsetOf(types, "module", "sect_attrs"));
    const bytes = await patched.kernel.memory.read(place, 8);
    const sections = new DataView(bytes.slice().buffer).getBigUint64(0, true);
    const count = sections + BigInt(offsetOf(types, "module_sect_attrs", "nsections"));
    await patched.set(count, Uint8Array.of(0xff, 0xff, 0xff, 0xff));
    const { module, damage } = await extract("zram");
    expect(damage.join("\n")).toMatch(/sections of module zram at 0x[0-9a-f]+: too long: 4294967295/);
    expect(module.present).toBe(sound.present);
  });

  test("without sections, the module's memory is given as such, with its symbols", async () => {
    const { module: sound } = await extract("zram");
    const types = await patched.kernel.types();
    await patched.setPointer(sound.module + BigInt(offsetOf(types, "module", "sect_attrs")), 0n);
    const { module } = await extract("zram");
    expect(module.sections.map(({ name, size }) => [name, size])).toEqual([[".memory.0", sound.memory]]);
    expect(module.symbols).toBe(sound.symbols);
  });
});
