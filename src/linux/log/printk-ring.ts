/**
 * The kernel's log since Linux 5.10 (896fbe20b4e2): a ring of descriptors, a ring of facts about them, a ring of text.
 *
 * Facts: kernel/printk/printk_ringbuffer.h (`struct printk_ringbuffer`, `prb_desc_ring`, `prb_data_ring`, `printk_info`; DESC_…),
 * kernel/printk/printk_ringbuffer.c (`get_desc_state`, `get_data`), include/linux/dev_printk.h (`dev_printk_info`).
 */
import { all, type Routine, type Sink } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "../objects/damage.js";
import { pointersAt, pointersIn } from "../objects/pointers.js";
import { textAt } from "../objects/record.js";
import type { LogLayout } from "./log-layout.js";
import { callerText, type LogRecord, logText } from "./log-record.js";

/** A log buffer has up to 2^25 bytes (CONFIG_LOG_BUF_SHIFT), and `log_buf_len=` up to 2^31; descriptors are 32 times fewer. */
const MAX_SIZE_BITS = 31;
const MAX_COUNT_BITS = 26;
/** Records at a time. */
const GROUP = 1024;
/** States of a descriptor, in the two highest bits of its number: those that can be read. */
const COMMITTED = 1;
const FINALIZED = 2;
/** Longest text: printk's are up to 1 KiB, those of /dev/kmsg up to 992 bytes; longer ones are of several. */
const MAX_TEXT = 65_536;

interface Ring {
  readonly memory: AddressSpace;
  readonly layout: LogLayout;
  readonly wordBits: number;
  readonly countBits: number;
  readonly descs: bigint;
  readonly infos: bigint;
  readonly head: bigint;
  readonly tail: bigint;
  readonly textBits: number;
  readonly text: bigint;
}

/**
 * Gives all records, the oldest first: as many as have room for their texts in the ring.
 *
 * @param at Address of the `printk_ringbuffer`.
 * @throws {TypesError} if its layout is not known, or can't be.
 */
export function* readPrintkRing(
  sink: Sink<LogRecord>,
  memory: AddressSpace,
  layout: LogLayout,
  at: bigint,
  report: OnDamage,
): Routine<void> {
  const ring = yield* readRing(memory, layout, at, report);
  if (ring === undefined) return;
  // Numbers count up, and wrap within the bits that states leave.
  const mask = (1n << BigInt(ring.wordBits - 2)) - 1n;
  const count = Number(((ring.head - ring.tail) & mask) + 1n);
  if (count > 2 ** ring.countBits) {
    report(
      damage("the kernel's log", at, "invalid", 0, `${count} records of at most ${2 ** ring.countBits}`),
    );
    return;
  }
  const room = { left: 2 ** ring.textBits };
  for (let first = 0; first < count; first += GROUP) {
    const numbers = Array.from(
      { length: Math.min(GROUP, count - first) },
      (_, i) => (ring.tail + BigInt(first + i)) & mask,
    );
    for (const record of yield* readRecords(ring, numbers, room, report)) yield sink.emit(record);
    if (room.left < 0) {
      report(
        damage("the kernel's log", at, "too long", 0, "its records have more text than there is room for"),
      );
      return;
    }
  }
}

/** Reads and checks the ring itself. */
function* readRing(
  memory: AddressSpace,
  layout: LogLayout,
  at: bigint,
  report: OnDamage,
): Routine<Ring | undefined> {
  const size = layout.size("printk_ringbuffer");
  const { bytes, holes } = yield* memory.readPartial(at, Math.min(size, 4096));
  if (holes[0] !== undefined) {
    report(damage("the kernel's log", at, "unreadable", holes[0].fault));
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const { littleEndian, pointerSize } = memory.abi;
  const desc = layout.offset("printk_ringbuffer", "desc_ring", layout.size("prb_desc_ring"));
  const data = layout.offset("printk_ringbuffer", "text_data_ring", layout.size("prb_data_ring"));
  const pointer = (offset: number) =>
    pointersIn(memory, bytes.subarray(offset, offset + pointerSize))[0] as bigint;
  const inDesc = (member: string, width: number = pointerSize) =>
    desc + layout.offset("prb_desc_ring", member, width);
  const inData = (member: string, width: number) => data + layout.offset("prb_data_ring", member, width);
  const ring: Ring = {
    memory,
    layout,
    wordBits: 8 * pointerSize,
    countBits: view.getUint32(inDesc("count_bits", 4), littleEndian),
    descs: pointer(inDesc("descs")),
    infos: pointer(inDesc("infos")),
    head: pointer(inDesc("head_id")),
    tail: pointer(inDesc("tail_id")),
    textBits: view.getUint32(inData("size_bits", 4), littleEndian),
    text: pointer(inData("data", pointerSize)),
  };
  if (ring.countBits <= MAX_COUNT_BITS && ring.textBits <= MAX_SIZE_BITS) return ring;
  const sizes = `2^${ring.countBits} descriptors and 2^${ring.textBits} bytes of text`;
  report(damage("the kernel's log", at, "invalid", 0, `${sizes} can't be`));
  return undefined;
}

/** Where the text of a record lies. */
interface Block {
  readonly info: Uint8Array;
  readonly at: bigint;
  readonly length: number;
}

/** Reads records by their numbers; what was reused, or is being written, is no record. */
function* readRecords(
  ring: Ring,
  numbers: readonly bigint[],
  room: { left: number },
  report: OnDamage,
): Routine<LogRecord[]> {
  const { memory, layout, wordBits } = ring;
  const { pointerSize } = memory;
  const [descSize, infoSize] = [layout.size("prb_desc"), layout.size("printk_info")];
  const places = numbers.map((number) => number & ((1n << BigInt(ring.countBits)) - 1n));
  const descs = yield* memory.gather(
    places.map((place) => ring.descs + place * BigInt(descSize)),
    descSize,
  );
  const infos = yield* memory.gather(
    places.map((place) => ring.infos + place * BigInt(infoSize)),
    infoSize,
  );
  const state = layout.offset("prb_desc", "state_var", pointerSize);
  const position = layout.offset("prb_desc", "text_blk_lpos", layout.size("prb_data_blk_lpos"));
  const begin = position + layout.offset("prb_data_blk_lpos", "begin", pointerSize);
  const next = position + layout.offset("prb_data_blk_lpos", "next", pointerSize);
  const blocks: Block[] = [];
  for (const [i, number] of numbers.entries()) {
    const desc = descs.at(i);
    const info = infos.at(i);
    if (desc === undefined || info === undefined) {
      const at = ring.descs + (places[i] as bigint) * BigInt(descSize);
      report(
        damage(
          `record ${number} of the kernel's log`,
          at,
          "unreadable",
          descs.faultOf(i) || infos.faultOf(i),
        ),
      );
      continue;
    }
    const word = (offset: number) =>
      pointersIn(memory, desc.subarray(offset, offset + pointerSize))[0] as bigint;
    const variable = word(state);
    const kind = Number(variable >> BigInt(wordBits - 2));
    if (BigInt.asUintN(wordBits - 2, variable) !== number || (kind !== COMMITTED && kind !== FINALIZED))
      continue;
    const block = blockOf(ring, word(begin), word(next));
    if (block === undefined) {
      report(
        damage(
          `record ${number} of the kernel's log`,
          ring.text + word(begin),
          "invalid",
          0,
          "its text lies nowhere",
        ),
      );
      continue;
    }
    // (Damaged ones may all have the same text.)
    room.left -= block.length;
    if (room.left < 0) break;
    blocks.push({ info, ...block });
  }
  return yield* withTexts(ring, blocks, report);
}

/** Where a text is in its ring, without the number in front of it; `undefined` for a place that can't be. */
function blockOf(ring: Ring, begin: bigint, next: bigint): { at: bigint; length: number } | undefined {
  // An odd place stands for a record without text.
  if ((begin & 1n) === 1n && (next & 1n) === 1n) return { at: ring.text, length: 0 };
  const size = 1n << BigInt(ring.textBits);
  const header = BigInt(ring.memory.pointerSize);
  const [first, last] = [begin & (size - 1n), next & (size - 1n)];
  const [round, nextRound] = [begin >> BigInt(ring.textBits), next >> BigInt(ring.textBits)];
  let start = first;
  let length = last - first;
  if (round !== nextRound || begin >= next) {
    // It did not fit behind `begin`, and lies at the beginning of the ring; or ends just with the ring.
    if ((begin + size) >> BigInt(ring.textBits) !== nextRound) return undefined;
    if (last === 0n) length = size - first;
    else {
      start = 0n;
      length = last;
    }
  }
  if (length < header || length > size) return undefined;
  return { at: ring.text + start + header, length: Number(length - header) };
}

/** Reads the texts of all records side by side. */
function* withTexts(ring: Ring, blocks: readonly Block[], report: OnDamage): Routine<LogRecord[]> {
  const { memory, layout } = ring;
  const { littleEndian } = memory;
  const at = (member: string, width: number) => layout.offset("printk_info", member, width);
  // (Facility, flags and level lie behind the length, without names in VMCOREINFO.)
  const [sequence, time, textLength, caller] = [
    at("seq", 8),
    at("ts_nsec", 8),
    at("text_len", 4),
    at("caller_id", 4),
  ];
  const device = at("dev_info", layout.size("dev_printk_info"));
  const views = blocks.map(({ info }) => new DataView(info.buffer, info.byteOffset, info.length));
  const lengths = blocks.map(({ length }, i) =>
    Math.min(length, (views[i] as DataView).getUint16(textLength, littleEndian), MAX_TEXT),
  );
  const texts = yield* all(blocks.map((block, i) => memory.readPartial(block.at, lengths[i] as number)));
  return blocks.map(({ info, at: address }, i) => {
    const view = views[i] as DataView;
    const { bytes, holes } = texts[i] as {
      bytes: Uint8Array;
      holes: readonly { start: number; fault: number }[];
    };
    const hole = holes[0];
    const number = Number(view.getBigUint64(sequence, littleEndian));
    if (hole !== undefined) {
      report(damage(`the text of record ${number} of the kernel's log`, address, "unreadable", hole.fault));
    }
    // u8 facility, then u8 flags:5, level:3, behind the length; on big-endian machines bit-fields begin with the highest bit.
    const mixed = view.getUint8(textLength + 3);
    const nanoseconds = view.getBigUint64(time, littleEndian);
    return {
      sequence: number,
      time: Number(nanoseconds) / 1e9,
      nanoseconds,
      level: littleEndian ? mixed >>> 5 : mixed & 7,
      facility: view.getUint8(textLength + 2),
      text: logText(bytes.subarray(0, hole?.start ?? bytes.length)),
      caller: callerText(view.getUint32(caller, littleEndian)),
      about: aboutOf(layout, info, device),
    };
  });
}

/** `struct dev_printk_info`: two texts of fixed room. */
function aboutOf(layout: LogLayout, info: Uint8Array, start: number): Record<string, string> {
  const subsystem = start + layout.offset("dev_printk_info", "subsystem", 1);
  const device = start + layout.offset("dev_printk_info", "device", 1);
  const about: Record<string, string> = {};
  const name = textAt(info, subsystem, Math.max(subsystem, device));
  const which = textAt(info, device, start + layout.size("dev_printk_info"));
  if (name !== "") about.SUBSYSTEM = name;
  if (which !== "") about.DEVICE = which;
  return about;
}

/** Address of the ring: `prb` points to it. @internal */
export function* ringAddress(
  memory: AddressSpace,
  symbol: bigint,
  report: OnDamage,
): Routine<bigint | undefined> {
  const found = yield* pointersAt(memory, symbol, 1);
  if (typeof found !== "number") return found[0];
  report(damage("the kernel's log", symbol, "unreadable", found));
  return undefined;
}
