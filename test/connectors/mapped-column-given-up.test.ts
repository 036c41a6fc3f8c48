import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { mapFileWith } from "../../connectors/mapped-file.js";
import { sendColumn } from "../../src/io/column.js";
import { Packet, type PacketIo, Scheduler, SourceIo } from "../../src/io/index.js";
import { PhysicalMap, PhysicalMemory } from "../../src/memory/index.js";
import { pattern } from "../support/bytes.js";
import { columnOf } from "../support/columns.js";

const dir = mkdtempSync(join(tmpdir(), "rr-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

it("MappedIo.sendColumn: nothing lands in the memory of a caller who gave up", async () => {
  const path = join(dir, "a");
  writeFileSync(path, pattern(300_000, 1));
  const source = await mapFileWith(path, {}, { windowBytes: 65_536 });
  const io = new SourceIo(source, new Scheduler());
  const layer = source.inline(io) as PacketIo<number>;
  for (const target of [layer, new PhysicalMemory(layer, { map: PhysicalMap.single(0, 300_000) })]) {
    // inside, across a window's end, inside
    const column = columnOf([10, 65_536 - 4, 20], 8);
    const packet = Packet.reading(24);
    let told = 0;
    const view = packet.view().bind({
      onFragment: () => {
        told++;
        if (told > 1) return;
        packet.giveUp();
        packet.bytes.fill(0x77);
      },
    });
    view.keep();
    sendColumn(target as PacketIo<never>, column, 0, view);
    expect([...packet.bytes]).toEqual(new Array(24).fill(0x77));
  }
  await io.close();
});
