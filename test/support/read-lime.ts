/** A reader of LiME's format for tests, from lime.h alone; shares nothing with the writer. */
import { ImageModel } from "./dump.js";

/** Memory as its bytes say. @throws {Error} for anything that LiME's own tools would not take. */
export function readLime(file: Uint8Array, size: number): ImageModel {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const model = new ImageModel(size);
  let last = -1;
  for (let at = 0; at < file.length; ) {
    // "EMiL" in the file, version, s_addr, e_addr (inclusive), reserved[8]
    if (String.fromCharCode(...file.subarray(at, at + 4)) !== "EMiL") throw new Error(`no magic at ${at}`);
    if (view.getUint32(at + 4, true) !== 1) throw new Error("version");
    const start = Number(view.getBigUint64(at + 8, true));
    const end = Number(view.getBigUint64(at + 16, true)) + 1;
    if (view.getBigUint64(at + 24, true) !== 0n) throw new Error("reserved");
    if (start <= last || end <= start) throw new Error(`range ${start} to ${end}`);
    last = end;
    const bytes = file.subarray(at + 32, at + 32 + end - start);
    if (bytes.length !== end - start) throw new Error("cut short");
    model.present(start, bytes);
    at += 32 + bytes.length;
  }
  return model;
}
