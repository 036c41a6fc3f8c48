/**
 * The kernel's log from Linux 3.5 (7ff9554bb578) to 5.9: one buffer of records with text behind them.
 *
 * Facts: kernel/printk/printk.c of those (`struct printk_log`, once `log`; `log_next`, `log_from_idx`): a record of length 0 says
 * that the next one lies at the buffer's beginning.
 */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { damage, type OnDamage } from "../objects/damage.js";
import type { LogLayout } from "./log-layout.js";
import { callerText, type LogRecord, logText } from "./log-record.js";

/** `log_buf_len=` goes up to 2^31; larger ones are not believed, nor read. */
export const MAX_LOG_BUFFER = 2 ** 31;

/** Where the parts of a record are. */
export interface LogBufferLayout {
  /** Bytes in front of the text. */
  readonly header: number;
  readonly time: number;
  readonly length: number;
  readonly textLength: number;
  readonly dictionaryLength: number;
  /** Facility, and behind it flags and level. */
  readonly facility: number;
  /** Of kernels with CONFIG_PRINTK_CALLER (5.1, 15ff2069cb7f); else `undefined`. */
  readonly caller: number | undefined;
}

/** By VMCOREINFO or the types; the structure is `printk_log` since 3.11 (62e32ac3505a). */
export function logBufferLayout(layout: LogLayout): LogBufferLayout {
  const struct = layout.has("printk_log") ? "printk_log" : "log";
  // (Facility, flags and level lie behind it, without names in VMCOREINFO.)
  const dictionaryLength = layout.offset(struct, "dict_len", 4);
  const header = layout.size(struct);
  return {
    header,
    time: layout.offset(struct, "ts_nsec", 8),
    length: layout.offset(struct, "len", 2),
    textLength: layout.offset(struct, "text_len", 2),
    dictionaryLength,
    facility: dictionaryLength + 2,
    caller: header >= dictionaryLength + 8 ? dictionaryLength + 4 : undefined,
  };
}

/**
 * Reads all records, the oldest first. Work is bounded by the buffer: each record is read once.
 *
 * @param buffer Address of its first byte, `size` its bytes.
 * @param first  Bytes from there to the oldest record, `next` to where the next one will be.
 */
export function* readLogBuffer(
  memory: AddressSpace,
  layout: LogBufferLayout,
  { buffer, size, first, next }: { buffer: bigint; size: number; first: number; next: number },
  report: OnDamage,
): Routine<LogRecord[]> {
  const records: LogRecord[] = [];
  const { littleEndian } = memory;
  let wrapped = false;
  const most = Math.floor(size / Math.max(1, layout.header)) + 1;
  for (
    let at = first, rest = most;
    at !== next || (records.length === 0 && rest === most && first !== next);
    rest--
  ) {
    const address = buffer + BigInt(at);
    const what = "the kernel's log";
    if (rest === 0) {
      report(damage(what, address, "loop"));
      break;
    }
    const head = yield* memory.readPartial(address, Math.min(layout.header, Math.max(0, size - at)));
    if (head.holes[0] !== undefined) {
      report(damage(what, address, "unreadable", head.holes[0].fault));
      break;
    }
    const view = new DataView(head.bytes.buffer, head.bytes.byteOffset, head.bytes.length);
    const length = head.bytes.length < layout.header ? 0 : view.getUint16(layout.length, littleEndian);
    if (length === 0) {
      if (wrapped) {
        report(damage(what, address, "loop"));
        break;
      }
      wrapped = true;
      at = 0;
      continue;
    }
    const textLength = view.getUint16(layout.textLength, littleEndian);
    const dictionaryLength = view.getUint16(layout.dictionaryLength, littleEndian);
    if (layout.header + textLength + dictionaryLength > length || at + length > size) {
      report(damage(what, address, "invalid", 0, `a record of ${length} bytes with ${textLength} of text`));
      break;
    }
    const body = yield* memory.readPartial(address + BigInt(layout.header), textLength + dictionaryLength);
    const end = body.holes[0]?.start ?? body.bytes.length;
    if (body.holes[0] !== undefined) report(damage(what, address, "unreadable", body.holes[0].fault));
    const mixed = view.getUint8(layout.facility + 1);
    const nanoseconds = view.getBigUint64(layout.time, littleEndian);
    records.push({
      sequence: records.length,
      time: Number(nanoseconds) / 1e9,
      nanoseconds,
      level: littleEndian ? mixed >>> 5 : mixed & 7,
      facility: view.getUint8(layout.facility),
      text: logText(body.bytes.subarray(0, Math.min(end, textLength))),
      caller:
        layout.caller === undefined ? undefined : callerText(view.getUint32(layout.caller, littleEndian)),
      about: dictionary(body.bytes.subarray(Math.min(end, textLength), end)),
    });
    at += length;
  }
  return records;
}

/** `NAME=value` strings, a NUL between them. */
function dictionary(bytes: Uint8Array): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of logText(bytes).split("\0")) {
    const equals = line.indexOf("=");
    if (equals > 0 && equals < 64 && line.slice(0, equals) !== "__proto__")
      found[line.slice(0, equals)] = line.slice(equals + 1);
  }
  return found;
}
