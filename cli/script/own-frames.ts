/** Stacks of errors without what runs scripts: who wrote one sees the lines of it. */
import { fileURLToPath } from "node:url";

/** Frames that are captured, so that a script's are among them behind those of the library; and those that are shown. */
const CAPTURED = 100;
const SHOWN = 10;

/**
 * From here on, stacks have no frames of files in a folder, or of what Node has below the script. With MEMTOOL_STACKS=all in the
 * environment they have all.
 *
 * @param folder The URL of the folder that memtool is in, with a slash at its end.
 */
export function cutOwnFrames(folder: string, env: Readonly<Record<string, string | undefined>>): void {
  if (env.MEMTOOL_STACKS === "all") return;
  Error.stackTraceLimit = CAPTURED;
  Error.prepareStackTrace = (error, frames) => {
    const shown = theirFrames(frames, folder).slice(0, SHOWN);
    return [Error.prototype.toString.call(error), ...shown.map((frame) => `    at ${frame}`)].join("\n");
  };
}

/** What of a stack is a script's, and what it called beside memtool. */
export function theirFrames<T extends Pick<NodeJS.CallSite, "getFileName">>(
  frames: readonly T[],
  folder: string,
): T[] {
  // (Frames of CommonJS have paths, those of ES modules URLs.)
  const path = fileURLToPath(folder);
  const found: T[] = [];
  let isOwn = false;
  for (const frame of frames) {
    const file = frame.getFileName();
    // (What is built in, such as `next` of a generator, belongs to what it called.)
    isOwn =
      file == null ? isOwn : file.startsWith(folder) || file.startsWith(path) || file.startsWith("memtool:");
    if (!isOwn) found.push(frame);
  }
  const last = found.findLastIndex((frame) => !/^node:/.test(frame.getFileName() ?? "node:"));
  return found.slice(0, last + 1);
}
