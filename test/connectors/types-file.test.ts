import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/open.js";
import { readTypesFile } from "../../connectors/types-file.js";
import { Btf, exportIsf, TypesError, type TypeTable, typeNamed, writeIsf } from "../../src/linux/index.js";
import { writeBtf } from "../support/btf-writer.js";

const FIXTURE = "fixtures/linux-6.1-x86_64.kdump";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "memtool-types-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const BTF = writeBtf([{ kind: "struct", name: "mine", size: 24, members: [] }]).bytes;

/** A small ELF file with these sections (System V ABI). */
function elf(
  sections: readonly { name: string; bytes: Uint8Array; type?: number; flags?: number }[],
  { bits = 64, little = true }: { bits?: 32 | 64; little?: boolean } = {},
): Uint8Array {
  const names = ["", ...sections.map(({ name }) => name), ".shstrtab"];
  const strings = new TextEncoder().encode(names.map((name) => `${name}\0`).join(""));
  const all = [
    { name: "", bytes: new Uint8Array(0), type: 0 },
    ...sections,
    { name: ".shstrtab", bytes: strings, type: 3 },
  ];
  const [header, entry] = bits === 64 ? [64, 64] : [52, 40];
  const data = all.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const out = new Uint8Array(header + data + entry * all.length);
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, little ? 1 : 2, 1]);
  const word = (at: number, value: number) =>
    bits === 64 ? view.setBigUint64(at, BigInt(value), little) : view.setUint32(at, value, little);
  word(bits === 64 ? 0x28 : 0x20, header + data);
  view.setUint16(bits === 64 ? 0x3a : 0x2e, entry, little);
  view.setUint16(bits === 64 ? 0x3c : 0x30, all.length, little);
  view.setUint16(bits === 64 ? 0x3e : 0x32, all.length - 1, little);
  let at = header;
  let name = 0;
  all.forEach((section, i) => {
    const head = header + data + entry * i;
    out.set(section.bytes, at);
    view.setUint32(head, name, little);
    view.setUint32(head + 4, section.type ?? 1, little);
    word(head + 8, "flags" in section ? (section.flags ?? 0) : 0);
    word(head + (bits === 64 ? 0x18 : 0x10), at);
    word(head + (bits === 64 ? 0x20 : 0x14), section.bytes.length);
    at += section.bytes.length;
    name += (names[i] as string).length + 1;
  });
  return out;
}

const isf = () =>
  [...writeIsf({ types: new Btf(BTF), symbols: [], producer: { name: "t", version: "" } })].join("");

describe("a file of types", () => {
  it.each<[string, () => Uint8Array | string]>([
    ["BTF", () => BTF],
    ["BTF packed by gzip", () => gzipSync(BTF)],
    [
      "a vmlinux of 64 bits",
      () =>
        elf([
          { name: ".text", bytes: new Uint8Array(99) },
          { name: ".BTF", bytes: BTF },
        ]),
    ],
    ["a vmlinux of 32 bits", () => elf([{ name: ".BTF", bytes: BTF }], { bits: 32 })],
    ["a big-endian ELF file", () => elf([{ name: ".BTF", bytes: BTF }], { little: false })],
    [
      "a vmlinux packed by gzip",
      () =>
        gzipSync(
          elf([
            { name: ".BTF.ext", bytes: new Uint8Array(3) },
            { name: ".BTF", bytes: BTF },
          ]),
        ),
    ],
    ["ISF", isf],
    ["ISF with a byte order mark", () => `\ufeff\n ${isf()}`],
    ["ISF packed by gzip", () => gzipSync(isf())],
  ])("is told by its content: %s", (_what, make) => {
    const table = readTypesFile(file("types", make()));
    expect(table.find("struct", "mine")).toMatchObject({ kind: "struct", size: 24 });
    expect(table.name).toContain("types");
  });

  it("of 32 bits has pointers of 4 bytes", () => {
    expect(readTypesFile(file("types", elf([{ name: ".BTF", bytes: BTF }], { bits: 32 }))).pointerSize).toBe(
      4,
    );
  });

  it.each<[string, () => Uint8Array | string, string]>([
    ["nothing", () => "", "neither BTF"],
    ["text", () => "hello", "neither BTF"],
    ["xz", () => new Uint8Array([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), "xz -d"],
    ["bzip2", () => "BZh91AY", "bzip2 -d"],
    ["damaged gzip", () => gzipSync(BTF).subarray(0, 30), "can't be unpacked"],
    ["ELF without BTF", () => elf([{ name: ".text", bytes: BTF }]), "no section .BTF"],
    [
      "ELF of debug information",
      () => elf([{ name: ".BTF", bytes: BTF, type: 8 }]),
      "debug information only",
    ],
    ["a compressed section", () => elf([{ name: ".BTF", bytes: BTF, flags: 0x800 }]), "is compressed"],
    ["half an ELF file", () => elf([{ name: ".BTF", bytes: BTF }]).subarray(0, 200), "ends"],
    ["an ELF header alone", () => elf([]).subarray(0, 30), "no whole ELF file"],
  ])("is refused, saying why: %s", (_what, make, why) => {
    const path = file("types", make());
    expect(() => readTypesFile(path)).toThrowError(
      expect.objectContaining({ code: "NO_TYPES", message: expect.stringContaining(why) }),
    );
    expect(() => readTypesFile(path)).toThrowError(path);
  });

  it("is refused where there is none, and where it is a folder", () => {
    expect(() => readTypesFile(join(folder, "nosuch"))).toThrowError(/can't be opened \(ENOENT\)/);
    expect(() => readTypesFile(folder)).toThrowError(/is no file/);
  });

  it("with bytes changed or cut off is refused, or gives types", () => {
    const whole = elf([
      { name: ".text", bytes: new Uint8Array(9) },
      { name: ".BTF", bytes: BTF },
    ]);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.constantFrom(0, 1, 8, 64, 255)), { maxLength: 4 }),
        fc.nat(whole.length),
        (changes, cut) => {
          const bytes = whole.slice();
          for (const [at, value] of changes) bytes[at] = value;
          let table: TypeTable;
          try {
            table = readTypesFile(file("types", bytes.subarray(0, whole.length - (cut % 50))));
          } catch (error) {
            expect(error).toBeInstanceOf(TypesError);
            return;
          }
          table.find("struct", "mine");
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("types that are given", () => {
  it("are the kernel's: as a file, or as a table", async () => {
    const path = file("types", BTF);
    for (const types of [path, readTypesFile(path)]) {
      await using machine = await open(FIXTURE, { types });
      const kernel = await machine.linux();
      expect(await kernel.types()).toMatchObject({ name: path });
      expect(typeNamed(await kernel.types(), "mine").kind).toBe("struct");
    }
  });

  it("of an exported kernel list the same processes as its own", async () => {
    await using machine = await open(FIXTURE);
    const linux = await machine.linux();
    const path = file("kernel.json.gz", gzipSync([...(await exportIsf(linux)).pieces].join("")));
    await using again = await open(FIXTURE, { types: path });
    const own = await linux.tasks().toArray();
    expect(own.length).toBeGreaterThan(10);
    expect(await (await again.linux()).tasks().toArray()).toEqual(own);
  });

  it("with pointers of another size are refused: they are another kernel's", async () => {
    const path = file("types", elf([{ name: ".BTF", bytes: BTF }], { bits: 32 }));
    await expect(open(FIXTURE, { types: path })).rejects.toThrowError(/pointers of 4 bytes.*another kernel/);
  });

  it("whose structures have other sizes than VMCOREINFO says are refused", async () => {
    const page = (size: number) => writeBtf([{ kind: "struct", name: "list_head", size, members: [] }]).bytes;
    const other = file("other.btf", page(24));
    await expect(open(FIXTURE, { types: other })).rejects.toThrowError(
      /other\.btf is of another kernel: its struct list_head has 24 bytes, and this one's 16/,
    );
    await (await open(FIXTURE, { types: file("own.btf", page(16)) })).close();
  });

  it("of an ISF file that names another kernel's release are refused; of this one's, taken", async () => {
    const of = (banner: string) =>
      file(
        "other.json",
        [
          ...writeIsf({
            types: new Btf(BTF),
            symbols: [{ name: "linux_banner", address: 1n, constantData: new TextEncoder().encode(banner) }],
            producer: { name: "t", version: "" },
          }),
        ].join(""),
      );
    const other = of("Linux version 5.10.0-1-amd64 (x@y) #1 SMP\n\0");
    await expect(open(FIXTURE, { types: other })).rejects.toThrowError(
      /another kernel: it says "Linux version 5\.10\.0-1-amd64 \(x@y\) #1 SMP…", and this one is 6\.1\./,
    );
    await using machine = await open(FIXTURE);
    const { release } = await machine.linux();
    const same = of(`Linux version ${release} (x@y) #1 SMP\n\0`);
    await using again = await open(FIXTURE, { types: same });
    expect(await (await again.linux()).types()).toMatchObject({ name: same });
  });

  it("that can't be read are told of before anything is opened", async () => {
    await expect(open("no such dump", { types: join(folder, "nosuch") })).rejects.toMatchObject({
      code: "NO_TYPES",
    });
  });
});
