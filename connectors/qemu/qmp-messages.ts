/** Takes a QMP connection's bytes apart: one JSON object a line (docs/interop/qmp-spec.txt of QEMU). */

/** A message from QEMU: a greeting (`QMP`), an answer (`return` or `error`), or an event. */
export type QmpMessage = Readonly<Record<string, unknown>>;

/** `info mtree -f` of a large machine has some hundreds of KiB. */
export const MAX_MESSAGE = 64 * 2 ** 20;

const NEWLINE = 10;

/** Holds what came of a message that is not complete yet. */
export class QmpMessages {
  #parts: Uint8Array[] = [];
  #held = 0;

  /**
   * The messages that these bytes complete. Empty lines are none.
   *
   * @throws {SyntaxError} for a line that is no JSON object, {RangeError} for one that is longer than any answer.
   */
  push(bytes: Uint8Array): QmpMessage[] {
    const messages: QmpMessage[] = [];
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, from);
      const part = bytes.subarray(from, end < 0 ? bytes.length : end);
      this.#held += part.length;
      if (this.#held > MAX_MESSAGE) throw new RangeError(`a message is longer than ${MAX_MESSAGE} bytes`);
      if (part.length > 0) this.#parts.push(part);
      if (end < 0) return messages;
      const text = Buffer.concat(this.#parts).toString("utf8").trim();
      this.#parts = [];
      this.#held = 0;
      from = end + 1;
      if (text !== "") messages.push(parseMessage(text));
    }
  }
}

function parseMessage(text: string): QmpMessage {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SyntaxError(`"${text.slice(0, 40)}" is no QMP message`);
  }
  return value as QmpMessage;
}
