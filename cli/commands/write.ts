import { readFileSync, statSync } from "node:fs";
import { all, MemtoolError } from "../../src/io/index.js";
import { describeSystemError, EXIT, statusOf, UsageError } from "../errors.js";
import { END_OF_SPACE, parseAddress, parseHex } from "../parse.js";
import { toJson } from "../render/escape.js";
import { reasonOf, reasonText } from "../render/hole.js";
import { bytesText, hex } from "../render/numbers.js";
import type { Session } from "../session.js";
import { HoleSummary } from "../summary.js";

/** Options as the command line has them. */
export interface WriteCommandOptions {
  readonly from?: string;
}

/** Bytes written in one go; who wants more wants another tool. */
const MAX_WRITE = 1 << 30;

/** The bytes to write. @throws {UsageError} */
export function bytesToWrite(words: readonly string[], options: WriteCommandOptions): Uint8Array {
  if (options.from === undefined) return parseHex(words.join(" "));
  if (words.length > 0) throw new UsageError("give the bytes in hex or with --from FILE, not both");
  const { from } = options;
  try {
    return readBytes(from);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new MemtoolError("NO_BYTES", `--from ${from}: ${describeSystemError(error)}`);
  }
}

function readBytes(from: string): Uint8Array {
  const stats = statSync(from);
  if (!stats.isFile()) throw new UsageError(`--from ${from}: not a regular file`);
  if (stats.size > MAX_WRITE)
    throw new UsageError(`--from ${from}: ${bytesText(stats.size)}, at most 1 GiB is written`);
  return readFileSync(from);
}

/** `memtool write`: writes, reads back and compares. @returns the exit status. */
export async function write(session: Session, at: string, bytes: Uint8Array): Promise<number> {
  const { space, out } = session;
  const address = await session.resolve(parseAddress(at));
  if (address + BigInt(bytes.length) > END_OF_SPACE) {
    throw new UsageError(
      `${at}: ${bytes.length} bytes from ${hex(address)} on cross the end of the address space (2^64)`,
    );
  }
  const { holes } = await space.memory.writePartial(address, bytes);
  const summary = new HoleSummary();
  for (const hole of holes) {
    summary.hole(address + BigInt(hole.start), BigInt(hole.end - hole.start), hole.fault);
  }
  const missing = Number(summary.bytesMissing);
  if (missing === bytes.length && bytes.length > 0) {
    const reason = reasonOf(holes[0]?.fault ?? 0);
    const hint = reason.state === "read-only" ? "; this target can't be written" : "";
    throw new MemtoolError(
      "NOT_WRITTEN",
      `nothing was written at ${hex(address)}: ${reasonText(reason)}${hint}`,
    );
  }
  const [back] = await all([space.memory.readPartial(address, bytes.length)]);
  const differs = firstDifference(bytes, back.bytes, [...holes, ...back.holes]);
  const written = bytes.length - missing;
  const verified = differs < 0 && back.holes.length === 0;
  if (session.options.json === true) {
    out.text(`${toJson({ address: hex(address), length: bytes.length, written, verified })}\n`);
  } else {
    out.text(`wrote ${bytesText(written)} at ${hex(address)}${verified ? ", read back and compared" : ""}\n`);
  }
  for (const hole of holes) {
    session.warn(
      `not written: ${hex(address + BigInt(hole.start))}, ${bytesText(hole.end - hole.start)} (${hole.state})`,
    );
  }
  if (differs >= 0) {
    session.warn(
      `${hex(address + BigInt(differs))} reads back otherwise: something else writes there, or it is no RAM`,
    );
    return EXIT.partial;
  }
  if (back.holes.length > 0) session.warn("not all of it could be read back");
  return statusOf(true, missing > 0 || back.holes.length > 0);
}

/** Index of the first byte that differs outside of the holes, or -1. */
function firstDifference(
  a: Uint8Array,
  b: Uint8Array,
  holes: readonly { readonly start: number; readonly end: number }[],
): number {
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue;
    const inHole = holes.find((hole) => hole.start <= i && i < hole.end);
    if (inHole === undefined) return i;
    i = inHole.end - 1;
  }
  return -1;
}
