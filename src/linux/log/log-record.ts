/** A record of the kernel's log, and what its fields mean. */
import { decodeLatin1, decodeUtf8 } from "../../memory/text.js";

/** A record, in the order in which they were written. */
export interface LogRecord {
  /** Number since boot; of a log that doesn't say it, from the first that is left. */
  readonly sequence: number;
  /** Seconds since boot, by the processor's clock. */
  readonly time: number;
  /** The same as the kernel has it: nanoseconds, which a `number` of seconds loses after some weeks. */
  readonly nanoseconds: bigint;
  /** 0 (emergency) to 7 (debug). */
  readonly level: number;
  /** As syslog counts them: 0 is the kernel, 1 what a program wrote to /dev/kmsg. */
  readonly facility: number;
  /** May have several lines. */
  readonly text: string;
  /** `T` and a thread's number, or `C` and a processor's; of kernels with CONFIG_PRINTK_CALLER. */
  readonly caller: string | undefined;
  /** What the message is about: `SUBSYSTEM`, `DEVICE`. */
  readonly about: Readonly<Record<string, string>>;
}

/** Syslog's names of levels. */
export const LOG_LEVELS = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"] as const;
/** Syslog's names of facilities. */
export const LOG_FACILITIES = [
  "kern",
  "user",
  "mail",
  "daemon",
  "auth",
  "syslog",
  "lpr",
  "news",
  "uucp",
  "cron",
  "authpriv",
  "ftp",
] as const;

/** `caller_id`: the highest bit tells a processor from a thread (kernel/printk/printk.c, `printk_caller_id`). 0 is none. */
export function callerText(id: number): string | undefined {
  if (id === 0) return undefined;
  return id >= 0x8000_0000 ? `C${id - 0x8000_0000}` : `T${id}`;
}

/** Text of the log is UTF-8 where it is sound, else a character a byte. */
export function logText(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  return text.includes("\ufffd") ? decodeLatin1(bytes) : text;
}
