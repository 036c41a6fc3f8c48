/**
 * How pages are compressed: flags of a page's descriptor, and of the header's `status` (makedumpfile's diskdump_mod.h).
 *
 * A page's own flags decide: a codec that does not make a page smaller leaves it as it is, and the header names one
 * codec at most. QEMU names zlib where hardly a page is compressed.
 */
import type { Warnings } from "../errors.js";
import type { CodecName, Decoders } from "../types.js";
import type { Codec } from "./kdump-layout.js";

const CODECS: readonly { readonly flag: number; readonly name: string; readonly decoder: CodecName }[] = [
  { flag: 1, name: "zlib", decoder: "inflate" },
  { flag: 2, name: "LZO", decoder: "lzo" },
  { flag: 4, name: "snappy", decoder: "snappy" },
  { flag: 0x20, name: "zstd", decoder: "zstd" },
];

/** Kinds of pages that are named: in a damaged file, every one may have flags of its own. */
const MAX_NAMED = 6;

/** Finds the codec of a page by its flags; `undefined` for one that is not there, or is none. */
export function codecFinder(decoders: Decoders): (flags: number) => Codec | undefined {
  const byFlags = new Map<number, Codec>();
  for (const { flag, decoder } of CODECS) {
    const decode = decoders[decoder];
    if (decode !== undefined) byFlags.set(flag, { name: decoder, decode });
  }
  return (flags) => byFlags.get(flags);
}

/** The codecs that `status` names, for people. */
export function codecsNamed(status: number): string {
  const names = CODECS.filter(({ flag }) => (status & flag) !== 0).map(({ name }) => name);
  return names.join(", ") || "none";
}

/** The codecs of pages with these flags, for people; `stored` for pages that are not compressed. */
export function codecsUsed(flags: ReadonlySet<number>): string {
  const names = [...flags]
    .sort((a, b) => a - b)
    .slice(0, MAX_NAMED)
    .map(
      (flag) =>
        CODECS.find((codec) => codec.flag === flag)?.name ?? (flag === 0 ? "stored" : `flags ${flag}`),
    );
  return names.join(", ") || "none";
}

/** Warns of codecs that the header names or pages use, and that are not there. */
export function warnOfCodecs(
  status: number,
  used: ReadonlySet<number>,
  decoders: Decoders,
  warnings: Warnings,
): void {
  for (const { flag, name, decoder } of CODECS) {
    if (((status & flag) !== 0 || used.has(flag)) && decoders[decoder] === undefined) {
      warnings.add(
        `pages compressed with ${name} can't be read (unsupported); write the dump anew with zlib: makedumpfile -c OLD NEW`,
      );
    }
  }
}
