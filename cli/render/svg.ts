/** Pieces of pictures: text in XML, and text at a place. */
import { escapeText } from "./escape.js";

/** The fonts of text and of addresses. */
export const SANS = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";
export const MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace";

/** How a text looks. */
export interface TextStyle {
  readonly size: number;
  readonly fill: string;
  readonly weight?: string;
  readonly font?: string;
  readonly anchor?: "start" | "end";
  /** For a style sheet. */
  readonly class?: string;
}

/** A text whose baseline begins (or ends) there. */
export function textAt(x: number, y: number, text: string, style: TextStyle): string {
  const { size, fill, weight = "400", font = SANS, anchor = "start" } = style;
  const more = `${weight === "400" ? "" : ` font-weight="${weight}"`}${anchor === "start" ? "" : ' text-anchor="end"'}`;
  const named = style.class === undefined ? "" : ` class="${style.class}"`;
  return `<text x="${x}" y="${y}" font-family="${font}" font-size="${size}" fill="${fill}"${more}${named}>${xml(text)}</text>`;
}

/** Characters of a title. */
const LONGEST = 110;

/** Long paths lose their middle. */
export function shorten(text: string): string {
  const characters = [...escapeText(text)];
  if (characters.length <= LONGEST) return characters.join("");
  return `${characters.slice(0, 60).join("")}…${characters.slice(61 - LONGEST).join("")}`;
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text in XML; controls, which XML can't hold, are escaped as for a terminal. */
export function xml(text: string): string {
  return escapeText(text).replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
}
