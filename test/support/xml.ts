import { expect } from "vitest";

/** Tags nest and are closed, attributes are quoted, and text has no bare `&` or `<`. */
export function expectWellFormed(xml: string): void {
  const open: string[] = [];
  const body = xml.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, "");
  let at = 0;
  for (const tag of body.matchAll(/<(\/?)([a-z]+)((?: [a-zA-Z:-]+="[^"<]*")*)(\/?)>/g)) {
    expect(body.slice(at, tag.index)).not.toMatch(/[<>]|&(?!(?:amp|lt|gt|quot);)/);
    at = tag.index + tag[0].length;
    const [, closing, name, , empty] = tag;
    if (closing === "/") expect(open.pop()).toBe(name);
    else if (empty === "") open.push(name as string);
  }
  expect(open).toEqual([]);
  expect(body.slice(at)).toBe("\n");
}
