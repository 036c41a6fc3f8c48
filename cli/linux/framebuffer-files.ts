/** `framebuffers --extract`: what framebuffers show, written as pictures. */
import { ExtractError, type ExtractFolder } from "../../connectors/extract-folder.js";
import { MemtoolError } from "../../src/io/index.js";
import { type Framebuffer, framebufferLines, type LinuxKernel } from "../../src/linux/index.js";
import { PngWriter } from "../png.js";

/** What became of a picture. */
export interface WrittenPicture {
  /** Below the folder; `undefined` where nothing of it is in the dump. */
  readonly file: string | undefined;
  /** Pixels that are not in the dump: they are transparent. */
  readonly missing: number;
  /** Why there is none. */
  readonly why: string | undefined;
}

/**
 * Writes one as `fbN.png`. No file is made before the first pixel that is there.
 *
 * @throws {ExtractError}
 */
export async function writePicture(
  kernel: LinuxKernel,
  framebuffer: Framebuffer,
  folder: ExtractFolder,
): Promise<WrittenPicture> {
  const { number, width = 0, height = 0 } = framebuffer;
  let blank = 0;
  let missing = 0;
  let open: ReturnType<typeof begin> | undefined;
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
    if (!(error instanceof MemtoolError) || error instanceof ExtractError || error.code !== "NO_PICTURE")
      throw error;
    return { file: undefined, missing: 0, why: error.message };
  } finally {
    open?.png.close();
    open?.file.abandon();
  }
  const why = open === undefined ? `framebuffer ${number}: its memory is not in the dump` : undefined;
  return { file: open?.file.relative, missing, why };
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
