/** LZO1X blocks, as LZO's `lzo1x_1_compress` writes them for makedumpfile and QEMU. See `lzo1x.hot.ts` for the source. */
import { CodecError, checkResult, UNSUPPORTED } from "./errors.js";
import { runLzo1x } from "./lzo1x.hot.js";

/**
 * Decompresses one block.
 *
 * @param input        The whole block, with its end mark and nothing behind it.
 * @param outputLength Bytes that it must decompress to: so many are allocated, whatever the block claims.
 * @returns            A fresh array of just that length.
 * @throws {CodecError} for a block that is cut, damaged, or decompresses to another length, and for LZO-RLE.
 */
export function decompressLzo1x(input: Uint8Array, outputLength: number): Uint8Array {
  const output = new Uint8Array(outputLength);
  const result = runLzo1x(input, output);
  if (result === UNSUPPORTED) {
    throw new CodecError(
      "UNSUPPORTED_CODE",
      "lzo",
      `bitstream version ${input[1]} (LZO-RLE) is not supported`,
    );
  }
  checkResult("lzo", result, outputLength, input.length);
  return output;
}
