/**
 * Names that a dump tells, as names of files here. A name is whatever its machine, or who made the dump, wanted it to be: nothing of it
 * may lead out of a folder, mean a device, or hide what it is from who looks at it.
 *
 * Facts: what no file of Windows may be called, learn.microsoft.com, "Naming Files, Paths, and Namespaces"; 255 bytes of a name,
 * path_resolution(7).
 */
import { createHash } from "node:crypto";

/** Bytes of a name: file systems take 255; the rest is for what tells equal names apart. */
const MAX_NAME = 200;
/** Names of a path, and bytes of all of them: systems take 4096, and some 1024. */
const MAX_DEPTH = 48;
const MAX_PATH = 900;

/**
 * What is written as its UTF-8 bytes in hex, `%0A`: all that is not seen, or turns the direction of what is (control and format
 * characters, halves of pairs, characters that there are not), what separates names anywhere, and what Windows refuses. "%" too, so
 * that different names stay different.
 */
const ENCODED = /[\p{C}\p{Zl}\p{Zp}\\/:*?"<>|%]/gu;

/** Devices of Windows, whatever follows behind a dot. */
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)/i;

/**
 * The names of folders, and at last of a file, that an untrusted path becomes: at least one, none of them "", "." or "..", each at most
 * 200 bytes long, and a legal name on Linux, macOS and Windows. Equal paths give equal names. Other paths give others, but for "." and
 * doubled or leading slashes, which mean nothing.
 *
 * @param path With "/" between its names, absolute or not.
 */
export function extractNames(path: string): string[] {
  const names = path
    .split("/")
    .filter((name) => name !== "" && name !== ".")
    .map(safeName);
  if (names.length === 0) return ["%2F"];
  let bytes = 0;
  let folders = 0;
  while (folders < names.length && folders < MAX_DEPTH) {
    bytes += Buffer.byteLength(names[folders] as string) + 1;
    if (bytes > MAX_PATH) break;
    folders++;
  }
  if (folders === names.length) return names;
  // What is too deep lies in the last folder that is not, under its own name and one for its path.
  const last = names.at(-1) as string;
  return [...names.slice(0, Math.max(1, folders >> 1)), marked(last, path)];
}

/** One name. */
function safeName(name: string): string {
  let safe = name.replace(ENCODED, encode);
  if (safe === "..") return "%2E%2E";
  if (DEVICE.test(safe)) safe = encode(safe.charAt(0)) + safe.slice(1);
  // Windows leaves dots and spaces at the end out.
  if (/[. ]$/.test(safe)) safe = safe.slice(0, -1) + encode(safe.slice(-1));
  return Buffer.byteLength(safe) > MAX_NAME ? marked(safe, name) : safe;
}

function encode(text: string): string {
  return Array.from(Buffer.from(text), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(
    "",
  );
}

/** A name cut short, with a mark of all that it stands for. */
function marked(name: string, all: string): string {
  const mark = `~${createHash("sha256").update(all).digest("hex").slice(0, 16)}`;
  let kept = "";
  let room = MAX_NAME - mark.length;
  for (const character of name) {
    room -= Buffer.byteLength(character);
    if (room < 0) break;
    kept += character;
  }
  return kept + mark;
}

/** Names that are one where a file system does not tell cases or compositions of characters apart have one key. */
export function collisionKey(name: string): string {
  return name.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC");
}
