/** Which mounts appeared, are gone, or are not what they were. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { listMounts, type Mount } from "../mounts/mount.js";
import { type CompareOptions, compareLists, type Difference } from "./difference.js";
import { KernelPair } from "./pair.js";

/**
 * Mounts of process 1's namespace that appeared, are gone, or changed. A mount is known by its structure and number; in two boots, by
 * where it is and what is mounted there.
 */
export function diffMounts(
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions = {},
): IoSequence<Difference<Mount>> {
  return IoSequence.of(before.memory.scheduler, mountsRoutine, before, after, options);
}

function* mountsRoutine(
  sink: Sink<Difference<Mount>>,
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions,
): Routine<void> {
  const pair = yield* KernelPair.of(before, after, options);
  yield* mountsOf(sink, pair);
  pair.damage.end();
}

/** @internal */
export function* mountsOf(sink: Sink<Difference<Mount>>, pair: KernelPair): Routine<void> {
  const [first, second] = yield* pair.read((kernel, options) =>
    listMounts(kernel, { ...options, all: true }),
  );
  const differences = compareLists(
    first,
    second,
    {
      kind: "mount",
      key: ({ address, id, mountpoint, type, source }) =>
        pair.sameBoot ? `${address} ${id}` : `${mountpoint} ${type} ${source}`,
      what: ({ mountpoint, type, source }) => `${mountpoint ?? "?"} (${type ?? "?"}, ${source ?? "?"})`,
      fields: ({ mountpoint, root, type, source, options, superOptions }) => ({
        mountpoint,
        root,
        type,
        source,
        options,
        superOptions,
      }),
    },
    pair.options.onPart,
  );
  for (const each of differences) yield sink.emit(each);
}
