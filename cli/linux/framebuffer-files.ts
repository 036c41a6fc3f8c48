/** `framebuffers --extract`: what framebuffers show, written as pictures. */
import { ExtractError, type ExtractedFile, type ExtractFolder } from "../../connectors/extract-folder.js";
import { MemtoolError } from "../../src/io/index.js";
import { type Framebuffer, framebufferLines, type LinuxKernel } from "../../src/linux/index.js";
import { PngWriter } from "../png.js";
import { isOverLimit, limitText } from "./extract-limit.js";

/** What became of a picture. */
export interface WrittenPicture {
  /** Below the folder; `undefined` where nothing of it is in the dump. Not whole where `why` says something. */
  readonly file: string | undefined;
  /** Pixels that are not in the dump: they are transparent. */
  readonly missing: number;
  /** Why there is none, or no whole one. */
  readonly why: string | undefined;
  /** Whether no picture may be written after it. */
  readonly isLast: boolean;
}

/**
 * Writes one as `fbN.png`. No file is made before the first pixel that is there.
 *
 * @throws {ExtractError} `NO_SPACE`
 */
export async function writePicture(
  kernel: LinuxKernel,
  framebuffer: Framebuffer,
  folder: ExtractFolder,
): Promise<WrittenPicture> {
  const { number, width = 0, height = 0 } = framebuffer;
  let blank = 0;
  let missing = 0;
  let open: { readonly png: PngWriter; readonly file: ExtractedFile } | undefined;
  try {
    for await (const { pixels, missing: lost } of framebufferLines(kernel, framebuffer)) {
      missing += lost;
      if (open === undefined && lost === width) {
        blank++;
        continue;
      }
      if (open === undefined) {
        open = begin(folder, `fb${number}.png`, width, height);
        for (let i = 0; i < blank; i++) await open.png.line(new Uint8Array(4 * width));
      }
      await open.png.line(pixels);
    }
    await open?.png.end();
    open?.file.close();
  } catch (error) {
    if (!(error instanceof MemtoolError)) throw error;
    if (error.code === "NO_PICTURE")
      return { file: undefined, missing: 0, why: error.message, isLast: false };
    // (Of a full disk, the next picture has none of either.)
    if (!(error instanceof ExtractError) || error.code === "NO_SPACE") throw error;
    const isLast = isOverLimit(error);
    const why = isLast ? limitText(error) : error.message;
    return { file: open?.file.relative, missing, why, isLast };
  } finally {
    open?.png.close();
    open?.file.abandon();
  }
  const why = open === undefined ? `framebuffer ${number}: its memory is not in the dump` : undefined;
  return { file: open?.file.relative, missing, why, isLast: false };
}

function begin(folder: ExtractFolder, name: string, width: number, height: number) {
  const file = folder.create(name);
  let at = 0;
  const png = new PngWriter(width, height, (bytes) => {
    file.write(at, bytes);
    at += bytes.length;
  });
  return { png, file };
}
