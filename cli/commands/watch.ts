import type { StillSource } from "../../connectors/connector.js";
import { EXIT, statusOf, UsageError } from "../errors.js";
import { END_OF_SPACE, parseAddress } from "../parse.js";
import { escapeText, toJson } from "../render/escape.js";
import { reasonOf, reasonText } from "../render/hole.js";
import { hex, hex16 } from "../render/numbers.js";
import type { Session } from "../session.js";
import { parseCount, parseEvery, repeat } from "./repeat.js";
import { isGone, parseValueType, readValues, type Seen, valueJson, valueText } from "./values.js";

/** Options as the command line has them. */
export interface WatchCommandOptions {
  readonly type?: string;
  readonly every?: string;
  readonly count?: string;
}

/** Addresses that are looked at together. */
const MAX_ADDRESSES = 10_000;

/** Checks them. @throws {UsageError} */
export function watchOptions(
  addresses: readonly string[],
  { type = "u32", every, count }: WatchCommandOptions,
) {
  if (addresses.length > MAX_ADDRESSES) throw new UsageError(`watch takes up to ${MAX_ADDRESSES} addresses`);
  return { type: parseValueType(type), period: parseEvery(every), count: parseCount(count) };
}

/** An address that was asked for, and what was there the last time. */
interface Watched {
  readonly text: string;
  readonly address: bigint;
  last: Seen | undefined;
}

/** `memtool watch`: tells values when they change. @returns the exit status. */
export async function watch(
  session: Session,
  addresses: readonly string[],
  options: WatchCommandOptions,
): Promise<number> {
  const { type, period, count } = watchOptions(addresses, options);
  const places: Watched[] = [];
  for (const text of addresses) places.push(await placeOf(session, text, type.size));
  const source: Partial<StillSource> = session.machine.source.source;
  const stillness = () => (source.supports?.live === true ? source.still : "does not change by itself");
  let still: string | undefined;
  const { out } = session;
  let lines = 0;
  let good = false;
  let bad = false;
  let gone = false;
  await repeat(session, period, async (signal) => {
    const seen = await readValues(
      session,
      type,
      places.map(({ address }) => address),
    );
    if (signal.aborted) return false;
    const time = new Date().toISOString();
    gone = seen.some(isGone);
    seen.forEach((now, i) => {
      const place = places[i] as Watched;
      if ("value" in now) good = true;
      else bad = true;
      if (lines >= count || isSame(place.last, now)) return;
      out.text(session.options.json === true ? json(place, now, time) : line(place, now, time));
      place.last = now;
      lines++;
    });
    await out.flush();
    still = stillness();
    return still === undefined && !gone && lines < count;
  });
  if (still !== undefined && !gone)
    session.warn(`${session.machine.name} ${still}: there is nothing to wait for`);
  if (!gone) return statusOf(good, bad);
  session.warnGone(": this is what was there until now");
  return good ? EXIT.partial : EXIT.failed;

  function line(place: Watched, now: Seen, time: string): string {
    const name = /^0x/i.test(place.text) ? "" : `  ${escapeText(place.text)}`;
    const before = place.last === undefined ? "" : `${text(place.last)} → `;
    return `${time}  ${hex16(place.address)}${name}  ${before}${text(now)}\n`;
  }

  function text(seen: Seen): string {
    return "value" in seen ? valueText(type, seen.value) : reasonText(reasonOf(seen.fault));
  }

  function json({ text: name, address, last }: Watched, now: Seen, time: string): string {
    const what = "value" in now ? { value: valueJson(now.value) } : reasonOf(now.fault);
    const before = last !== undefined && "value" in last ? { before: valueJson(last.value) } : {};
    return `${toJson({ time, address: hex(address), name, ...what, ...before })}\n`;
  }
}

/** An address by its expression. @throws {UsageError} where a value of that size would cross the end of the space. */
export async function placeOf(session: Session, text: string, size: number): Promise<Watched> {
  const address = await session.resolve(parseAddress(text));
  if (address + BigInt(size) > END_OF_SPACE) {
    throw new UsageError(
      `${text}: ${size} bytes from ${hex(address)} on cross the end of the address space (2^64)`,
    );
  }
  return { text, address, last: undefined };
}

function isSame(a: Seen | undefined, b: Seen): boolean {
  if (a === undefined) return false;
  if ("fault" in a || "fault" in b) return "fault" in a && "fault" in b && a.fault === b.fault;
  // (Bytes, since no NaN is another.)
  return a.bytes.every((byte, i) => byte === b.bytes[i]);
}
