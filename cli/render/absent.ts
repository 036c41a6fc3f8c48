/** Entries that the processor calls not present, and what the operating system keeps in them: for people and for programs. */
import type { AbsentEntry } from "../../src/paging/index.js";
import { hex } from "./numbers.js";

/** As `--json` has it: an address as a string, the rest as it is. */
export function absentJson({ kind, type, offset, physical, note }: AbsentEntry): Record<string, unknown> {
  return {
    kind,
    ...(type === undefined ? {} : { type }),
    ...(offset === undefined ? {} : { offset }),
    ...(physical === undefined ? {} : { physical: hex(physical) }),
    ...(note === undefined ? {} : { note }),
  };
}

/** In words, behind a state: `swap type 0, offset 0x63 (exclusive)`. */
export function absentText(entry: AbsentEntry): string {
  const { kind, note, physical } = entry;
  if (kind === "absent" && note !== undefined) {
    return physical === undefined ? note : `${note}, where its frame was ${hex(physical)}`;
  }
  const text = mainText(entry);
  if (note === undefined) return text;
  return entry.kind === "swap" ? `${text} (${note})` : `${text}: ${note}`;
}

function mainText({ kind, type, offset, physical }: AbsentEntry): string {
  const at = physical === undefined ? "" : ` at ${hex(physical)}`;
  switch (kind) {
    case "absent":
      return "of no meaning that is known";
    case "prot-none":
      return "in RAM";
    case "swap":
      return `swap type ${type}, offset ${hex(offset ?? 0)}`;
    case "migration":
      return `being moved from its frame${at}`;
    case "hwpoison":
      return `its frame${at} has failed`;
    case "device":
      return "with a device";
    case "marker":
      return "no page, a note";
  }
}

/** What to do about a page in a swap area that was not given. @param given Whether the areas of other numbers were. */
export function swapHint(where: string, { type, offset }: AbsentEntry, given: boolean): string {
  const area = given ? `--swap ${type}=FILE` : "--swap FILE";
  return (
    `${where} is page ${hex(offset ?? 0)} of swap area ${type}: give that area's file with ${area} ` +
    "(zram has none: its pages lie compressed in RAM)"
  );
}
