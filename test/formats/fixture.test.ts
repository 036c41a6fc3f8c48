import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { openFile } from "../../connectors/file.js";
import { nodeDecoders } from "../../connectors/node-decoders.js";
import { dumpFile, openDump } from "../../src/formats/index.js";
import { all, readInto, readPartial, SourceIo } from "../../src/io/index.js";

const path = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
const dump = path("linux-6.1-x86_64.kdump");
const truthFile = path("linux-6.1-x86_64.truth.json");

/** What the script that wrote the dump noted of it (fixtures/README.md). */
interface Truth {
  readonly vmcoreinfo: { readonly text: string };
  readonly fixture: {
    readonly pagesInRam: number;
    readonly pagesStored: number;
    readonly leftOut: readonly { readonly start: string; readonly end: string }[];
    readonly pages: readonly { readonly physical: string; readonly sha256: string }[];
  };
}

describe.skipIf(!existsSync(dump))("the committed dump of a real kernel", () => {
  const truth = JSON.parse(existsSync(truthFile) ? readFileSync(truthFile, "utf8") : "{}") as Truth;
  const open = () => {
    const source = openFile(dump);
    const io = new SourceIo(source);
    return { io, image: openDump(dumpFile(io, source.size, source.name), { decoders: nodeDecoders }).sync() };
  };

  it("its pages are those that the guest's memory had", async () => {
    const { io, image } = open();
    const before = io.counters.batches;
    const pages = await all(
      truth.fixture.pages.map(({ physical }) => readInto(image.io, Number(physical), 4096)),
    );
    expect(io.counters.batches - before).toBe(2);
    expect(pages.map((bytes) => createHash("sha256").update(bytes).digest("hex"))).toEqual(
      truth.fixture.pages.map(({ sha256 }) => sha256),
    );
  });

  it("its map is what the writer stored and left out, and reads agree with it", () => {
    const { image } = open();
    const { pagesInRam, pagesStored, leftOut } = truth.fixture;
    expect(image.map.bytesPresent).toBe(pagesStored * 4096);
    expect(image.map.bytesExcluded).toBe((pagesInRam - pagesStored) * 4096);
    for (const { start, end } of leftOut) {
      const [from, to] = [Number(start), Number(end)];
      expect(image.map.stateOf(from)).toBe("excluded");
      expect(image.map.stateOf(to - 1)).toBe("excluded");
      expect(readPartial(image.io, from, to - from).sync().holes).toMatchObject([
        { start: 0, end: to - from, state: "excluded" },
      ]);
    }
    expect(image.map.stateOf(pagesInRam * 4096)).toBe("outside");
  });

  it("its notes have VMCOREINFO and the CPU's registers", () => {
    const { image } = open();
    expect(new TextDecoder().decode(image.notes.vmcoreinfo)).toContain(truth.vmcoreinfo.text.slice(0, 1000));
    expect(image.notes.cpus).toHaveLength(1);
    expect(image.notes.cpus[0]?.registers.cr3).toBeGreaterThan(0n);
    expect(image.warnings).toEqual([]);
  });
});
