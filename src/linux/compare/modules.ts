/** Which modules appeared, are gone, or are not what they were. */
import { IoSequence, type Routine, type Sink } from "../../io/index.js";
import type { LinuxKernel } from "../kernel.js";
import { type LoadedModule, listModules } from "../modules/module.js";
import { type CompareOptions, compareLists, type Difference } from "./difference.js";
import { KernelPair } from "./pair.js";

/**
 * Modules that were loaded, are gone, or changed: where they are (which tells one that was loaded anew), their size, state, users,
 * parameters, version. A module is known by its name.
 *
 * @example
 * for await (const { change, what } of diffModules(before, after)) console.log(change, what);
 */
export function diffModules(
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions = {},
): IoSequence<Difference<LoadedModule>> {
  return IoSequence.of(before.memory.scheduler, modulesRoutine, before, after, options);
}

function* modulesRoutine(
  sink: Sink<Difference<LoadedModule>>,
  before: LinuxKernel,
  after: LinuxKernel,
  options: CompareOptions,
): Routine<void> {
  const pair = yield* KernelPair.of(before, after, options);
  yield* modulesOf(sink, pair);
  pair.damage.end();
}

/** @internal */
export function* modulesOf(sink: Sink<Difference<LoadedModule>>, pair: KernelPair): Routine<void> {
  const [first, second] = yield* pair.read((kernel, options) => listModules(kernel, options));
  const differences = compareLists(
    first,
    second,
    {
      kind: "module",
      key: ({ name }) => name,
      what: ({ name }) => name ?? "?",
      fields: (module) => ({
        ...(pair.sameBoot
          ? { address: module.address, module: module.module, references: module.references }
          : {}),
        size: module.size,
        state: module.state,
        // (Who uses it is a list of no order.)
        usedBy: module.usedBy.map((name) => name ?? "?").sort(),
        taints: module.taints,
        version: module.version ?? null,
        sourceVersion: module.sourceVersion ?? null,
        ...Object.fromEntries(
          module.parameters.map(({ name, value }, i) => [`parameter ${name ?? i}`, value]),
        ),
      }),
    },
    pair.options.onPart,
  );
  for (const each of differences) yield sink.emit(each);
}
