import { rootName, type VirtualMemory, type VirtualRange } from "../../src/paging/index.js";
import { statusOf } from "../errors.js";
import { MapCells } from "../map-cells.js";
import { escapeText } from "../render/escape.js";
import { mapsSvg } from "../render/maps-svg.js";
import { bytesText, within } from "../render/numbers.js";
import type { Session } from "../session.js";
import { writeWhole } from "../write-file.js";

/** `memtool maps --svg`. @returns the exit status. */
export async function mapsPicture(
  session: Session,
  memory: VirtualMemory,
  range: VirtualRange,
  path: string,
): Promise<number> {
  const { machine, space } = session;
  const drawn = new MapCells();
  for await (const runs of memory.runBatches(range)) drawn.take(runs);
  const cells = drawn.cells();
  let mapped = 0;
  let unknown = 0;
  for (const [key, pages] of drawn.totals) {
    const content = drawn.contents.get(key);
    if (content?.access !== undefined) mapped += pages;
    else if (content?.swapped !== true) unknown += pages;
  }
  const size = bytesText(BigInt(mapped) * 4096n);
  const kernel = space.name === "kernel" ? `kernel, root ${rootName(memory.roots)}` : space.name;
  const svg = mapsSvg(
    { cells, contents: drawn.contents, totals: drawn.totals, start: Number(BigInt(range.start) >> 12n) },
    {
      title: `Address space in ${machine.name.replace(/^file:/, "")}`,
      subtitle: `${kernel}: ${size} mapped${within(range)}`,
    },
  );
  writeWhole(path, svg);
  if (session.options.json !== true) session.out.text(`${escapeText(path)}: ${size} mapped\n`);
  await session.out.flush();
  if (unknown !== 0) {
    session.warn(
      `${bytesText(BigInt(unknown) * 4096n)} could not be told of: page tables are missing or malformed (maps shows which)`,
    );
  }
  return statusOf(mapped !== 0, unknown !== 0);
}
