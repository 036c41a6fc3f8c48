/** Strings from and to bytes, by our own few lines: the core needs no `TextDecoder`. */

/** How a string lies in memory. */
export type TextEncoding = "utf-8" | "latin-1";

/** Code units a call of `String.fromCharCode`; more arguments than some 60,000 overflow the stack. */
const CHUNK = 4096;

/** Bytes `start` to `end` (exclusive) as text. Never throws for their content. */
export function decodeText(
  bytes: Uint8Array,
  start = 0,
  end = bytes.length,
  encoding: TextEncoding = "utf-8",
): string {
  return encoding === "utf-8" ? decodeUtf8(bytes, start, end) : decodeLatin1(bytes, start, end);
}

/** A string's bytes. @throws {RangeError} for a character that Latin-1 does not have. */
export function encodeText(text: string, encoding: TextEncoding = "utf-8"): Uint8Array {
  return encoding === "utf-8" ? encodeUtf8(text) : encodeLatin1(text);
}

/** One character a byte. */
export function decodeLatin1(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = "";
  for (let at = start; at < end; at += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(at, Math.min(end, at + CHUNK)));
  }
  return text;
}

/**
 * UTF-8. Each longest prefix of a sequence that leads nowhere becomes one U+FFFD, as browsers do; a byte order mark
 * is kept.
 *
 * @see The Unicode Standard, 3.9, table 3-7 and "U+FFFD Substitution of Maximal Subparts".
 */
export function decodeUtf8(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = "";
  const units: number[] = [];
  let at = start;
  while (at < end) {
    const lead = bytes[at++] as number;
    if (lead < 0x80) {
      units.push(lead);
    } else {
      // How many bytes follow, and which values the first of them may have.
      let follow = 0;
      let low = 0x80;
      let high = 0xbf;
      let point = 0;
      if (lead >= 0xc2 && lead <= 0xdf) {
        follow = 1;
        point = lead & 0x1f;
      } else if (lead >= 0xe0 && lead <= 0xef) {
        follow = 2;
        point = lead & 0x0f;
        if (lead === 0xe0) low = 0xa0;
        if (lead === 0xed) high = 0x9f;
      } else if (lead >= 0xf0 && lead <= 0xf4) {
        follow = 3;
        point = lead & 0x07;
        if (lead === 0xf0) low = 0x90;
        if (lead === 0xf4) high = 0x8f;
      }
      let good = follow !== 0;
      for (; follow > 0; follow--) {
        const byte = at < end ? (bytes[at] as number) : -1;
        if (byte < low || byte > high) {
          good = false;
          break;
        }
        point = (point << 6) | (byte & 0x3f);
        at++;
        low = 0x80;
        high = 0xbf;
      }
      if (!good) units.push(0xfffd);
      else if (point < 0x10000) units.push(point);
      else units.push(0xd7c0 + (point >>> 10), 0xdc00 | (point & 0x3ff));
    }
    if (units.length >= CHUNK) {
      text += String.fromCharCode(...units);
      units.length = 0;
    }
  }
  return text + String.fromCharCode(...units);
}

/** UTF-8 of a string; a surrogate without its other half becomes U+FFFD. */
export function encodeUtf8(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 3);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    let point = text.codePointAt(i) as number;
    if (point >= 0x10000) i++;
    else if (point >= 0xd800 && point <= 0xdfff) point = 0xfffd;
    if (point < 0x80) {
      bytes[length++] = point;
    } else if (point < 0x800) {
      bytes[length++] = 0xc0 | (point >>> 6);
      bytes[length++] = 0x80 | (point & 0x3f);
    } else if (point < 0x10000) {
      bytes[length++] = 0xe0 | (point >>> 12);
      bytes[length++] = 0x80 | ((point >>> 6) & 0x3f);
      bytes[length++] = 0x80 | (point & 0x3f);
    } else {
      bytes[length++] = 0xf0 | (point >>> 18);
      bytes[length++] = 0x80 | ((point >>> 12) & 0x3f);
      bytes[length++] = 0x80 | ((point >>> 6) & 0x3f);
      bytes[length++] = 0x80 | (point & 0x3f);
    }
  }
  return bytes.slice(0, length);
}

/** One byte a character. @throws {RangeError} for a character above U+00FF. */
export function encodeLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0xff) throw new RangeError(`no Latin-1: U+${unit.toString(16).padStart(4, "0")} at ${i}`);
    bytes[i] = unit;
  }
  return bytes;
}
