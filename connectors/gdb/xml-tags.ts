/**
 * The tags of the small XML texts that stubs send. In one pass: a stub may send anything, and a regular expression that looks for the
 * end of every beginning takes hours over a text of a MiB that has no ends.
 */

/** A tag that opens an element, or stands alone. */
export interface XmlTag {
  readonly name: string;
  /** As they are written, perhaps with a slash behind them. */
  readonly attributes: string;
  /** What follows, up to the next tag. */
  readonly content: string;
}

/** The tags in their order, without those in comments; a tag or comment that has no end ends the text. */
export function* tagsOf(text: string): Generator<XmlTag, void, void> {
  for (let at = text.indexOf("<"); at >= 0; ) {
    if (text.startsWith("<!--", at)) {
      const end = text.indexOf("-->", at + 4);
      if (end < 0) return;
      at = text.indexOf("<", end + 3);
      continue;
    }
    const end = text.indexOf(">", at);
    if (end < 0) return;
    const next = text.indexOf("<", end + 1);
    const name = /^[^\s/>]*/.exec(text.slice(at + 1, Math.min(end, at + MAX_NAME)))?.[0] ?? "";
    if (name !== "") {
      const attributes = text.slice(at + 1 + name.length, end);
      yield { name, attributes, content: text.slice(end + 1, next < 0 ? text.length : next) };
    }
    at = next;
  }
}

/** No tag that means something has a longer name. */
const MAX_NAME = 40;

/** The value of one of a tag's attributes; `undefined` if it has none of that name. */
export function attributeOf({ attributes }: XmlTag, name: string): string | undefined {
  const match = new RegExp(`(?:^|\\s)${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`).exec(attributes);
  return match?.[1] ?? match?.[2];
}
