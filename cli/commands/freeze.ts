import { MemtoolError } from "../../src/io/index.js";
import { EXIT, UsageError } from "../errors.js";
import { toJson } from "../render/escape.js";
import { reasonOf, reasonText } from "../render/hole.js";
import { counted, hex, hex16 } from "../render/numbers.js";
import type { Session } from "../session.js";
import { parseCount, parseEvery, repeat } from "./repeat.js";
import { isGone, parseValue, parseValueType, readValues, valueJson, valueText } from "./values.js";
import { placeOf } from "./watch.js";

/** Options as the command line has them. */
export interface FreezeCommandOptions {
  readonly type?: string;
  readonly every?: string;
  readonly count?: string;
}

/** Checks them. @throws {UsageError} */
export function freezeOptions(text: string, { type = "u32", every, count }: FreezeCommandOptions) {
  const parsed = parseValueType(type);
  return {
    type: parsed,
    value: parseValue(parsed, text),
    period: parseEvery(every),
    count: parseCount(count),
  };
}

/** `memtool freeze`: writes a value whenever another one is there. @returns the exit status. */
export async function freeze(
  session: Session,
  at: string,
  text: string,
  options: FreezeCommandOptions,
): Promise<number> {
  const { type, value, period, count } = freezeOptions(text, options);
  const { machine, space, out } = session;
  if (!machine.source.source.supports.write) {
    throw new UsageError(`${machine.name} can't be written: freeze has nothing to do there`);
  }
  const resolved = type.under(space.memory.abi);
  const { address } = await placeOf(session, at, resolved.size);
  const wanted = resolved.encode(value);
  const json = session.options.json === true;
  let looks = 0;
  let written = 0;
  let gone = false;
  await repeat(session, period, async (signal) => {
    const [seen] = await readValues(session, type, [address]);
    if (signal.aborted) return false;
    if (seen === undefined || isGone(seen)) {
      gone = true;
      return false;
    }
    looks++;
    if ("fault" in seen) refused("read", seen.fault);
    else if (!seen.bytes.every((byte, i) => byte === wanted[i])) {
      const { holes } = await space.memory.writePartial(address, wanted);
      const [hole] = holes;
      // (Of a write that was let go of, nobody knows whether it landed.)
      if (signal.aborted && hole !== undefined) return false;
      gone = hole?.state === "gone";
      if (hole !== undefined && !gone) refused("written", hole.fault);
      if (!gone) {
        written++;
        const time = new Date().toISOString();
        out.text(
          json
            ? `${toJson({ time, address: hex(address), before: valueJson(seen.value), value: valueJson(value) })}\n`
            : `${time}  ${hex16(address)}  ${valueText(type, seen.value)} → ${valueText(type, value)}\n`,
        );
        await out.flush();
      }
    }
    return !gone && looks < count;
  });
  if (!json) out.text(`looked ${counted(looks, "time")}, wrote ${counted(written, "time")}\n`);
  if (!gone) return EXIT.ok;
  session.warnGone();
  return looks > 0 ? EXIT.partial : EXIT.failed;

  function refused(what: string, fault: number): never {
    throw new MemtoolError(
      "NOT_FROZEN",
      `${hex(address)} can't be ${what}: ${reasonText(reasonOf(fault))}${looks > 1 ? ` (after ${looks - 1} looks)` : ""}`,
    );
  }
}
