/** `--max-bytes` of commands that write files below a folder. */
import { DEFAULT_MAX_BYTES, type ExtractError } from "../../connectors/extract-folder.js";
import { UsageError } from "../errors.js";
import { parseSize } from "../parse.js";
import { bytesText } from "../render/numbers.js";
import type { CommandOptions } from "./command.js";

export const MAX_BYTES_OPTION: readonly [string, string] = [
  "--max-bytes <size>",
  `with --extract: write no more than that, such as 500M; a file or folder counts as 4 KiB more (default: ${bytesText(DEFAULT_MAX_BYTES)})`,
];

/** `undefined` if it was not given. @throws {UsageError} */
export function maxBytesOf({ maxBytes, extract }: CommandOptions): number | undefined {
  if (maxBytes === undefined) return undefined;
  if (extract === undefined) throw new UsageError("--max-bytes is for --extract");
  return Number(parseSize(String(maxBytes)));
}

/** Whether it says that the limit was reached: nothing more is to be written. */
export function isOverLimit(error: ExtractError): boolean {
  return error.code === "LIMIT";
}

/** What is told of it. */
export function limitText(error: ExtractError): string {
  return `${error.message}; the rest was left out (--max-bytes SIZE allows more)`;
}
