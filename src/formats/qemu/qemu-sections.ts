/**
 * The sections of a migration stream, up to the end of RAM.
 *
 * Layout: QEMU's migration/savevm.c (`save_section_header`, `save_section_footer`, `qemu_loadvm_state_main`). A section is
 * a type, a number, for the first of it a name, instance and version, and its content, whose length is nowhere: only who
 * knows a device can tell where it ends. Since machine version 2.4 a footer follows, 0x7e and the number again, so
 * content that is not known is skipped by looking for it, with a header behind it that makes sense. Devices come after
 * RAM, as a rule: with the last section of RAM the stream is read.
 */
import { hex, type Routine } from "../../io/index.js";
import type { StreamWindow } from "./stream-window.js";

const EOF = 0x00;
const START = 0x01;
const PART = 0x02;
const END = 0x03;
const FULL = 0x04;
const VMDESCRIPTION = 0x06;
const COMMAND = 0x08;
const FOOTER = 0x7e;

/** Bytes that hold any section's header. */
const HEADER = 1 + 4 + 1 + 255 + 4 + 4;
/** Bytes of a window in which a footer is looked for. */
const SEARCH = 65_536;

/** Devices that send before RAM ends are a handful. */
const MAX_SECTIONS = 65_536;
/** Names of skipped sections to tell. */
const MAX_NAMED = 10;

/** How the content of a section ended, and where. */
export interface SectionEnd {
  readonly position: number;
  /** Why nothing more can be read. */
  readonly cut?: string | undefined;
}

/** Reads the sections that hold RAM. */
export interface RamSections {
  /** The first one, with the list of blocks; content begins at `position`. */
  begin(position: number): Routine<SectionEnd>;
  /** Pages. */
  pages(position: number): Routine<SectionEnd>;
}

/** What became of the stream. */
export interface StreamEnd {
  /** Whether all of RAM was sent. */
  readonly complete: boolean;
  /** Whether RAM's last section was read: background snapshots are complete without one. */
  readonly last: boolean;
  /** Why not, and where. */
  readonly cut: string | undefined;
  readonly position: number;
  /** Whether there is a section of RAM at all. */
  readonly found: boolean;
  /** Names of sections before the end of RAM that memtool skipped. */
  readonly skipped: readonly string[];
}

/** Reads sections from a file offset on. */
export function* readSections(window: StreamWindow, from: number, ram: RamSections): Routine<StreamEnd> {
  const names = new Map<number, string>();
  const skipped = new Set<string>();
  let position = from;
  let ramId: number | undefined;
  let type = EOF;
  const ended = (complete: boolean, cut?: string): StreamEnd => ({
    complete,
    last: complete && type === END,
    cut: cut === undefined ? undefined : `${cut}, at file offset ${hex(position)}`,
    position,
    found: ramId !== undefined,
    skipped: [...skipped],
  });
  for (;;) {
    const loaded = yield* window.load(position, HEADER);
    const short = (length: number) => loaded < length;
    if (short(1)) return ended(false, "the stream ends before the end of RAM");
    const before = type;
    type = window.u8(position);
    if (type === EOF) {
      if (ramId === undefined) return ended(false, "the stream holds no RAM");
      // Background snapshots send no last section of RAM, but devices behind it. Zeros behind RAM are a file that was not
      // written to its end.
      return before === FULL
        ? ended(true)
        : ended(false, "the end of the stream before the last section of RAM");
    }
    if (type === COMMAND || type === VMDESCRIPTION) {
      const head = 5;
      if (short(head)) return ended(false, "the stream ends in a command");
      position += head + (type === COMMAND ? window.u16(position + 3) : window.u32(position + 1));
      continue;
    }
    if (type !== START && type !== PART && type !== END && type !== FULL) {
      return ended(false, `${hex(type)} is no type of a section`);
    }
    if (short(5)) return ended(false, "the stream ends in a section's header");
    const id = window.u32(position + 1);
    let content = position + 5;
    if (type === START || type === FULL) {
      const length = short(6) ? 255 : window.u8(position + 5);
      if (short(6 + length + 8)) return ended(false, "the stream ends in a section's header");
      const name = window.text(position + 6, length);
      names.set(id, name);
      if (names.size > MAX_SECTIONS)
        return ended(false, `more than ${MAX_SECTIONS} sections before the end of RAM`);
      content += 1 + length + 8;
      if (type === START && id === ramId) return ended(false, "RAM begins a second time");
      if (name === "ram" && type === START && ramId === undefined) ramId = id;
    }
    if (id !== ramId || type === FULL) {
      const name = names.get(id) ?? `number ${id}`;
      const footer = yield* findFooter(window, content, id, names);
      if (footer === undefined) {
        return ended(
          false,
          `the section ${name} before the end of RAM can't be skipped: the stream ends in it, or has no footers`,
        );
      }
      if (skipped.size < MAX_NAMED) skipped.add(name);
      position = footer;
      continue;
    }
    const end = yield* type === START ? ram.begin(content) : ram.pages(content);
    position = end.position;
    if (end.cut !== undefined) return ended(false, end.cut);
    if (type === END) return ended(true);
    const rest = yield* window.load(position, 5);
    if (rest > 0 && window.u8(position) === FOOTER) {
      if (rest < 5) return ended(false, "the stream ends in a section's footer");
      if (window.u32(position + 1) !== id) {
        return ended(false, `a footer of section ${window.u32(position + 1)} behind section ${id}`);
      }
      position += 5;
    }
  }
}

/** The file offset behind a section's footer. @param from Where its content begins. */
function* findFooter(
  window: StreamWindow,
  from: number,
  id: number,
  names: ReadonlyMap<number, string>,
): Routine<number | undefined> {
  const length = 5 + HEADER;
  for (let at = from; ; ) {
    const loaded = yield* window.load(at, SEARCH);
    if (loaded < 6) return undefined;
    // At the file's end what follows a footer may be shorter than a header.
    const last = loaded < SEARCH ? at + loaded - 6 : at + loaded - length;
    for (; at <= last; at++) {
      if (window.u8(at) !== FOOTER || window.u32(at + 1) !== id) continue;
      if (isHeader(window, at + 5, names)) return at + 5;
    }
  }
}

/** Whether a section's header can be at a file offset. */
function isHeader(window: StreamWindow, at: number, names: ReadonlyMap<number, string>): boolean {
  const room = window.start + window.bytes.length - at;
  const type = window.u8(at);
  if (type === EOF) return true;
  if (room < 5) return false;
  if (type === COMMAND) return true;
  if (type === PART || type === END) return names.has(window.u32(at + 1));
  if ((type !== START && type !== FULL) || room < 6) return false;
  const length = window.u8(at + 5);
  if (length === 0 || room < 6 + length + 8) return false;
  for (let i = 0; i < length; i++) {
    const character = window.u8(at + 6 + i);
    if (character < 0x20 || character > 0x7e) return false;
  }
  return true;
}
