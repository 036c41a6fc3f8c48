import { constants, gunzipSync } from "node:zlib";
import type { Gunzip } from "../src/linux/index.js";

/** Bytes of a gzip header. */
const HEADER = 10;

/** gzip by Node's zlib, for text that a kernel holds compressed. Of a damaged member it gives what comes before the damage. */
export const nodeGunzip: Gunzip = (input, most) => {
  try {
    return { bytes: gunzipSync(input, { maxOutputLength: most }), problem: undefined };
  } catch (error) {
    const length = soundLength(input, most);
    return {
      bytes: begin(input.subarray(0, length), most),
      problem: problemOf(error, input.subarray(0, length)),
    };
  }
};

/** The length of the longest beginning of the input that decompresses to no more than `most` bytes. */
function soundLength(input: Uint8Array, most: number): number {
  // Zlib gives all or an error, but takes an input that just ends: what is longer than a bad beginning is bad, too.
  let good = 0;
  for (let bad = input.length + 1; bad - good > 1; ) {
    const length = (good + bad) >> 1;
    try {
      begin(input.subarray(0, length), most);
      good = length;
    } catch {
      bad = length;
    }
  }
  return good;
}

/** Decompresses an input that may end anywhere. */
function begin(input: Uint8Array, most: number): Uint8Array {
  return gunzipSync(input, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: most });
}

/** What is wrong, `undefined` if a whole member ends where the input is not sound any more. */
function problemOf(error: unknown, sound: Uint8Array): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ERR_BUFFER_TOO_LARGE") return "it decompresses to more than is believed";
  if (code === "Z_BUF_ERROR") return "it ends within the compressed text";
  if (isWhole(sound)) return undefined;
  // Zlib's own words: "incorrect data check", "invalid distance too far back", "incorrect header check" …
  return `zlib says: ${error instanceof Error ? error.message : String(error)}`;
}

/** Whether it is a member, with no more behind it than zlib takes for the header of another before it sees that it is none. */
function isWhole(sound: Uint8Array): boolean {
  for (let more = 0; more <= HEADER && more < sound.length; more++) {
    try {
      // (It was decompressed already: it is not too long.)
      gunzipSync(sound.subarray(0, sound.length - more));
      return true;
    } catch {
      // It ends elsewhere, if at all.
    }
  }
  return false;
}
