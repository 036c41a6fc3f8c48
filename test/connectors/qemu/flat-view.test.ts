/** Guest RAM by QEMU's monitor, and by its command line and mappings: on what QEMU said, each is the other's judge. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseMaps } from "../../../connectors/proc/maps.js";
import { parseCommandLine } from "../../../connectors/qemu/command-line.js";
import { type FlatRange, parseFlatView, parseGpa2hva } from "../../../connectors/qemu/flat-view.js";
import { findBlocks, NoSuchMapping } from "../../../connectors/qemu/host-blocks.js";
import { layOut, UnknownLayout } from "../../../connectors/qemu/ram-layout.js";
import { REAL_MACHINES, type RealMachine, real } from "./real.js";

const digits = (value: number) => value.toString(16).padStart(16, "0");

/** The ranges of memory backends, as the monitor tells them. */
function ramOf(machine: RealMachine): FlatRange[] {
  const names = new Set(machine.backends.map(({ id }) => id));
  return (parseFlatView(machine.flatView) ?? []).filter(({ name }) => names.has(name));
}

/** Where an address is in the process, as the monitor tells it. */
function askedWhere(machine: RealMachine, address: number): number | undefined {
  const range = ramOf(machine).find(({ start, end }) => start <= address && address < end);
  const where = range && parseGpa2hva(machine.gpa2hva[digits(range.start)] as string);
  return where === undefined ? undefined : Number(where) + (address - (range as FlatRange).start);
}

function pathOf(path: string): string {
  return path.startsWith("/") ? path : `/run/vm/${path}`.replace(/\/\.$/, "");
}

function findRam(machine: RealMachine) {
  const line = parseCommandLine(machine.arguments);
  const layout = layOut(line);
  return { layout, blocks: findBlocks(layout.blocks, line, parseMaps(machine.maps), pathOf) };
}

const AMBIGUOUS = "q35 with nodes of one size";

describe.each(REAL_MACHINES)("guest RAM of a real machine: %s", (name) => {
  const machine = real(name);

  it("is all in the monitor's map, but for what VGA and firmware hide", () => {
    const size = machine.backends.reduce((sum, backend) => sum + backend.size, 0);
    const found = ramOf(machine).reduce((sum, { start, end }) => sum + end - start, 0);
    expect(size - found).toBeLessThanOrEqual(0x4_0000);
    expect(found).toBeLessThanOrEqual(size);
  });

  it("is laid out by the command line as the monitor says, and covers as much but for the first MiB", () => {
    const { parts } = layOut(parseCommandLine(machine.arguments));
    const ram = ramOf(machine);
    for (const part of parts) {
      const inside = ram.filter(({ start, end }) => start < part.end && end > part.start);
      expect(
        inside.reduce(
          (sum, { start, end }) => sum + Math.min(end, part.end) - Math.max(start, part.start),
          0,
        ),
      ).toBe(part.end - part.start);
      for (const range of inside) {
        expect(range.offset - range.start).toBe(part.offset - part.start);
        if (part.backend !== undefined) expect(range.name).toBe(part.backend);
      }
    }
    const covered = parts.reduce((sum, { start, end }) => sum + end - start, 0);
    const told = ram.reduce((sum, { start, end }) => sum + end - start, 0);
    expect(told - covered).toBeLessThanOrEqual(0x6_0000);
  });

  it.skipIf(name === AMBIGUOUS)("is found in the process's mappings where the monitor says", () => {
    const { layout, blocks } = findRam(machine);
    for (const part of layout.parts) {
      const block = blocks.find(({ backend }) => backend === part.backend);
      for (const at of [part.start, part.end - 1]) {
        expect((block?.address ?? 0) + part.offset + at - part.start).toBe(askedWhere(machine, at));
      }
    }
  });
});

describe("guest RAM that nothing tells", () => {
  it("is an error with the candidates, where backends have one size", () => {
    expect(() => findRam(real(AMBIGUOUS))).toThrow(NoSuchMapping);
    expect(() => findRam(real(AMBIGUOUS))).toThrow(
      /ram0 \(0x40000000 bytes\) could be any of 2 mappings: 0x7/,
    );
  });

  it("is not taken to be the largest mapping", () => {
    const line = parseCommandLine(["qemu-system-x86_64", "-m", "65M"]);
    expect(() => findBlocks(layOut(line).blocks, line, parseMaps(real("pc of 4 GiB").maps), pathOf)).toThrow(
      /RAM \(0x4100000 bytes\) is none of the process's mappings; of its size or larger there are 0x/,
    );
  });

  it.each([
    ["-machine none", "memtool does not know where a machine none"],
    ["-machine pc,memory-backend=m", "memory backend m is not on the command line"],
    ["-machine pc -m 2048G", "whether some of it is at 1 TiB"],
  ])("is an error with the reason: %s", (text, why) => {
    const args = ["qemu-system-x86_64", ...text.split(" ")];
    expect(() => layOut(parseCommandLine(args))).toThrow(UnknownLayout);
    expect(() => layOut(parseCommandLine(args))).toThrow(why);
  });

  it("of arm64 needs the machine's name", () => {
    expect(() => layOut(parseCommandLine(["qemu-system-aarch64", "-m", "1G"]))).toThrow("names no machine");
  });

  it("is told to be left out where only the monitor knows it", () => {
    const line = parseCommandLine(
      "qemu-system-x86_64 -m 1G,slots=2,maxmem=4G -object memory-backend-ram,id=v,size=1G -device virtio-mem-pci,memdev=v".split(
        " ",
      ),
    );
    const { remarks } = layOut(line);
    expect(remarks.join("\n")).toMatch(/virtio-mem-pci.*\n.*plugged in since/);
  });

  it("has gaps between memory devices at addresses of their own", () => {
    const text =
      "qemu-system-x86_64 -m 1G,maxmem=9G -object memory-backend-ram,id=a,size=1G -object memory-backend-ram,id=b,size=1G " +
      "-device pc-dimm,memdev=a,addr=0x140000000 -device pc-dimm,memdev=b";
    const { parts } = layOut(parseCommandLine(text.split(" ")));
    expect(parts.slice(2)).toEqual([
      { backend: "a", start: 0x1_4000_0000, end: 0x1_8000_0000, offset: 0 },
      { backend: "b", start: 0x1_0000_0000, end: 0x1_4000_0000, offset: 0 },
    ]);
  });
});

describe("the monitor's map", () => {
  it("is none in a text without the processors' address space", () => {
    expect(parseFlatView("")).toBeUndefined();
    expect(
      parseFlatView(' AS "I/O", root: io\n  0000000000000000-0000000000000fff (prio 0, ram): pc.ram\n'),
    ).toBeUndefined();
  });

  it("comes back whatever regions are called", () => {
    const range = fc.record({
      gap: fc.integer({ min: 0, max: 2 ** 40 }),
      size: fc.integer({ min: 1, max: 2 ** 40 }),
      kind: fc.constantFrom("ram", "rom", "romd", "i/o"),
      name: fc.stringMatching(/^[a-z][a-z0-9 ./_:-]{0,20}[a-z0-9]$/),
      offset: fc.integer({ min: 0, max: 2 ** 45 }),
      kvm: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(range, { maxLength: 20 }), (given) => {
        let at = 0;
        const ranges = given.map(({ gap, size, ...rest }) => {
          const start = at + gap;
          at = start + size;
          return { start, end: at, ...rest };
        });
        const lines = ranges.map(
          ({ start, end, kind, name, offset, kvm }) =>
            `  ${digits(start)}-${digits(end - 1)} (prio -1, ${kind}): ${name}${offset === 0 ? "" : ` @${digits(offset)}`}${kvm ? " KVM" : ""}`,
        );
        const text = [
          "FlatView #0",
          ' AS "memory", root: system',
          " Root memory region: system",
          ...lines,
          "",
          "FlatView #1",
        ];
        const wanted = ranges
          .filter(({ kind }) => kind !== "i/o")
          .map(({ start, end, kind, name, offset }) => ({ start, end, kind, name, offset }));
        expect(parseFlatView(text.join("\r\n"))).toEqual(wanted);
      }),
    );
  });

  it("loses what overlaps, and what no address can be", () => {
    const line = (start: string, end: string) => `  ${start}-${end} (prio 0, ram): r`;
    const text = [
      ' AS "memory", root: system',
      line("0000000000001000", "0000000000001fff"),
      line("0000000000001800", "0000000000002fff"),
      line("0000000000004000", "0000000000003fff"),
      line("0000000000005000", "ffffffffffffffff"),
      line("0000000000006000", "0000000000006fff"),
    ].join("\n");
    expect(parseFlatView(text)?.map(({ start }) => start)).toEqual([0x1000, 0x6000]);
  });

  it("has a region's name whole, also where it holds what follows names", () => {
    const names = ["a [b] c", "r KVM x", "r @0000000000000001 y", "[z]"];
    const line = (name: string, i: number) =>
      `  ${digits(i * 0x1000)}-${digits(i * 0x1000 + 0xfff)} (prio 0, ram): ${name} @${digits(8)} KVM [owner:x]`;
    const text = [' AS "memory", root: system', ...names.map(line)].join("\n");
    expect(parseFlatView(text)?.map(({ name, offset }) => ({ name, offset }))).toEqual(
      names.map((name) => ({ name, offset: 8 })),
    );
  });

  it("is read at once, however long a line is that begins an owner again and again", () => {
    const name = `r${" [".repeat(500_000)}`;
    const text = ` AS "memory", root: system\n  ${digits(0)}-${digits(0xfff)} (prio 0, ram): ${name}`;
    expect(parseFlatView(text)).toMatchObject([{ name }]);
  });

  it("says nothing of an address where gpa2hva says nothing", () => {
    expect(parseGpa2hva("Host virtual address for 0x0 (pc.ram) is 0x7f5d77e00000\r\n")).toBe(
      0x7f5d_77e0_0000n,
    );
    expect(parseGpa2hva(" No memory is mapped at address 0x40000000")).toBeUndefined();
    expect(parseGpa2hva("Memory at address 0xfee00000 is not RAM")).toBeUndefined();
  });
});
