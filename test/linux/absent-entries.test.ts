import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linuxEntries } from "../../src/linux/entries/absent-entries.js";
import {
  ABSENT,
  type AbsentEntries,
  AbsentPage,
  ELSEWHERE,
  IN_RAM,
} from "../../src/paging/formats/absent-entries.js";
import type { MmuDef } from "../../src/paging/formats/mmu-def.js";
import {
  KERNEL_EXECUTABLE,
  READABLE,
  USER,
  USER_EXECUTABLE,
  WRITABLE,
} from "../../src/paging/formats/rights.js";
import {
  atLeast,
  ENTRY_WRITERS,
  type EntryWriter,
  type Release,
  type SwapConfig,
  swapDefines,
} from "../support/linux-entries.js";

const M32 = 0xffff_ffffn;

/** What `read` says of an entry. */
function readEntry(entries: AbsentEntries, level: number, entry: bigint) {
  const page = new AbsentPage();
  const answer = entries.read(level, Number(entry & M32) | 0, Number(entry >> 32n) | 0, page);
  const physical = (BigInt(page.hi >>> 0) << 32n) | BigInt(page.lo >>> 0);
  return { answer, physical, rights: page.rights };
}

function interpreterOf(writer: EntryWriter, release: Release, config?: SwapConfig): AbsentEntries {
  const { architecture, splits, entryBytes, address } = writer;
  const entries = linuxEntries({
    architecture,
    paging: { splits, entryBytes, address } as Pick<MmuDef, "splits" | "entryBytes" | "address">,
    release: `${release.join(".")}.0-test`,
    maxSwapFiles: config === undefined ? undefined : swapDefines(release, config).max,
  });
  if (entries === undefined) throw new Error("no interpreter");
  return entries;
}

const isX86 = ({ architecture }: EntryWriter) => architecture === "x86_64" || architecture === "i386";

/** The bytes that an entry of a level covers. */
function sizeAt({ splits }: EntryWriter, level: number): bigint {
  return 1n << BigInt(splits.slice(-level).reduce((sum, bits) => sum + bits, 0));
}

/** Physical addresses of pages of a level: up to 1 PiB on x86, whose complements are told by bit 50. */
function pageAt(writer: EntryWriter, level: number): fc.Arbitrary<bigint> {
  const size = sizeAt(writer, level);
  const bits = isX86(writer) ? Math.min(50, writer.physicalBits) : writer.physicalBits;
  return fc.bigInt(0n, (1n << BigInt(bits)) / size - 1n).map((number) => number * size);
}

const CONFIGS: readonly SwapConfig[] = [
  { memoryFailure: true, migration: true, devicePrivate: true, pteMarker: true },
  { memoryFailure: true, migration: true, devicePrivate: false, pteMarker: true },
  { memoryFailure: false, migration: true, devicePrivate: false, pteMarker: true },
];

const cases = ENTRY_WRITERS.flatMap((writer) =>
  writer.releases.map((release) => [`${writer.name}, Linux ${release.join(".")}`, writer, release] as const),
);
const levelOf = (writer: EntryWriter) => fc.integer({ min: 1, max: writer.maxLevel });

describe.each(cases)("entries that are not present: %s", (_name, writer, release) => {
  const entries = interpreterOf(writer, release, CONFIGS[0]);

  it("finds the page of a PROT_NONE entry at every level, with no rights", () => {
    fc.assert(
      fc.property(
        levelOf(writer).chain((level) => fc.tuple(fc.constant(level), pageAt(writer, level))),
        ([level, physical]) => {
          const entry = writer.protNone(release, level, physical);
          if (physical === 0n && isX86(writer)) {
            // Frame 0 is nobody's: a place that the kernel keeps free.
            expect(readEntry(entries, level, entry).answer).toBe(ABSENT);
            expect(entries.describe(level, entry)).toEqual({ kind: "absent", note: "kept free" });
            return;
          }
          expect(readEntry(entries, level, entry)).toEqual({ answer: IN_RAM, physical, rights: 0 });
          expect(entries.describe(level, entry)).toMatchObject({
            kind: "prot-none",
            physical: Number(physical),
          });
        },
      ),
    );
  });

  it("finds a large page whose entry is being changed, with its rights", () => {
    fc.assert(
      fc.property(
        levelOf(writer).chain((level) => fc.tuple(fc.constant(level), pageAt(writer, level))),
        fc.record({ writable: fc.boolean(), user: fc.boolean(), executable: fc.boolean() }),
        ([level, physical], rights) => {
          const entry = writer.invalidated(release, level, physical, rights);
          if (entry === undefined) return;
          if (isX86(writer) && !rights.user) {
            // No page of a user: one that the kernel took out of its own map.
            expect(readEntry(entries, level, entry).answer).toBe(ABSENT);
            return;
          }
          const executable = rights.executable || writer.entryBytes === 4;
          const expected =
            READABLE |
            (rights.writable ? WRITABLE : 0) |
            (rights.user ? USER : 0) |
            (executable ? USER_EXECUTABLE | KERNEL_EXECUTABLE : 0);
          expect(readEntry(entries, level, entry)).toEqual({ answer: IN_RAM, physical, rights: expected });
          expect(entries.describe(level, entry).note).toContain("with its rights");
        },
      ),
    );
  });

  it("names the pages that the kernel took out of its own map, which are not there", () => {
    fc.assert(
      fc.property(
        levelOf(writer).chain((level) => fc.tuple(fc.constant(level), pageAt(writer, level))),
        ([level, physical]) => {
          for (const entry of writer.unmapped(release, level, physical)) {
            expect(readEntry(entries, level, entry).answer).toBe(ABSENT);
            expect(entries.describe(level, entry)).toEqual({
              kind: "absent",
              physical: Number(physical),
              note: "taken out of the kernel's own map",
            });
          }
        },
      ),
    );
  });

  it("gives number and page of the swap area, whatever else is noted in the entry", () => {
    const bits = writer.offsetBits(release);
    const { max } = swapDefines(release, CONFIGS[0] as SwapConfig);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: max - 1 }),
        fc.bigInt(1n, (1n << BigInt(bits)) - 1n),
        fc.boolean(),
        (type, offset, noted) => {
          const flag = noted ? flagOf(writer, release) : undefined;
          const entry = writer.swap(release, BigInt(type), offset) | (flag?.bit ?? 0n);
          expect(readEntry(entries, 1, entry).answer).toBe(ELSEWHERE);
          expect(entries.describe(1, entry)).toEqual({
            kind: "swap",
            type,
            offset: Number(offset),
            ...(flag === undefined ? {} : { note: flag.name }),
          });
        },
      ),
    );
  });

  it.each(CONFIGS)("knows the kinds that have a swap area's number (%o)", (usual) => {
    // HAVE_ARCH_USERFAULTFD_WP, on which PTE_MARKER depended while it was an option, was of x86-64 alone then.
    const config = { ...usual, pteMarker: writer.architecture === "x86_64" };
    const { special } = swapDefines(release, config);
    const own = interpreterOf(writer, release, config);
    const frameBits = writer.physicalBits - (writer.splits.at(-1) as number);
    const bits = Math.min(writer.offsetBits(release), frameBits);
    fc.assert(
      fc.property(
        fc.constantFrom(...special),
        fc.bigInt(0n, (1n << BigInt(bits)) - 1n),
        ([name, number], frame) => {
          const entry = writer.swap(release, BigInt(number), frame);
          const physical = frame << BigInt(writer.splits.at(-1) as number);
          const { answer, ...page } = readEntry(own, 1, entry);
          const said = own.describe(1, entry);
          const write = name.endsWith("WRITE") || name === "DEVICE_EXCLUSIVE";
          expect(said.type).toBe(number);
          if (name.startsWith("MIGRATION") || name.startsWith("DEVICE_EXCLUSIVE")) {
            expect(answer).toBe(IN_RAM);
            expect(page).toEqual({ physical, rights: READABLE | USER | (write ? WRITABLE : 0) });
          } else if (name.startsWith("DEVICE")) {
            expect(answer).toBe(ELSEWHERE);
          } else {
            expect(answer).toBe(ABSENT);
          }
          const kind = name.startsWith("MIGRATION")
            ? "migration"
            : name.startsWith("DEVICE")
              ? "device"
              : name === "HWPOISON"
                ? "hwpoison"
                : "marker";
          expect(said.kind).toBe(kind);
          if (kind !== "marker") expect(said.physical).toBe(Number(physical));
          if (kind === "migration" || name.startsWith("DEVICE")) {
            expect(said.note?.includes("write")).toBe(name.endsWith("WRITE"));
            expect(said.note?.includes("exclusive")).toBe(name.includes("EXCLUSIVE"));
          }
        },
      ),
    );
  });

  it("answers anything at all without a wrong address, a throw, or another answer than the words of the entry give", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.bigInt(1n, (1n << 64n) - 1n), (level, random) => {
        // Zero is never asked about, nor what is present.
        const entry = (writer.entryBytes === 4 ? random & M32 : random) & ~1n || 2n;
        const { answer, physical } = readEntry(entries, level, entry);
        const said = entries.describe(level, entry);
        expect([ABSENT, IN_RAM, ELSEWHERE]).toContain(answer);
        if (answer === IN_RAM) {
          expect(level).toBeLessThanOrEqual(writer.maxLevel);
          expect(physical % sizeAt(writer, level)).toBe(0n);
          expect(physical < 1n << 52n).toBe(true);
          expect(said.physical).toBe(Number(physical));
        }
        if (answer === ELSEWHERE) expect(["swap", "device"]).toContain(said.kind);
        else expect(said.kind).not.toBe("swap");
      }),
    );
  });
});

/** A note that a kernel of this release can put into a swap entry, and which bit it is. */
function flagOf({ architecture, entryBytes, splits }: EntryWriter, release: Release) {
  if (architecture === "aarch64") {
    if (!atLeast(release, [5, 19])) return undefined;
    return atLeast(release, [6, 10])
      ? { bit: 8n, name: "write-protected by userfaultfd" }
      : { bit: 4n, name: "exclusive" };
  }
  if (architecture === "riscv64")
    return atLeast(release, [6, 3]) ? { bit: 64n, name: "exclusive" } : undefined;
  if (entryBytes === 4 || splits.length === 4)
    return atLeast(release, [6, 3]) ? { bit: 128n, name: "exclusive" } : undefined;
  if (!atLeast(release, [4, 14])) return { bit: 128n, name: "soft-dirty" };
  if (atLeast(release, [5, 19])) return { bit: 8n, name: "exclusive" };
  return atLeast(release, [5, 7])
    ? { bit: 4n, name: "write-protected by userfaultfd" }
    : { bit: 2n, name: "soft-dirty" };
}

describe("what a kernel's release does not tell", () => {
  const writer = ENTRY_WRITERS[0] as EntryWriter;
  const newer: Release = [4, 19];

  it("is seen in the entry: a 4.18 with the later complement of addresses is read right, and one without it", () => {
    fc.assert(
      fc.property(
        pageAt(writer, 1).filter((physical) => physical !== 0n),
        fc.bigInt(0n, 22n),
        fc.bigInt(1n, (1n << 40n) - 1n),
        (physical, type, offset) => {
          for (const release of ["4.18.0-553.el8.x86_64", "4.9.0-19-amd64", "4.14.336", ""]) {
            const entries = linuxEntries({
              architecture: "x86_64",
              paging: { splits: writer.splits, entryBytes: 8, address: [12, 51] },
              release,
              maxSwapFiles: release === "" ? undefined : 29,
            });
            for (const as of [newer, [4, 9] as const]) {
              const entry = writer.protNone(as, 1, physical);
              expect(readEntry(entries as AbsentEntries, 1, entry).physical).toBe(physical);
              const said = entries?.describe(1, writer.swap(as, type, offset));
              expect(said).toEqual({ kind: "swap", type: Number(type), offset: Number(offset) });
            }
          }
        },
      ),
    );
  });

  it("is nothing where the architecture is not known", () => {
    const paging = { splits: [9, 9, 9, 12], entryBytes: 8, address: [12, 51] } as const;
    expect(linuxEntries({ architecture: "ppc64", paging, release: "6.1.0" })).toBeUndefined();
  });
});

describe("what is in an entry besides", () => {
  const x86 = ENTRY_WRITERS[0] as EntryWriter;
  const config = CONFIGS[0] as SwapConfig;

  it("names what a marker says", () => {
    const entries = interpreterOf(x86, [6, 15], config);
    const number = BigInt(swapDefines([6, 15], config).special.get("PTE_MARKER") as number);
    const noteOf = (marker: bigint) => entries.describe(1, x86.swap([6, 15], number, marker));
    expect(noteOf(1n)).toEqual({
      kind: "marker",
      type: 31,
      offset: 1,
      note: "write-protected by userfaultfd",
    });
    expect(noteOf(2n).note).toBe("poisoned");
    expect(noteOf(4n).note).toBe("guard");
    expect(noteOf(3n).note).toBe("write-protected by userfaultfd, poisoned");
    expect(noteOf(8n).note).toBe("of no kind that is known");
  });

  it("keeps a migration's notes of access apart from its frame, since 6.1", () => {
    const entries = interpreterOf(x86, [6, 1], config);
    const number = BigInt(swapDefines([6, 1], config).special.get("MIGRATION_WRITE") as number);
    const frame = 0x12_3456n;
    const entry = x86.swap([6, 1], number, frame | (1n << 34n) | (1n << 35n));
    expect(readEntry(entries, 1, entry).physical).toBe(frame << 12n);
    expect(entries.describe(1, entry)).toMatchObject({
      kind: "migration",
      physical: Number(frame << 12n),
      note: "write, accessed, dirty",
    });
    const before = x86.swap([5, 19], number, frame | (1n << 34n));
    expect(readEntry(interpreterOf(x86, [5, 19], config), 1, before).physical).toBe(
      (frame | (1n << 34n)) << 12n,
    );
  });

  it("keeps them apart where a frame has fewer bits, too", () => {
    const pae = ENTRY_WRITERS.find(({ name }) => name === "x86 with PAE") as EntryWriter;
    const own = { ...config, pteMarker: false };
    const number = BigInt(swapDefines([6, 1], own).special.get("MIGRATION_READ") as number);
    const entry = pae.swap([6, 1], number, 0x1234n | (1n << 25n));
    const entries = interpreterOf(pae, [6, 1], own);
    expect(readEntry(entries, 1, entry)).toEqual({
      answer: IN_RAM,
      physical: 0x123_4000n,
      rights: READABLE | USER,
    });
    expect(entries.describe(1, entry).note).toBe("read, dirty");
  });

  it("says that it is a guess where only the release tells which kinds of entries the kernel has", () => {
    const { special } = swapDefines([6, 1], config);
    const entry = x86.swap([6, 1], BigInt(special.get("MIGRATION_READ") as number), 0x200n);
    const note = "read";
    expect(interpreterOf(x86, [6, 1], config).describe(1, entry)).toMatchObject({ kind: "migration", note });
    const guessing = interpreterOf(x86, [6, 1]);
    expect(guessing.describe(1, entry).note).toBe(`${note}, a guess by the release`);
    const marker = x86.swap([6, 1], BigInt(special.get("PTE_MARKER") as number), 1n);
    expect(guessing.describe(1, marker).note).toBe("write-protected by userfaultfd, a guess by the release");
    // What is a swap area is one in any kernel, but for the last few numbers.
    expect(guessing.describe(1, x86.swap([6, 1], 0n, 0x200n)).note).toBeUndefined();
  });

  it("is nothing where it has a number that no swap area can have", () => {
    const arm = ENTRY_WRITERS.find(({ architecture }) => architecture === "aarch64") as EntryWriter;
    const entries = interpreterOf(arm, [5, 10], config);
    const entry = arm.swap([5, 10], 40n, 5n);
    expect(readEntry(entries, 1, entry).answer).toBe(ABSENT);
    expect(entries.describe(1, entry)).toEqual({ kind: "absent", note: "no swap area has the number 40" });
  });

  it("takes the bit that says that a page is encrypted for no part of its address", () => {
    const entries = linuxEntries({
      architecture: "x86_64",
      paging: { splits: x86.splits, entryBytes: 8, address: [12, 51], notAddress: [47] },
      release: "6.1.0",
    }) as AbsentEntries;
    // pfn_pte: the mask of physical addresses has not the bit, so that it is not complemented.
    const entry = (x86.protNone([6, 1], 1, 0x1234_5000n) & ~(1n << 47n)) | (1n << 47n);
    expect(readEntry(entries, 1, entry).physical).toBe(0x1234_5000n);
    expect(readEntry(entries, 1, entry & ~(1n << 47n)).physical).toBe(0x1234_5000n);
  });

  it("is nothing of a large page's frame that is not aligned, nor of one beyond 52 bits", () => {
    const entries = interpreterOf(x86, [6, 1], config);
    const number = BigInt(swapDefines([6, 1], config).special.get("MIGRATION_READ") as number);
    expect(readEntry(entries, 2, x86.swap([6, 1], number, 0x200n)).answer).toBe(IN_RAM);
    expect(readEntry(entries, 2, x86.swap([6, 1], number, 0x201n)).answer).toBe(ABSENT);
    expect(readEntry(entries, 3, x86.swap([6, 1], number, 0x200n)).answer).toBe(ABSENT);
    expect(readEntry(entries, 3, x86.swap([6, 1], number, 0x4_0000n)).answer).toBe(IN_RAM);
    const old = interpreterOf(x86, [5, 19], config);
    expect(readEntry(old, 1, x86.swap([5, 19], number, 1n << 40n)).answer).toBe(ABSENT);
  });
});
