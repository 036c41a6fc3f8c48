/**
 * A kernel's profile: what a build of a kernel says about itself, the same after each start, as bytes that can be kept. The next
 * dump of that build then needs none of the thousand pages that its kallsyms and BTF take.
 *
 * What fits is asked of the dump at hand, before anything of a profile is believed: its build id, all lines of VMCOREINFO that a
 * build fixes, every symbol that VMCOREINFO names (by KASLR's distance), the banner in its memory, and some pages of its own
 * kallsyms and BTF, as far as it has them. Which pages, its own memory decides: who made a profile earlier can't know.
 *
 * That keeps out profiles of other builds, files that were torn, and tables that were made up as a whole. It does not keep out
 * a dump that claims a build's id, has that build's tables, and is forged in a few bytes of them: those are met only if a page
 * that is compared happens to be theirs. Who opens forged dumps and real ones of the same build goes without a cache. Who can
 * write to the folder of profiles can have any answer.
 */

import { MemtoolError } from "../../io/index.js";
import { decodeLatin1, encodeText } from "../../memory/index.js";
import type { Vmcoreinfo } from "../find/vmcoreinfo.js";
import { type Need, needOf, type PagedBytes } from "../paged-bytes.js";
import type { KallsymsIndex, KallsymsState } from "../symbols/kallsyms-state.js";
import type { BtfColumns } from "../types/btf/btf.js";

/** What was kept of a kernel has gone bad, which only shows when it is needed. */
export class ProfileError extends MemtoolError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("PROFILE", message, options);
  }
}

/** Where profiles are kept. Neither call throws; what `load` gives throws a {@link ProfileError} when it is asked for bad bytes. */
export interface KernelProfiles {
  /**
   * What was kept for a build id: whole, or such as comes as it is needed, as most of a profile never is. `undefined` if nothing is
   * kept. Who keeps bytes where they may go bad has sums over them, and gives none (an empty array) then: others than were saved do
   * no harm but wrong answers.
   */
  load(buildId: string): Uint8Array | PagedBytes | undefined;
  /** Keeps a profile, instead of the one of that build id. @returns why it is not kept, to be told; `undefined` if it is. */
  save(buildId: string, bytes: Uint8Array): string | undefined;
}

/** What is kept of a kernel. Addresses are those without KASLR. */
export interface KernelProfile {
  readonly buildId: string;
  /** What `fixedLines` gives. */
  readonly lines: string;
  /** `linux_banner`, up to its NUL; "" if it could not be read. */
  readonly banner: string;
  readonly kallsyms: KallsymsState;
  readonly kallsymsIndex: KallsymsIndex;
  /** Where `kallsyms_names` is. */
  readonly namesAt: bigint;
  /** Where its BTF is; 0 for a kernel without. */
  readonly btfAt: bigint;
  /** The kernel's BTF; none for one without. */
  readonly btf: Uint8Array | undefined;
  readonly btfIndex: BtfColumns | undefined;
  /** To be told which numbers and bytes of it are looked at, before they are. Default: all are there. */
  readonly need?: Need | undefined;
}

/** "MTKPROF" and the version of the layout. */
const MAGIC = encodeText("MTKPROF\x03", "latin-1");
/** Magic, `namesAt`, `btfAt`, lengths in bytes of all parts. */
const NAMES_AT = 8;
const BTF_AT = 16;
const LENGTHS_AT = 24;
const PARTS = 14;
const HEADER = LENGTHS_AT + 4 * PARTS;

/** The lines of VMCOREINFO that are the same after each start of a build. */
export function fixedLines(info: Vmcoreinfo): string {
  return info.text
    .split("\n")
    .filter((line) => /^(OSRELEASE=|BUILD-ID=|PAGESIZE=|SIZE\(|OFFSET\(|LENGTH\()/.test(line))
    .join("\n");
}

/** A profile as bytes, numbers in the host's order (little-endian wherever Node runs); each part begins at a multiple of 8. */
export function encodeProfile(profile: KernelProfile): Uint8Array {
  const { kallsyms, kallsymsIndex, btfIndex } = profile;
  const parts = [
    encodeText(`${profile.buildId}\n${profile.lines}`, "latin-1"),
    encodeText(profile.banner, "latin-1"),
    kallsyms.addresses,
    kallsyms.names,
    kallsyms.tokens,
    kallsymsIndex.starts,
    kallsymsIndex.lengths,
    kallsymsIndex.hashes,
    kallsymsIndex.heads,
    kallsymsIndex.next,
    profile.btf ?? NOTHING,
    btfIndex?.starts ?? NOTHING,
    btfIndex?.buckets ?? NOTHING,
    btfIndex?.next ?? NOTHING,
  ].map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength));
  const length = parts.reduce((sum, part) => sum + roundUp(part.length), HEADER);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setBigUint64(NAMES_AT, profile.namesAt, true);
  view.setBigUint64(BTF_AT, profile.btfAt, true);
  let at = HEADER;
  parts.forEach((part, i) => {
    view.setUint32(LENGTHS_AT + 4 * i, part.length, true);
    bytes.set(part, at);
    at += roundUp(part.length);
  });
  return bytes;
}

/**
 * Reads a profile. The parts stay views of the bytes, which must not change; what they hold is not looked at. Throws what `need` does.
 *
 * @returns `undefined` for bytes that are not of this layout, or no whole profile.
 */
export function decodeProfile(given: Uint8Array | PagedBytes): KernelProfile | undefined {
  const paged = given instanceof Uint8Array ? whole(given) : given;
  const { bytes } = paged;
  if (bytes.length < HEADER) return undefined;
  paged.need(0, HEADER);
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: Uint8Array[] = [];
  let at = HEADER;
  for (let i = 0; i < PARTS; i++) {
    const length = view.getUint32(LENGTHS_AT + 4 * i, true);
    if (roundUp(length) > bytes.length - at) return undefined;
    parts.push(bytes.subarray(at, at + length));
    at += roundUp(length);
  }
  if (at !== bytes.length) return undefined;
  const part = (i: number) => parts[i] as Uint8Array;
  const words = (i: number) => column(part(i), Uint32Array);
  const signed = (i: number) => column(part(i), Int32Array);
  const need = needOf(paged);
  for (const text of [part(0), part(1)]) need(text, 0, text.length);
  const text = decodeLatin1(part(0));
  const newline = text.indexOf("\n");
  const hasBtf = part(10).length > 0;
  if (newline < 0) return undefined;
  return {
    buildId: text.slice(0, newline),
    lines: text.slice(newline + 1),
    banner: decodeLatin1(part(1)),
    kallsyms: { addresses: column(part(2), BigUint64Array), names: part(3), tokens: part(4) },
    kallsymsIndex: {
      starts: words(5),
      lengths: column(part(6), Uint16Array),
      hashes: signed(7),
      heads: signed(8),
      next: signed(9),
    },
    namesAt: view.getBigUint64(NAMES_AT, true),
    btfAt: view.getBigUint64(BTF_AT, true),
    btf: hasBtf ? part(10) : undefined,
    btfIndex: hasBtf ? { starts: words(11), buckets: words(12), next: words(13) } : undefined,
    need,
  };
}

const NOTHING = new Uint8Array(0);

/** Bytes that are there. (Columns lie at multiples of their numbers' size.) */
function whole(bytes: Uint8Array): PagedBytes {
  return { bytes: bytes.byteOffset % 8 === 0 ? bytes : bytes.slice(), need: () => {} };
}

/** The bytes as numbers; those behind the last whole one are left out. */
function column<T>(
  bytes: Uint8Array,
  Numbers: {
    readonly BYTES_PER_ELEMENT: number;
    new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  },
): T {
  return new Numbers(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / Numbers.BYTES_PER_ELEMENT));
}

function roundUp(length: number): number {
  return Math.ceil(length / 8) * 8;
}
