// Reads the code blocks of a Markdown file, with the comments that say what to do with them.

/**
 * @typedef {object} CodeBlock
 * @property {string} file
 * @property {number} line        Of the opening fence, from 1.
 * @property {string} language    The first word after the fence, or "".
 * @property {string[]} lines
 * @property {string[]} comments  Texts of the HTML comments right above it, such as `ci:test` or `no-run: reason`.
 */

/** @param {string} file @param {string} text @returns {CodeBlock[]} */
export function codeBlocks(file, text) {
  /** @type {CodeBlock[]} */
  const blocks = [];
  /** @type {string[]} */
  let comments = [];
  /** @type {{ fence: RegExp, indent: number, block: CodeBlock } | undefined} */
  let open;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (open !== undefined) {
      if (open.fence.test(line)) {
        blocks.push(open.block);
        open = undefined;
      } else {
        const indent = Math.min(open.indent, line.length - line.trimStart().length);
        open.block.lines.push(line.slice(indent));
      }
      continue;
    }
    const start = /^(\s*)(`{3,}|~{3,})\s*([\w-]*)/.exec(line);
    if (start !== null) {
      const [, space = "", fence = "", language = ""] = start;
      const block = { file, line: index + 1, language, lines: [], comments };
      open = { fence: new RegExp(`^\\s*${fence}\\s*$`), indent: space.length, block };
      comments = [];
      continue;
    }
    const comment = /^\s*<!--\s*(.*?)\s*-->\s*$/.exec(line);
    if (comment !== null) comments = [...comments, comment[1] ?? ""];
    else if (line.trim() !== "") comments = [];
  }
  if (open !== undefined) throw new Error(`${file}:${open.block.line}: this code block is never closed`);
  return blocks;
}

/** The one block marked `<!-- MARK -->`. @param {CodeBlock[]} blocks @param {string} mark */
export function markedBlock(blocks, mark) {
  const [block, second] = blocks.filter(({ comments }) => comments.includes(mark));
  if (block === undefined) throw new Error(`no code block is marked <!-- ${mark} -->`);
  if (second !== undefined)
    throw new Error(`${second.file}:${second.line}: a second block marked <!-- ${mark} -->`);
  return block;
}
