/**
 * The beginning of a QEMU migration stream: its header and the CONFIGURATION section.
 *
 * Layout: QEMU's migration/savevm.c (`qemu_savevm_state_header`, `vmstate_configuration` and its subsections) and
 * migration/vmstate.c (`vmstate_subsection_save`). Big-endian throughout. The section has no length: a subsection that
 * is not known ends what can be read.
 */
import type { Routine } from "../../io/index.js";
import { FormatError } from "../errors.js";
import type { StreamWindow } from "./stream-window.js";

const VERSION = 3;
const CONFIGURATION = 0x07;
const SUBSECTION = 0x05;
/** Names of machines are a dozen characters. */
const MAX_NAME = 256;
const MAX_CAPABILITIES = 64;
/** Bytes that hold the header and all subsections. */
const HEAD = 65_536;

/** What a stream says of itself before its first section. */
export interface StreamConfig {
  /** `pc-i440fx-7.2`; `undefined` where the section is missing (machines before version 2.4). */
  readonly machine: string | undefined;
  /** Bytes of the pages that RAM is sent in. */
  readonly pageSize: number;
  /** Of those that change the stream: `x-ignore-shared`, `mapped-ram`. */
  readonly capabilities: ReadonlySet<string>;
  readonly uuid: string | undefined;
  /** File offset of what follows. */
  readonly end: number;
}

/** Reads it. @throws {FormatError} for a version that is not read, and for a section that makes no sense. */
export function* readConfig(window: StreamWindow): Routine<StreamConfig> {
  const file = window.file.name;
  const loaded = yield* window.load(0, Math.min(HEAD, window.file.size));
  const need = (end: number, field: string) => {
    if (end <= loaded) return;
    if (window.problem !== undefined) {
      throw new FormatError("UNREADABLE_DUMP", { file, offset: loaded, field }, window.problem);
    }
    throw new FormatError(
      "TRUNCATED_DUMP",
      { file, offset: loaded, field },
      "the stream ends before its first page; copy it again",
    );
  };
  const malformed = (offset: number, field: string, problem: string): never => {
    throw new FormatError("MALFORMED_DUMP", { file, offset, field }, problem);
  };
  need(8, "version");
  const version = window.u32(4);
  if (version !== VERSION) {
    throw new FormatError(
      "UNSUPPORTED_FORMAT",
      { file, offset: 4, field: "version" },
      `migration streams of version ${version} are not read, only ${VERSION} (QEMU 0.11 and later); save the memory anew`,
    );
  }
  let at = 8;
  let machine: string | undefined;
  let pageBits = 12;
  const capabilities = new Set<string>();
  let uuid: string | undefined;
  need(at + 1, "section type");
  if (window.u8(at) !== CONFIGURATION) return { machine, pageSize: 4096, capabilities, uuid, end: at };
  need(at + 5, "configuration");
  const length = window.u32(at + 1);
  if (length > MAX_NAME) malformed(at + 1, "configuration.len", `a machine's name of ${length} characters`);
  need(at + 5 + length, "configuration.name");
  machine = window.text(at + 5, length);
  at += 5 + length;
  for (;;) {
    need(at + 1, "section type");
    if (window.u8(at) !== SUBSECTION) break;
    need(at + 2, "subsection");
    const size = window.u8(at + 1);
    need(at + 2 + size + 4, "subsection");
    const name = window.text(at + 2, size);
    const start = at;
    at += 2 + size + 4;
    if (name === "configuration/target-page-bits") {
      need(at + 4, name);
      pageBits = window.u32(at);
      // The flags of records take ten bits; no target has pages of more than 64 KiB.
      if (pageBits < 10 || pageBits > 16) malformed(at, name, `pages of 2^${pageBits} bytes`);
      at += 4;
    } else if (name === "configuration/capabilities") {
      need(at + 4, name);
      const count = window.u32(at);
      if (count > MAX_CAPABILITIES) malformed(at, name, `${count} capabilities`);
      at += 4;
      for (let i = 0; i < count; i++) {
        need(at + 1, name);
        const characters = window.u8(at);
        need(at + 1 + characters, name);
        capabilities.add(window.text(at + 1, characters));
        at += 1 + characters;
      }
    } else if (name === "configuration/uuid") {
      need(at + 16, name);
      uuid = hexText(window, at);
      at += 16;
    } else {
      malformed(
        start,
        "subsection",
        `${JSON.stringify(name)} is a part of the configuration that memtool does not know`,
      );
    }
  }
  return { machine, pageSize: 2 ** pageBits, capabilities, uuid, end: at };
}

function hexText(window: StreamWindow, at: number): string {
  let text = "";
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += "-";
    text += window
      .u8(at + i)
      .toString(16)
      .padStart(2, "0");
  }
  return text;
}
