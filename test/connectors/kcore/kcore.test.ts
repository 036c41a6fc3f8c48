/** /proc/kcore: hand-made files of its form, and the real one where there is one and it may be read. */
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { KcoreProblem, parseKcore } from "../../../connectors/kcore/kcore-headers.js";
import { openKcore, openKcoreWith } from "../../../connectors/kcore/open-kcore.js";
import { openTarget } from "../../../connectors/registry.js";
import { all, readPartial, Scheduler, SourceIo } from "../../../src/io/index.js";
import { sourceSuite } from "../../suite/index.js";
import { pattern } from "../../support/bytes.js";
import { type ElfSegment, writeElf } from "../../support/write-elf.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-kcore-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MINUS_ONE = 0xffff_ffff_ffff_ffffn;
const DIRECT = 0xffff_8880_0000_0000n;
const low = pattern(0x9f000, 1);
const high = pattern(0x40000, 2);
/** As x86-64 orders them: vmalloc, the kernel's image (which is RAM as well), then RAM, and the map of pages. */
const SEGMENTS: ElfSegment[] = [
  { physical: MINUS_ONE, virtual: 0xffff_c900_0000_0000n, bytes: pattern(0x3000, 3) },
  { physical: 0x10_8000, virtual: 0xffff_ffff_8100_0000n, bytes: high.slice(0x8000, 0x9000) },
  { physical: 0x1000, virtual: DIRECT + 0x1000n, bytes: low },
  { physical: 0x10_0000, virtual: DIRECT + 0x10_0000n, bytes: high },
  { physical: MINUS_ONE, virtual: 0xffff_ea00_0000_0000n, bytes: pattern(0x1000, 4) },
];
const INFO = "OSRELEASE=6.12.0\nPAGESIZE=4096\n";
const NOTES = [
  { name: "CORE", type: 1, description: new Uint8Array(336) },
  { name: "VMCOREINFO", type: 0, description: new TextEncoder().encode(INFO) },
];

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const path = file("kcore", writeElf(SEGMENTS, { notes: NOTES, machine: 62 }));

sourceSuite("a copy of kcore", () => ({
  source: openKcore(path),
  base: 0x10_0000 + 100,
  truth: () => high.subarray(100),
  bad: [{ start: high.length - 100, end: high.length + 100, state: "outside" }],
}));

describe("kcore", () => {
  it("has RAM by physical address, and nothing of what has none", () => {
    const source = openKcore(path);
    expect([...source.ranges()]).toEqual([
      { start: 0x1000, end: 0xa0000 },
      { start: 0x10_0000, end: 0x14_0000 },
    ]);
    const io = new SourceIo(source, new Scheduler());
    const places = [0x1000, 0x9f000, 0xa0000, 0x10_8000, 0x13_ff00];
    const read = all(places.map((at) => readPartial(io, at, 0x200))).sync();
    expect(read.map(({ holes }) => holes.map(({ start, end, state }) => [start, end, state]))).toEqual([
      [],
      [],
      [[0, 0x200, "outside"]],
      [],
      [[0x100, 0x200, "outside"]],
    ]);
    expect(read[1]?.bytes).toEqual(low.slice(0x9e000, 0x9e200));
    expect(read[3]?.bytes).toEqual(high.slice(0x8000, 0x8200));
  });

  it("tells its architecture and VMCOREINFO", async () => {
    const source = openKcore(path);
    const notes = await source.notes();
    expect([notes.architecture, new TextDecoder().decode(notes.vmcoreinfo), source.supports]).toEqual([
      "x86_64",
      INFO,
      { write: false, live: false },
    ]);
  });

  it("what a copy lost at its end is not there", () => {
    const cut = file("cut", readFileSync(path));
    truncateSync(cut, readFileSync(path).length - 0x1000 - 0x2000);
    expect([...openKcore(cut).ranges()].at(-1)).toEqual({ start: 0x10_0000, end: 0x13_e000 });
  });

  it("is read where it is now, when as many segments lie elsewhere since it was opened", async () => {
    const moving = file("moving", writeElf(SEGMENTS, { notes: NOTES }));
    const io = new SourceIo(openKcoreWith(moving, { isLive: true }), new Scheduler());
    expect((await readPartial(io, 0x10_0000, 64)).bytes).toEqual(high.slice(0, 64));
    const [first, ...others] = SEGMENTS as [ElfSegment, ...ElfSegment[]];
    const longer = { ...first, bytes: pattern(0x5000, 3) };
    writeFileSync(moving, writeElf([longer, ...others], { notes: NOTES }));
    expect((await readPartial(io, 0x10_0000, 64)).bytes).toEqual(high.slice(0, 64));
    await io.close();
  });

  it("that claims notes without end is read no further than a kernel's go", () => {
    const bytes = writeElf(SEGMENTS, { notes: NOTES.slice(0, 1), extraNoteHeaders: 5000 });
    // Each of them as long as a file can be.
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < view.getUint16(56, true); i++) {
      const header = 64 + 56 * i;
      if (view.getUint32(header, true) === 4) view.setBigUint64(header + 32, 2n ** 40n, true);
    }
    let asked = 0;
    parseKcore(bytes, (_offset, length) => {
      asked += length;
      return new Uint8Array(0);
    });
    expect(asked).toBeLessThanOrEqual(8 * 2 ** 20);
  });

  it("is closed once, whoever asks for it again: its number may be another file's by then", () => {
    const source = openKcore(path);
    source.close?.();
    const other = openSync(path, "r");
    source.close?.();
    expect(fstatSync(other).isFile()).toBe(true);
    closeSync(other);
  });

  it("of 32 bits is read as well", () => {
    const small = file(
      "small",
      writeElf([{ physical: 0x1000, virtual: 0xc000_1000, bytes: low }], { class: 1, machine: 3 }),
    );
    expect([...openKcore(small).ranges()]).toEqual([{ start: 0x1000, end: 0xa0000 }]);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ["text", new TextEncoder().encode("root:x:0:0".repeat(20)), /no ELF file/],
    ["empty", new Uint8Array(0), /no ELF file/],
    ["a program", writeElf(SEGMENTS, { type: 2 }), /no core of a kernel/],
    ["big-endian", writeElf(SEGMENTS, { order: 2 }), /big-endian/],
    [
      "of an old kernel",
      writeElf(SEGMENTS.map((segment) => ({ ...segment, physical: 0 }))),
      /since Linux 4\.11/,
    ],
    ["without RAM", writeElf(SEGMENTS.slice(0, 1)), /does not say where/],
  ])("%s is refused, and why is told", (name, bytes, message) => {
    expect(() => openKcore(file(name, bytes))).toThrow(
      expect.objectContaining({ code: "BAD_KCORE", message: expect.stringMatching(message) }),
    );
  });

  it("that is not there, hidden, or on another system is told apart", () => {
    const thrown = (what: () => unknown) => {
      try {
        what();
      } catch (error) {
        const { code, message } = error as { code: string; message: string };
        return [code, message];
      }
      return [];
    };
    expect(thrown(() => openKcore(join(folder, "none")))).toEqual([
      "NO_KCORE",
      expect.stringContaining("there is no"),
    ]);
    expect(thrown(() => openKcore("/dev/null"))).toEqual([
      "NO_KCORE",
      expect.stringContaining("/host/proc/kcore"),
    ]);
    expect(thrown(() => openKcore("", "darwin"))).toEqual([
      "NOT_ON_PLATFORM",
      expect.stringContaining("this is darwin"),
    ]);
  });

  it("any damage to its headers is refused or gives ranges that are disjoint", () => {
    const whole = writeElf(SEGMENTS, { notes: NOTES, machine: 62 });
    const headers = whole.slice(0, 64 + 6 * 56);
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(fc.integer({ min: 0, max: headers.length - 1 }), fc.integer({ min: 0, max: 255 })),
          {
            maxLength: 12,
          },
        ),
        (changes) => {
          const bytes = headers.slice();
          for (const [at, value] of changes) bytes[at] = value;
          try {
            const { pieces } = parseKcore(bytes, () => new Uint8Array(0), whole.length);
            let end = 0;
            for (const piece of pieces) {
              expect(piece.start).toBeGreaterThanOrEqual(end);
              expect(piece.end).toBeGreaterThan(piece.start);
              expect(piece.offset + piece.end - piece.start).toBeLessThanOrEqual(whole.length);
              end = piece.end;
            }
          } catch (error) {
            if (!(error instanceof KcoreProblem)) throw error;
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("is opened without a target, or says why not", async () => {
    let problem: { readonly code?: string; readonly message?: string } = {};
    try {
      await (await openTarget("kcore")).source.close?.();
    } catch (error) {
      if (!(error instanceof Error && "target" in error)) throw error;
      problem = error as typeof problem;
    }
    if (problem.code !== undefined) {
      expect(problem.code).toMatch(/^(NO_KCORE|NO_PERMISSION|LOCKED_DOWN|NOT_ON_PLATFORM)$/);
      expect(problem.message).toMatch(/^kcore: /);
      return;
    }
    // Most machines that run this have none, and need not load all that reads a kernel.
    const { open } = await import("../../../connectors/open.js");
    const machine = await open({ connector: "kcore" }, { kernel: "note" });
    try {
      expect(machine.kernel?.release ?? "none").toBe(
        readFileSync("/proc/sys/kernel/osrelease", "utf8").trim(),
      );
    } finally {
      await machine.close();
    }
  });
});
