/** `memtool dump --format raw`: the bytes of ranges of a process, one after the other. */
import { OutputFile } from "../../connectors/convert/output-file.js";
import { faultState, MemtoolError } from "../../src/io/index.js";
import { findProcess, memoryOfTask } from "../../src/linux/index.js";
import { statusOf } from "../errors.js";
import type { Output } from "../output.js";
import { readPieces } from "../pieces.js";
import { escapeText, toJson } from "../render/escape.js";
import { reasonOf, reasonText } from "../render/hole.js";
import { bytesText, hex } from "../render/numbers.js";
import { HoleSummary } from "../summary.js";
import { noteSwappedAt } from "../swapped.js";
import type { KernelContext } from "./command.js";
import type { DumpOptions } from "./dump-options.js";
import type { DamageSummary } from "./listing.js";

/** Bytes of filling that are written at once. */
const FILLER = 65_536;

/** Where the bytes go. */
interface RawTarget {
  bytes(bytes: Uint8Array): Promise<void>;
  /** Leaves room. */
  skip(length: bigint): void;
  done(): Promise<void>;
  fail(): Promise<void>;
}

/** Writes ranges. @returns the exit status. */
export async function dumpRaw(
  { session, kernel, pid }: KernelContext,
  { output, force, holes }: DumpOptions,
  ranges: readonly { readonly start: bigint; readonly end: bigint }[],
  damage: DamageSummary,
): Promise<number> {
  const toFile = output !== undefined && output !== "-";
  const memory = memoryOfTask(kernel, await findProcess(kernel, pid as number, { onDamage: damage.add }));
  const space = { name: `process ${pid}`, memory, virtual: memory };
  const target = toFile
    ? new FileTarget(OutputFile.create(output, { force, sources: session.machine.paths }))
    : streamTarget(session.out);
  const summary = new HoleSummary();
  let swappedAt: bigint | undefined;
  const filler = typeof holes === "object" ? new Uint8Array(FILLER).fill(holes.fill) : undefined;
  try {
    for (const { start, end } of ranges) {
      const onProgress = (done: bigint, total: bigint) => session.progress("writing", done, total);
      for await (const piece of readPieces(space, start, end - start, { onProgress })) {
        if (!("fault" in piece)) {
          summary.good(piece.bytes.length);
          await target.bytes(piece.bytes);
          continue;
        }
        const { address, length, fault } = piece;
        if (faultState(fault) === "swapped") swappedAt ??= address;
        summary.hole(address, length, fault);
        if (holes === undefined) {
          throw new MemtoolError(
            "HOLE",
            `stopped at ${hex(address)}: ${length} bytes could not be read (${reasonText(reasonOf(fault))}); --fill BYTE ` +
              "writes that byte for each, --skip-holes leaves them out, --sparse leaves a hole in the file",
          );
        }
        if (holes === "sparse") target.skip(length);
        for (let left = filler === undefined ? 0n : length; left > 0n; left -= BigInt(FILLER)) {
          await target.bytes(
            (filler as Uint8Array).subarray(0, left < BigInt(FILLER) ? Number(left) : FILLER),
          );
        }
      }
    }
    await target.done();
  } catch (error) {
    await target.fail();
    throw error;
  }
  session.clearProgress();
  summary.report(session);
  if (swappedAt !== undefined) await noteSwappedAt(session, memory, swappedAt);
  damage.report(session);
  if (toFile && session.options.json === true) {
    const { bytesGood, bytesMissing } = summary;
    session.out.text(`${toJson({ path: output, pid, bytes: hex(bytesGood), missing: hex(bytesMissing) })}\n`);
  } else if (toFile) {
    session.environment.stderr.write(
      `wrote ${escapeText(output)}: ${bytesText(summary.bytesGood)} of memory\n`,
    );
  }
  return statusOf(summary.bytesGood > 0n, summary.bytesMissing > 0n || damage.count > 0);
}

function streamTarget(out: Output): RawTarget {
  return {
    bytes: (bytes) => out.bytes(bytes),
    skip: () => {},
    done: () => out.flush(),
    fail: () => out.flush(),
  };
}

class FileTarget implements RawTarget {
  readonly #file: OutputFile;
  #at = 0;

  constructor(file: OutputFile) {
    this.#file = file;
  }

  async bytes(bytes: Uint8Array): Promise<void> {
    this.#file.write(this.#at, bytes);
    this.#at += bytes.length;
    await this.#file.settle();
  }

  skip(length: bigint): void {
    this.#at += Number(length);
  }

  async done(): Promise<void> {
    await this.#file.complete(this.#at);
    await this.#file.commit();
  }

  fail(): Promise<void> {
    return this.#file.discard();
  }
}
