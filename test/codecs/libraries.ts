/** The codecs' own libraries in C, to compress what ours decompresses and the other way round. */
import { spawnSync } from "node:child_process";
import { compiled, compilerVersion } from "../bench/c-programs.js";

/** Libraries, as their headers' packages are called in Debian. */
const LIBRARIES = {
  lzo: { define: "LZO", library: "-llzo2", package: "liblzo2-dev" },
  snappy: { define: "SNAPPY", library: "-lsnappy", package: "libsnappy-dev" },
  zstd: { define: "ZSTD", library: "-lzstd", package: "libzstd-dev" },
  zlib: { define: "ZLIB", library: "-lz", package: "zlib1g-dev" },
} as const;

/** Name of a library. */
export type Library = keyof typeof LIBRARIES;

/** Whether the tests may go without: CI installs all of them, so there it is an error. */
const MAY_LACK = process.env.CI !== "true";

/** A codec's library, as a program that runs it. */
export class CodecLibrary {
  /** Path of the program; `undefined` where it can't be made. */
  readonly program: string | undefined;
  /** Why there is no program. */
  readonly missing: string | undefined;

  constructor(name: Library) {
    const { define, library, package: header } = LIBRARIES[name];
    if (compilerVersion() === undefined) {
      this.missing = without(`no gcc to compare ${name} with its library`);
      return;
    }
    const source = "test/codecs/c/codec.c";
    try {
      this.program = compiled(`codec-${name}`, { source, flags: [`-D${define}`], libraries: [library] });
    } catch (error) {
      // Only what is missing is a reason to go on without; what gcc finds wrong with the program is an error.
      if (!/No such file or directory|cannot find -l/.test(String(error))) throw error;
      this.missing = without(`no ${header} to compare ${name} with`);
    }
  }

  /** Each block compressed. */
  compress(blocks: readonly Uint8Array[], level = 1): Uint8Array[] {
    return this.#run(["compress", String(level)], blocks);
  }

  /**
   * Each block decompressed, to `lengths[i]` bytes; an empty one where the library refuses it, or it has another length.
   */
  decompress(blocks: readonly Uint8Array[], lengths: readonly number[]): Uint8Array[] {
    return this.#run(
      ["decompress"],
      blocks.flatMap((block, i) => [u32(lengths[i] as number), block]),
    );
  }

  #run(args: readonly string[], blocks: readonly Uint8Array[]): Uint8Array[] {
    const input = framed(blocks);
    const { status, stdout, stderr } = spawnSync(this.program as string, args, { input, maxBuffer: 2 ** 30 });
    if (status !== 0) throw new Error(`${this.program} ${args.join(" ")}: ${stderr}`);
    const found: Uint8Array[] = [];
    for (let at = 0; at < stdout.length; ) {
      const length = stdout.readUInt32LE(at);
      found.push(new Uint8Array(stdout.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
    }
    return found;
  }
}

/** Blocks as the program takes and gives them. */
export function framed(blocks: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(blocks.flatMap((block) => [u32(block.length), block]));
}

function without(what: string): string {
  if (!MAY_LACK) throw new Error(what);
  return what;
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
