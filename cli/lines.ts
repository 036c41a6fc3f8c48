/** Lines of standard input, as many at a time as there are. */

/** A line and its number, from 1. `text` is undefined for one that is too long. */
export interface Line {
  readonly number: number;
  readonly text: string | undefined;
}

/** No address is longer; the rest of such a line is dropped, and memory stays bounded. */
const MAX_LINE = 65_536;
/** Lines a group: what is answered side by side. */
const MAX_GROUP = 4096;

/**
 * Groups of lines, each as soon as its input is there: who writes a line and waits for the answer gets it, who writes
 * a million has them answered thousands at a time.
 */
export async function* readLines(
  input: AsyncIterable<Uint8Array | string>,
): AsyncGenerator<Line[], void, void> {
  const decoder = new TextDecoder();
  let number = 0;
  let rest = "";
  let tooLong = false;
  for await (const chunk of input) {
    const parts = (
      rest + (typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true }))
    ).split("\n");
    rest = parts.pop() ?? "";
    let group: Line[] = [];
    for (const text of parts) {
      group.push({ number: ++number, text: tooLong || text.length > MAX_LINE ? undefined : text });
      tooLong = false;
      if (group.length === MAX_GROUP) {
        yield group;
        group = [];
      }
    }
    if (rest.length > MAX_LINE) {
      rest = "";
      tooLong = true;
    }
    if (group.length !== 0) yield group;
  }
  if (rest !== "" || tooLong) yield [{ number: ++number, text: tooLong ? undefined : rest }];
}
