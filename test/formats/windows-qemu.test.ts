/** Dumps that QEMU wrote (`dump-guest-memory -w`); `fixtures/make-windows.mjs` had it do so. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readInto } from "../../src/io/index.js";
import { openBytes } from "../support/dump.js";

const PAGE = 4096;

interface Truth {
  readonly dumps: readonly {
    readonly file: string;
    readonly bits: 32 | 64;
    readonly contextPage: number;
    readonly rip: string;
    readonly runs: readonly { readonly page: number; readonly count: number; readonly sha256: string }[];
  }[];
}

const read = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url)));
const truth = JSON.parse(new TextDecoder().decode(read("windows-qemu-7.2.truth.json"))) as Truth;

describe.each(truth.dumps)(
  "a Windows dump of $bits bits by QEMU",
  ({ file, bits, contextPage, rip, runs }) => {
    const image = openBytes(read(file));

    it("has the runs that the header says, nothing else, and nothing to warn of", () => {
      expect(image.warnings).toEqual([]);
      expect([...image.map.ranges()]).toEqual(
        runs.map(({ page, count }) => ({ start: page * PAGE, end: (page + count) * PAGE, state: "present" })),
      );
    });

    it("has the pages that the machine's memory had", () => {
      const others = runs.filter(({ page }) => page !== contextPage);
      expect(others).toHaveLength(2);
      for (const { page, count, sha256 } of others) {
        const bytes = readInto(image.io, page * PAGE, count * PAGE).sync();
        expect(createHash("sha256").update(bytes).digest("hex")).toBe(sha256);
      }
    });

    it("has the CONTEXT that QEMU wrote into its memory, for the dump alone", () => {
      const bytes = readInto(image.io, contextPage * PAGE, PAGE).sync();
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      expect(bits === 64 ? view.getBigUint64(0xf8, true) : BigInt(view.getUint32(0xb8, true))).toBe(
        BigInt(rip),
      );
    });

    it("shows what QEMU filled into the header", () => {
      expect(image.details).toMatchObject({
        DumpType: "1 (full)",
        PfnDataBase: "0x310000",
        KdDebuggerDataBlock: "0x300000",
        BugCheckCode: "0xd1",
        BugCheckParameter1: "0x11",
        BugCheckParameter2: "0x22",
        BugCheckParameter3: "0x33",
        BugCheckParameter4: "0x44",
        RequiredDumpSpace: (bits === 64 ? 0x2000 : 0x1000) + 4 * PAGE,
        SystemTime: "2021-03-04T01:06:07.890Z",
      });
      expect(image.notes).toEqual({ cpus: [], architecture: bits === 64 ? "x86_64" : "i386" });
    });
  },
);
