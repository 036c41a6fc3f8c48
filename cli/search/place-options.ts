/** Options that say where to look, and how far: those of `search`, `strings` and `yara`. */
import { UsageError } from "../errors.js";
import { parseAddress, parseSize } from "../parse.js";
import type { GlobalOptions } from "../session.js";

/** As the command line has them. */
export interface PlaceOptions {
  readonly from?: string;
  readonly length?: string;
  readonly allProcesses?: boolean;
  readonly limit?: string;
}

/** @throws {UsageError} for what can't be, before the target is opened. */
export function checkPlaces({ from, length, allProcesses }: PlaceOptions): void {
  if (length !== undefined && from === undefined) throw new UsageError("--length goes with --from ADDRESS");
  if (allProcesses === true && from !== undefined)
    throw new UsageError("--all-processes searches all of each process: leave out --from");
  if (length !== undefined) parseSize(length);
  if (from !== undefined) parseAddress(from);
}

/** @throws {UsageError} where the options of the target choose one space, and every process's is to be searched. */
export function checkTarget({ allProcesses }: PlaceOptions, { pid, physical, root }: GlobalOptions): void {
  if (allProcesses === true && (pid !== undefined || physical === true || root !== undefined))
    throw new UsageError("--all-processes searches every process: leave out --pid, --root and --physical");
}

/** Hits that are shown at most. @throws {UsageError} */
export function limitOf({ limit }: PlaceOptions): number {
  const most = limit === undefined ? Number.POSITIVE_INFINITY : Number(parseSize(limit));
  if (most === 0) throw new UsageError("--limit 0: there is nothing to show");
  return most;
}

/** Whether the kernel is needed before anything can be searched. */
export function needsKernel(options: PlaceOptions, pid: string | undefined): boolean {
  return options.from !== undefined || options.allProcesses === true || pid !== undefined;
}

/** Whether `--from` is a symbol. */
export function fromSymbol({ from }: PlaceOptions): boolean {
  return from !== undefined && typeof parseAddress(from).base === "string";
}
