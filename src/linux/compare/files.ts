/** Which open files appeared, are gone, or are not what they were. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import { listFiles, type OpenFile } from "../files/file.js";
import { deviceText } from "../files/file-flags.js";
import type { LinuxKernel } from "../kernel.js";
import { type CompareOptions, compareLists, type Difference } from "./difference.js";
import { KernelPair } from "./pair.js";

/**
 * Open files, directories and programs of processes that appeared, are gone, or changed: what a descriptor leads to, its place in it,
 * its flags. A descriptor is known by its process and its number; in two boots, by the process's name, and by its path too.
 */
export function diffFiles(
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions = {},
): IoSequence<Difference<OpenFile>> {
  return IoSequence.of(before.memory.scheduler, filesRoutine, before, after, options);
}

function* filesRoutine(
  sink: Sink<Difference<OpenFile>>,
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions,
): Routine<void> {
  const pair = yield* KernelPair.of(before, after, options);
  yield* filesOf(sink, pair);
  pair.damage.end();
}

/** @internal */
export function* filesOf(sink: Sink<Difference<OpenFile>>, pair: KernelPair): Routine<void> {
  const [before, after] = yield* pair.processKeys();
  const keys = { before, after };
  const [first, second] = yield* pair.read((kernel, options) => listFiles(kernel, options));
  const known = { before: new Set(before.values()), after: new Set(after.values()) };
  const processOf = ({ pid }: OpenFile, side: "before" | "after") =>
    pid === undefined ? undefined : keys[side].get(pid);
  const differences = compareLists(
    first,
    second,
    {
      kind: "file",
      key: (file, side) => {
        const process = processOf(file, side);
        if (process === undefined) return undefined;
        return pair.sameBoot ? `${process} ${file.fd}` : `${process} ${file.fd} ${file.path}`;
      },
      what: ({ comm, fd, path }) => `${comm ?? "?"} ${fd} ${path ?? "?"}`,
      pid: ({ pid }) => pid,
      fields: (file) =>
        pair.sameBoot
          ? {
              path: file.path,
              // (A file that was opened anew under the number is another one, whatever its path.)
              file: file.file,
              inode: file.inode,
              device: file.device === undefined ? undefined : deviceText(file.device),
              position: file.position,
              flags: file.flags,
            }
          : { flags: file.flags },
      note: (change, one, other) => {
        if (change === "gone" && one !== undefined && !known.after.has(processOf(one, "before") ?? "")) {
          return "its process is gone";
        }
        const isNew = other !== undefined && !known.before.has(processOf(other, "after") ?? "");
        return change === "appeared" && isNew ? "its process appeared" : null;
      },
    },
    pair.options.onPart,
  );
  for (const each of differences) yield sink.emit(each);
}
