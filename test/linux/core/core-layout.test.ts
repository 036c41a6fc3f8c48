/** Headers of cores with very many segments. readelf is the judge. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { run } from "../../../fixtures/vm/tools.mjs";
import { abiOfProcess } from "../../../src/linux/core/core-abi.js";
import { CoreLayout } from "../../../src/linux/core/core-layout.js";
import type { LinuxKernel } from "../../../src/linux/index.js";
import { testFolder } from "../../support/cli-dump.js";
import { skipIfMissing } from "../../support/missing.js";
import { CoreFile } from "../../support/read-core.js";

const { folder } = testFolder();

/** A core of many pieces of 16 bytes, each with its number in it, and a gap behind each. */
function coreWith(pieces: number, architecture: "x86_64" | "i386", ranges: number): Buffer {
  const abi = abiOfProcess({ architecture } as LinuxKernel, undefined, undefined);
  const layout = new CoreLayout(abi, new Uint8Array(0), ranges, 16);
  const written: { offset: number; bytes: Uint8Array }[] = [];
  for (let i = 0; i < pieces; i++) {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt32LE(i, 0);
    const range = Math.floor((i * ranges) / pieces);
    written.push({ offset: layout.place(range, 0x10_0000n + BigInt(32 * i), 16, 4 | (i & 3)), bytes });
  }
  written.push(...layout.finish());
  const file = Buffer.alloc(layout.size);
  for (const { offset, bytes } of written) file.set(bytes, offset);
  return file;
}

describe("a core of very many segments", () => {
  // One more is that of the notes; 65,535 and more are told by the first section.
  for (const [pieces, architecture, ranges, list] of [
    [65_533, "x86_64", 10, false],
    [65_534, "x86_64", 10, true],
    [66_000, "i386", 66_000, false],
  ] as const)
    it(`is what readelf says of it: ${pieces}, ${architecture}, of ${ranges} ranges`, async (context) => {
      const bytes = coreWith(pieces, architecture, ranges);
      const path = join(folder, `core.${architecture}.${pieces}`);
      writeFileSync(path, bytes);
      const core = new CoreFile(bytes);
      expect(core.segments).toHaveLength(pieces);
      for (const i of [0, 1, 12_345, pieces - 1]) {
        const at = 0x10_0000n + BigInt(32 * i);
        expect(core.read(at, 16)?.readUInt32LE(0)).toBe(i);
        expect(core.read(at + 16n, 1)).toBeUndefined();
      }
      let said: string;
      try {
        said = await run("readelf", [list ? "-hlW" : "-hW", path]);
      } catch (error) {
        return skipIfMissing(context, error);
      }
      const told = /Number of program headers: +(?:65535 \()?(\d+)/.exec(said);
      expect(told?.[1]).toBe(String(pieces + 1));
      if (!list) return;
      const loads = [...said.matchAll(/^ +LOAD +0x([0-9a-f]+) 0x[0-9a-f]+ \S+ (0x000010 0x000010) R/gm)];
      expect(loads.map(([, offset]) => Number(`0x${offset}`))).toEqual(
        core.segments.map(({ offset }) => offset),
      );
    });
});
