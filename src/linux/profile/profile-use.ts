/** Taking a kernel's profile (see profile.ts) in the place of its own tables, and making one of them. */
import type { Routine } from "../../io/index.js";
import type { AddressSpace } from "../../memory/index.js";
import { decodeLatin1 } from "../../memory/index.js";
import type { Vmcoreinfo } from "../find/vmcoreinfo.js";
import type { Kallsyms } from "../symbols/kallsyms.js";
import { areAscending, moveImage } from "../symbols/kallsyms-addresses.hot.js";
import { kallsymsFromState, kallsymsIndex, kallsymsState } from "../symbols/kallsyms-state.js";
import { KallsymsError } from "../symbols/kallsyms-tables.js";
import { Btf } from "../types/btf/btf.js";
import { TypesError } from "../types/type-table.js";
import { mixWords } from "./mix-words.hot.js";
import {
  decodeProfile,
  encodeProfile,
  fixedLines,
  type KernelProfile,
  type KernelProfiles,
  ProfileError,
} from "./profile.js";

/** What of a kernel a profile is compared with. */
export interface ProfileKernel {
  readonly vmcoreinfo: Vmcoreinfo;
  readonly memory: AddressSpace & { readonly pointerSize: 4 | 8 };
  /** Addresses in its image that VMCOREINFO names. */
  readonly named: ReadonlyMap<string, bigint>;
}

/** A profile that fits a kernel. */
export interface FittingProfile {
  readonly kallsyms: Kallsyms;
  readonly types: Btf | undefined;
}

/** What is said of the kernel's BTF. */
export const OWN_BTF = "the kernel's BTF";

/** Of a table, pages that are compared. */
const SAMPLES = 8;
const PAGE = 4096;
/** Longest banner that is read: it is some 200 characters. */
const MAX_BANNER = 512;
/** Tables of a kernel are never larger; it bounds nothing but the profile. */
const MAX_PROFILE = 128 << 20;

/**
 * The kernel's profile, if there is one, and it fits; a text that says why one that is kept is not used. Never throws but what a read
 * does.
 */
export function* loadProfile(
  profiles: KernelProfiles,
  kernel: ProfileKernel,
): Routine<FittingProfile | string | undefined> {
  const { buildId } = kernel.vmcoreinfo;
  const bytes = buildId === undefined ? undefined : profiles.load(buildId);
  if (bytes === undefined) return undefined;
  try {
    const profile = decodeProfile(bytes);
    const made = profile === undefined ? undefined : make(profile, kernel);
    if (profile === undefined || made === undefined) return DAMAGED;
    const fits =
      profile.buildId === buildId &&
      profile.lines === fixedLines(kernel.vmcoreinfo) &&
      agrees(made.kallsyms, kernel.named) &&
      (yield* isInMemory(kernel, profile, made.kallsyms));
    return fits ? made : MISFIT;
  } catch (error) {
    if (error instanceof ProfileError) return DAMAGED;
    throw error;
  }
}

const DAMAGED =
  "what the cache has of this kernel is damaged, or another version's: it is not used, and made again";
const MISFIT =
  "what the cache has of this kernel does not fit what the dump has: it is not used, and made again";

/** What a profile holds; `undefined` for one that can't be. */
function make(profile: KernelProfile, kernel: ProfileKernel): FittingProfile | undefined {
  const { btf, btfIndex: index, need } = profile;
  const { kernelOffset = 0n } = kernel.vmcoreinfo;
  const { pointerSize } = kernel.memory;
  try {
    return {
      kallsyms: kallsymsFromState(profile.kallsyms, kernelOffset, profile.kallsymsIndex, need),
      types: btf === undefined ? undefined : new Btf(btf, { name: OWN_BTF, pointerSize, index, need }),
    };
  } catch (error) {
    if (error instanceof KallsymsError || error instanceof TypesError) return undefined;
    throw error;
  }
}

/**
 * Keeps what was read of a kernel, if it is whole: of BTF and names, no page is blank (as pages are that a dump lost without
 * saying so), symbols ascend by address, as the kernel has them, and every one that VMCOREINFO names is where it says.
 *
 * @param at    Where `kallsyms_names` and BTF are in this kernel.
 * @param types Its BTF; none for a kernel without.
 * @returns why a whole one is not kept; `undefined` if it is.
 */
export function* saveProfile(
  profiles: KernelProfiles,
  kernel: ProfileKernel,
  kallsyms: Kallsyms,
  at: { readonly names: bigint; readonly btf: bigint | undefined },
  types: Btf | undefined,
): Routine<string | undefined> {
  const { buildId, kernelOffset = 0n } = kernel.vmcoreinfo;
  if (buildId === undefined || types?.damage !== undefined || kallsyms.damage !== undefined) return undefined;
  if (!areAscending(kallsyms.addresses) || !agrees(kallsyms, kernel.named)) return undefined;
  const btf = types?.bytes;
  const state = kallsymsState(kallsyms);
  if (state.names.length + (btf?.length ?? 0) > MAX_PROFILE) return undefined;
  if (hasBlankPage(state.names) || (btf !== undefined && (hasBlankPage(btf) || hasBlankEnd(btf))))
    return undefined;
  const addresses = state.addresses.slice();
  moveImage(addresses, -kernelOffset);
  const banner = yield* readBanner(kernel.memory, kallsyms);
  const profile: KernelProfile = {
    buildId,
    lines: fixedLines(kernel.vmcoreinfo),
    banner: banner ?? "",
    kallsyms: { ...state, addresses },
    kallsymsIndex: kallsymsIndex(kallsyms),
    namesAt: BigInt.asUintN(64, at.names - kernelOffset),
    btfAt: at.btf === undefined ? 0n : BigInt.asUintN(64, at.btf - kernelOffset),
    btf,
    btfIndex: types === undefined ? undefined : Btf.indexOf(types),
  };
  return profiles.save(buildId, encodeProfile(profile));
}

/** Whether what VMCOREINFO names is where the table says, as far as it has it, and it has something. */
function agrees(kallsyms: Kallsyms, named: ReadonlyMap<string, bigint>): boolean {
  let agreed = 0;
  for (const [name, address] of named) {
    const found = kallsyms.symbol(name);
    if (found.length === 0) continue;
    if (!found.some((symbol) => symbol.address === address)) return false;
    agreed++;
  }
  return agreed > 0;
}

/** Whether the banner and some pages are the kernel's own, as far as they can be read. */
function* isInMemory(kernel: ProfileKernel, profile: KernelProfile, kallsyms: Kallsyms): Routine<boolean> {
  const { memory, vmcoreinfo } = kernel;
  const { kernelOffset = 0n } = vmcoreinfo;
  const banner = yield* readBanner(memory, kallsyms);
  if (banner !== undefined && profile.banner !== "" && banner !== profile.banner) return false;
  // What was never the same twice: the first task's counters, and where KASLR has put the kernel.
  const seed = new Uint8Array(PAGE + 8);
  new DataView(seed.buffer).setBigUint64(PAGE, kernelOffset);
  const task = kallsyms.symbol("init_task")[0]?.address;
  if (task !== undefined) yield* memory.readPartial(task, seed.subarray(0, PAGE));
  let random = mixWords(seed) || 1;
  const moved = (address: bigint) => BigInt.asUintN(64, address + kernelOffset);
  const tables: [Uint8Array, bigint][] = [[profile.kallsyms.names, moved(profile.namesAt)]];
  if (profile.btf !== undefined) {
    const at = moved(profile.btfAt);
    tables.push([profile.btf, at]);
    // (Kernels that list functions only have neither symbol.)
    const [start] = kallsyms.symbol("__start_BTF");
    const [stop] = kallsyms.symbol("__stop_BTF");
    if (start !== undefined && start.address !== at) return false;
    if (stop !== undefined && stop.address !== at + BigInt(profile.btf.length)) return false;
  }
  const page = new Uint8Array(PAGE);
  for (const [bytes, at] of tables) {
    const pages = Math.ceil(bytes.length / PAGE);
    for (let i = 0; i < SAMPLES; i++) {
      // xorshift32 (Marsaglia 2003).
      random ^= random << 13;
      random ^= random >>> 17;
      random ^= random << 5;
      const start = ((random >>> 0) % pages) * PAGE;
      profile.need?.(bytes, start, start + PAGE);
      const wanted = bytes.subarray(start, start + PAGE);
      const { bytes: found, holes } = yield* memory.readPartial(
        BigInt.asUintN(64, at + BigInt(start)),
        page.subarray(0, wanted.length),
      );
      if (!isSame(found, wanted, holes)) return false;
    }
  }
  return true;
}

function isSame(
  found: Uint8Array,
  wanted: Uint8Array,
  holes: readonly { readonly start: number; readonly end: number }[],
): boolean {
  for (let i = 0; i < wanted.length; i++) {
    if (found[i] === wanted[i]) continue;
    if (!holes.some(({ start, end }) => start <= i && i < end)) return false;
  }
  return true;
}

/** `linux_banner` (init/version.c) up to its NUL; `undefined` if it can't be read, or has no symbol. */
function* readBanner(memory: AddressSpace, kallsyms: Kallsyms): Routine<string | undefined> {
  const at = kallsyms.symbol("linux_banner")[0]?.address;
  if (at === undefined) return undefined;
  const { bytes, holes } = yield* memory.readPartial(at, new Uint8Array(MAX_BANNER));
  const end = bytes.indexOf(0);
  const length = end < 0 ? bytes.length : end;
  if (holes.some(({ start }) => start <= length)) return undefined;
  return decodeLatin1(bytes, 0, length);
}

/** Whether 2 KiB at a multiple of 2 KiB are all zero, as in each page of zeros: neither compressed names nor types have that. */
function hasBlankPage(bytes: Uint8Array): boolean {
  for (let at = 0; at + PAGE / 2 <= bytes.length; at += PAGE / 2) {
    let i = at;
    while (i < at + PAGE / 2 && bytes[i] === 0) i++;
    if (i === at + PAGE / 2) return true;
  }
  return false;
}

/** Whether BTF ends with zeros, as where its last page is blank: its last string has characters before its NUL. */
function hasBlankEnd(btf: Uint8Array): boolean {
  return btf.at(-1) === 0 && btf.at(-2) === 0;
}
