import { describe, expect, it } from "vitest";
import { open } from "../../../connectors/open.js";
import { readSwapTypes, swapTypeFacts } from "../../../src/linux/swap/read-swap-types.js";
import { type SwapTypeKind, swapTypesOf } from "../../../src/linux/swap/swap-types.js";
import { parseSystemMap } from "../../../src/linux/symbols/system-map.js";
import { encodeText } from "../../../src/memory/index.js";
import { type Release, swapDefines } from "../../support/linux-entries.js";

const RELEASES: readonly Release[] = [
  [3, 10],
  [4, 9],
  [4, 14],
  [5, 10],
  [5, 14],
  [5, 19],
  [6, 0],
  [6, 1],
  [6, 2],
  [6, 12],
  [6, 15],
];
const BOTH = [true, false];
const cases = RELEASES.flatMap((release) =>
  BOTH.flatMap((memoryFailure) =>
    BOTH.flatMap((migration) =>
      BOTH.filter((devicePrivate) => migration || !devicePrivate).map((devicePrivate) => ({
        release,
        memoryFailure,
        migration,
        devicePrivate,
      })),
    ),
  ),
);

/** The macros' numbers by the names that we have for them. */
function expected(release: Release, config: Parameters<typeof swapDefines>[1]): SwapTypeKind[] {
  const { max, special } = swapDefines(release, config);
  const kinds = Array.from({ length: 32 }, () => "swap" as SwapTypeKind);
  for (const [name, number] of special) {
    const kind = name
      .toLowerCase()
      .replaceAll("_", "-")
      .replace("pte-marker", "marker")
      .replace(/^device-(write|read)$/, "device-private-$1");
    kinds[number] = kind as SwapTypeKind;
  }
  expect(kinds.slice(0, max).every((kind) => kind === "swap")).toBe(true);
  return kinds;
}

describe("what the numbers of swap areas stand for", () => {
  it.each(cases)(
    "follows from the functions and the room for swap_info ($release, $memoryFailure, $migration, $devicePrivate)",
    (one) => {
      const { release, memoryFailure, migration, devicePrivate } = one;
      for (const architecture of ["x86_64", "aarch64", "i386"]) {
        const config = { memoryFailure, migration, devicePrivate, pteMarker: architecture === "x86_64" };
        const kinds = expected(release, config);
        const { max } = swapDefines(release, config);
        const facts = {
          release: `${release.join(".")}.7`,
          architecture,
          memoryFailure,
          migration,
          devicePrivate,
          userfaultfd: true,
        };
        expect(swapTypesOf(facts)).toMatchObject({ kinds, from: "functions", warning: undefined });
        const pointerBytes = architecture === "i386" ? 4 : 8;
        for (const align of [1, 8, 32, 64]) {
          const bytes = Math.ceil((max * pointerBytes) / align) * align;
          const found = swapTypesOf({ ...facts, swapInfo: { bytes, pointerBytes } });
          expect(found, `${architecture} ${bytes}`).toMatchObject({
            kinds,
            maxSwapFiles: max,
            from: "swap_info",
          });
        }
        expect(swapTypesOf({ ...facts, maxSwapFiles: max })).toMatchObject({ kinds, from: "given" });
      }
    },
  );

  it("is a guess where a function is not known that counts, or the release isn't", () => {
    const facts = { architecture: "x86_64", memoryFailure: true, migration: true, devicePrivate: true };
    const from = (more: object) => swapTypesOf({ ...facts, release: "6.1.0", ...more }).from;
    expect(from({ userfaultfd: true })).toBe("functions");
    expect(from({})).toBe("release");
    expect(from({ architecture: "aarch64" })).toBe("functions");
    expect(from({ release: "6.12.0" })).toBe("functions");
    expect(from({ release: "", userfaultfd: true })).toBe("release");
    for (const name of ["memoryFailure", "migration", "devicePrivate"])
      expect(from({ userfaultfd: true, [name]: undefined })).toBe("release");
  });

  it("is told by the room alone where no function is known, on a kernel with all of them or none of DEVICE_PRIVATE", () => {
    for (const release of RELEASES) {
      for (const devicePrivate of BOTH) {
        const config = { memoryFailure: true, migration: true, devicePrivate, pteMarker: true };
        const { max } = swapDefines(release, config);
        const found = swapTypesOf({
          release: release.join("."),
          architecture: "x86_64",
          swapInfo: { bytes: max * 8, pointerBytes: 8 },
        });
        expect(found.kinds).toEqual(expected(release, config));
      }
    }
  });

  it("is guessed by the release, with a warning, where the room fits none of its configurations", () => {
    const facts = { release: "6.12.1", architecture: "x86_64", swapInfo: { bytes: 4000, pointerBytes: 8 } };
    const found = swapTypesOf(facts);
    expect(found.from).toBe("release");
    expect(found.warning).toContain("swap_info has 4000 bytes, which fits no configuration of Linux 6.12.1");
    expect(found.maxSwapFiles).toBe(23);
    const given = swapTypesOf({ ...facts, maxSwapFiles: 3 });
    expect(given).toMatchObject({ from: "release", maxSwapFiles: 23 });
    expect(given.warning).toContain("3 swap areas");
    expect(() => swapTypesOf({ ...facts, maxSwapFiles: 0 })).toThrow(RangeError);
    expect(() => swapTypesOf({ ...facts, maxSwapFiles: 33 })).toThrow(RangeError);
  });

  it("takes what Red Hat's 5.14 brought back from later releases into account", () => {
    const last = (release: string, userfaultfd?: boolean) =>
      swapTypesOf({
        release,
        architecture: "x86_64",
        memoryFailure: true,
        migration: true,
        devicePrivate: false,
        userfaultfd,
      }).kinds.slice(27);
    expect(last("5.14.0-70.el9.x86_64")).toEqual([
      "swap",
      "swap",
      "hwpoison",
      "migration-read",
      "migration-write",
    ]);
    const later = ["hwpoison", "migration-read", "migration-read-exclusive", "migration-write", "marker"];
    expect(last("5.14.0-284.11.1.el9_2.x86_64")).toEqual(later);
    expect(last("5.14.0-503.el9.x86_64")).toEqual(later);
    // Without userfaultfd, markers came with 6.2's, which has them always.
    expect(last("5.14.0-440.el9.x86_64", false).at(-1)).toBe("migration-write");
    expect(last("5.14.0-441.el9.x86_64", false)).toEqual(later);
    expect(last("5.14.0-503-generic").slice(0, 2)).toEqual(["swap", "swap"]);
  });
});

describe("a kernel's symbols", () => {
  it("of the committed dump leave 27 numbers for swap areas", async () => {
    const machine = await open("fixtures/linux-6.1-x86_64.kdump");
    try {
      const linux = await machine.linux();
      const types = await readSwapTypes(linux, "x86_64");
      // Its configuration (Debian's cloud flavour): MIGRATION and PTE_MARKER; no MEMORY_FAILURE, no DEVICE_PRIVATE.
      const config = { memoryFailure: false, migration: true, devicePrivate: false, pteMarker: true };
      expect(types).toEqual({
        maxSwapFiles: 27,
        kinds: expected([6, 1], config),
        from: "swap_info",
        warning: undefined,
      });
    } finally {
      await machine.close();
    }
  });

  it("without variables leave the functions, and none at all nothing", () => {
    const { kallsyms } = parseSystemMap(encodeText("00000010 T memory_failure\n"));
    const facts = swapTypeFacts(kallsyms, "6.12.0", "i386");
    expect(facts).toEqual({
      release: "6.12.0",
      architecture: "i386",
      swapInfo: undefined,
      memoryFailure: true,
      migration: false,
      devicePrivate: false,
      userfaultfd: false,
    });
    expect(swapTypesOf(facts).kinds.slice(29)).toEqual(["swap", "hwpoison", "marker"]);
  });
});
