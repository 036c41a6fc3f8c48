import { diffMaps, rootName, type VirtualMemory, type VirtualRange } from "../../src/paging/index.js";
import { statusOf } from "../errors.js";
import { DIFFERENCE_HEADING, differenceJson, differenceText } from "../render/difference.js";
import { toJson } from "../render/escape.js";
import { hex } from "../render/numbers.js";
import type { Session } from "../session.js";

/** `memtool maps --diff`. @returns the exit status. */
export async function mapsDiff(
  session: Session,
  memory: VirtualMemory,
  root: number,
  range: VirtualRange,
): Promise<number> {
  const { out, environment } = session;
  const json = session.options.json === true;
  const other = session.machine.rootSpace(root);
  let any = false;
  let unknown = 0;
  for await (const difference of diffMaps(memory, other, range)) {
    if (!any && !json) {
      const name =
        session.space.name === "kernel" ? `kernel (root ${rootName(memory.roots)})` : session.space.name;
      out.text(
        `- only in ${name}\n+ only in root ${hex(root)}\n~ in both, not the same\n? can't be told\n\n`,
      );
      out.text(`${environment.style.heading(DIFFERENCE_HEADING)}\n`);
    }
    any = true;
    if (difference.kind === "unknown") unknown++;
    out.text(json ? `${toJson(differenceJson(difference))}\n` : `${differenceText(difference)}\n`);
    await out.settle();
  }
  await out.flush();
  if (!any && !json) {
    session.warn(`no difference from ${hex(range.start)} to ${hex(range.end)}`);
  }
  if (unknown !== 0) {
    const ranges = unknown === 1 ? "1 range" : `${unknown} ranges`;
    session.warn(`${ranges} could not be compared: page tables are missing or malformed`);
  }
  // What was compared is an answer, whether it differs or not.
  return statusOf(true, unknown !== 0);
}
