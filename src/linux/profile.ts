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

import { decodeLatin1, encodeText } from "../memory/index.js";
import type { KallsymsState } from "./kallsyms-state.js";
import { sumOf } from "./profile-sum.hot.js";
import type { Vmcoreinfo } from "./vmcoreinfo.js";

/** Where profiles are kept. Neither call throws. */
export interface KernelProfiles {
  /** What was kept for a build id, whatever it may be by now. */
  load(buildId: string): Uint8Array | undefined;
  /** Keeps a profile, instead of the one of that build id. */
  save(buildId: string, bytes: Uint8Array): void;
}

/** What is kept of a kernel. Addresses are those without KASLR. */
export interface KernelProfile {
  readonly buildId: string;
  /** What `fixedLines` gives. */
  readonly lines: string;
  /** `linux_banner`, up to its NUL; "" if it could not be read. */
  readonly banner: string;
  readonly kallsyms: KallsymsState;
  /** Where `kallsyms_names` is. */
  readonly namesAt: bigint;
  /** The kernel's BTF; none for one without. */
  readonly btf: Uint8Array | undefined;
}

/** "MTKPROF" and the version of the layout. */
const MAGIC = encodeText("MTKPROF\x01", "latin-1");
/** Magic, a sum of all behind it (profile-sum.hot.ts), 6 lengths in bytes, `namesAt`. */
const HEADER = 48;
/** The lengths begin here; the sum's own place is before them. */
const LENGTHS_AT = 12;
const SUM_AT = 8;
const NAMES_AT = 40;
const PARTS = 6;

/** The lines of VMCOREINFO that are the same after each start of a build. */
export function fixedLines(info: Vmcoreinfo): string {
  return info.text
    .split("\n")
    .filter((line) => /^(OSRELEASE=|BUILD-ID=|PAGESIZE=|SIZE\(|OFFSET\(|LENGTH\()/.test(line))
    .join("\n");
}

/** A profile as bytes, little-endian; each part begins at a multiple of 8. */
export function encodeProfile(profile: KernelProfile): Uint8Array {
  const { addresses, names, tokens } = profile.kallsyms;
  const parts = [
    new Uint8Array(addresses.buffer, addresses.byteOffset, addresses.byteLength),
    names,
    tokens,
    encodeText(`${profile.buildId}\n${profile.lines}`, "latin-1"),
    encodeText(profile.banner, "latin-1"),
    profile.btf ?? new Uint8Array(0),
  ];
  const length = parts.reduce((sum, part) => sum + roundUp(part.length), HEADER);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  let at = HEADER;
  parts.forEach((part, i) => {
    view.setUint32(LENGTHS_AT + 4 * i, part.length, true);
    bytes.set(part, at);
    at += roundUp(part.length);
  });
  view.setBigUint64(NAMES_AT, profile.namesAt, true);
  view.setUint32(SUM_AT, sumOf(bytes, LENGTHS_AT), true);
  return bytes;
}

/**
 * Reads a profile. The parts stay views of the bytes, which must not change.
 *
 * @returns `undefined` for bytes that are no whole profile of this layout.
 */
export function decodeProfile(given: Uint8Array): KernelProfile | undefined {
  if (given.length < HEADER || MAGIC.some((byte, i) => given[i] !== byte)) return undefined;
  // (A column of 8 bytes each is to lie at a multiple of 8.)
  const bytes = given.byteOffset % 8 === 0 ? given : given.slice();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: Uint8Array[] = [];
  let at = HEADER;
  for (let i = 0; i < PARTS; i++) {
    const length = view.getUint32(LENGTHS_AT + 4 * i, true);
    if (roundUp(length) > bytes.length - at) return undefined;
    parts.push(bytes.subarray(at, at + length));
    at += roundUp(length);
  }
  if (at !== bytes.length || sumOf(bytes, LENGTHS_AT) !== view.getUint32(SUM_AT, true)) return undefined;
  const [addresses, names, tokens, about, banner, btf] = parts as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  if (addresses.length % 8 !== 0) return undefined;
  const text = decodeLatin1(about);
  const newline = text.indexOf("\n");
  if (newline < 0) return undefined;
  const column = new BigUint64Array(
    addresses.buffer as ArrayBuffer,
    addresses.byteOffset,
    addresses.length / 8,
  );
  return {
    buildId: text.slice(0, newline),
    lines: text.slice(newline + 1),
    banner: decodeLatin1(banner),
    kallsyms: { names, tokens, addresses: column },
    namesAt: view.getBigUint64(NAMES_AT, true),
    btf: btf.length === 0 ? undefined : btf,
  };
}

function roundUp(length: number): number {
  return Math.ceil(length / 8) * 8;
}
