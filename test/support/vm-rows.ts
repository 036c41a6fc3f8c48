/** What a guest printed as a table. */

/** Lines of a section, each by its fields, which tabs part; none for a section that it didn't print. */
export function rowsOf(texts: ReadonlyMap<string, string>, section: string): string[][] {
  const lines = (texts.get(section) ?? "").split("\n").filter((line) => line !== "");
  return lines.map((line) => line.split("\t"));
}
