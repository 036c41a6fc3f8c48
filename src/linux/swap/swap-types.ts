/**
 * Which numbers of swap areas are not swap areas. Linux gives an area five bits, and takes the highest of the 32 numbers
 * for entries of another kind: the first of them is `MAX_SWAPFILES`, the last is always 31, and how many there are depends
 * on the release and on how the kernel was configured.
 *
 * include/linux/swap.h, in ascending order of the numbers:
 *
 * | kind | how many | since |
 * |---|---|---|
 * | hardware poison | 1 with MEMORY_FAILURE | 2.6.32 (a7420aa54dbf) |
 * | migration: read, write | 2 with MIGRATION | 2.6.18 (0697212a411c) |
 * | migration: read, read-exclusive, write | 3 | 5.19 (6c287605fd56) |
 * | device-private: write, read | 2 with DEVICE_PRIVATE | 4.14 (5042db43cc26) |
 * | those, and device-exclusive: write, read | 4 | 5.14 (b756a3b5e7ea) |
 * | device-private: write, read; device-exclusive | 3 | 6.15 (c25465eb7630) |
 * | marker | 1 with PTE_MARKER, always since 6.2 (ca92ea3dc5a2) | 5.19 (679d10331910) |
 * | swap-in error | 1; a marker since 6.2 (15520a3f0469) | 6.0 (9f186f9e5fa9) |
 *
 * So what a number means follows from the release and `MAX_SWAPFILES`, and that from the size of
 * `swap_info[MAX_SWAPFILES]` (mm/swapfile.c), an array of pointers, as far as the next symbol tells it.
 */
import { parseRelease, releaseOf } from "../entries/release.js";

/** What a number of a swap area stands for. */
export type SwapTypeKind =
  | "swap"
  | "hwpoison"
  | "migration-read"
  | "migration-read-exclusive"
  | "migration-write"
  | "device-private-write"
  | "device-private-read"
  | "device-exclusive-write"
  | "device-exclusive-read"
  | "device-exclusive"
  | "marker"
  | "swapin-error";

/** What each of the 32 numbers stands for. */
export interface SwapTypes {
  /** Numbers below it are swap areas. */
  readonly maxSwapFiles: number;
  /** By number, 32 of them. */
  readonly kinds: readonly SwapTypeKind[];
  /**
   * `swap_info`: the array's size fits the release. `functions`: those in the kernel leave one configuration of the release.
   * `release`: assumed, as distributions configure it.
   */
  readonly from: "given" | "swap_info" | "functions" | "release";
  /** What did not fit, and what was done. */
  readonly warning: string | undefined;
}

/** What is known of a kernel; see {@link swapTypesOf}. */
export interface SwapTypeFacts {
  /** As the kernel has it; "" if it is not known. */
  readonly release: string;
  /** As dumps name it: `x86_64`, `i386`, `aarch64`. */
  readonly architecture: string;
  /** `MAX_SWAPFILES`, where somebody knows. */
  readonly maxSwapFiles?: number | undefined;
  /** Bytes from `swap_info` to the next symbol, and those of a pointer. */
  readonly swapInfo?: { readonly bytes: number; readonly pointerBytes: number } | undefined;
  /** CONFIG_MEMORY_FAILURE. */
  readonly memoryFailure?: boolean | undefined;
  /** CONFIG_MIGRATION. */
  readonly migration?: boolean | undefined;
  /** CONFIG_DEVICE_PRIVATE. */
  readonly devicePrivate?: boolean | undefined;
  /** CONFIG_USERFAULTFD: while markers were an option, x86-64 had them with it, and nobody else (mm/Kconfig of 6.1). */
  readonly userfaultfd?: boolean | undefined;
}

/** One way in which a kernel may be configured. */
interface Configuration {
  readonly kinds: readonly SwapTypeKind[];
  /** How unlikely it is by what is known, and by what is usual. */
  readonly cost: number;
}

const TYPES = 32;
/** Next symbols are aligned to as much: gcc aligns large variables to 32 bytes on x86-64, the linker to a cache line. */
const ALIGNMENT = 64;
/** What it costs that an option is not as the kernel's functions say. */
const CONTRADICTED = 100;
/** What it costs that there is room for a pointer more. */
const UNEXPLAINED = 5;

/**
 * What the numbers of swap areas stand for. Exact where `maxSwapFiles`, the room for `swap_info` or the functions that
 * are in the kernel leave one configuration of the release; else as distributions configure theirs (everything on; markers on x86-64, which alone had them when they could be left out). Where the room for
 * `swap_info` fits no configuration of the release, it is not used, and `warning` says so.
 *
 * @throws {RangeError} if `maxSwapFiles` is none of 1 to 32.
 */
export function swapTypesOf(facts: SwapTypeFacts): SwapTypes {
  const { maxSwapFiles: given, swapInfo } = facts;
  if (given !== undefined && !(Number.isInteger(given) && given >= 1 && given <= TYPES)) {
    throw new RangeError(`maxSwapFiles: ${given}: must lie in 1 to ${TYPES}`);
  }
  const all = configurations(facts);
  if (given !== undefined) {
    const exact = all.filter(({ kinds }) => TYPES - kinds.length === given);
    if (exact.length > 0) return result(best(exact), "given", undefined);
    const why = `${given} swap areas fit no configuration of Linux ${facts.release || "of unknown release"}`;
    return result(best(all), "release", `${why}: numbers of special entries are guessed`);
  }
  if (swapInfo !== undefined) {
    const { bytes, pointerBytes } = swapInfo;
    const fits = all.filter(({ kinds }) => {
      const size = (TYPES - kinds.length) * pointerBytes;
      return size <= bytes && bytes < size + ALIGNMENT;
    });
    // Room that is left over is what the next symbol is aligned to, if anything: the more, the less likely.
    const tight = fits.map(({ kinds, cost }) => {
      const left = bytes / pointerBytes - (TYPES - kinds.length);
      return { kinds, cost: cost + UNEXPLAINED * left };
    });
    if (tight.length > 0) return result(best(tight), "swap_info", undefined);
    const why = `swap_info has ${bytes} bytes, which fits no configuration of Linux ${facts.release || "of unknown release"}`;
    return result(best(all), "release", `${why}: numbers of special entries are guessed`);
  }
  return result(best(all), isTold(facts) ? "functions" : "release", undefined);
}

/** Whether what is known of a kernel's functions leaves one configuration of its release. */
function isTold({ release, architecture, ...facts }: SwapTypeFacts): boolean {
  const { memoryFailure, migration, devicePrivate, userfaultfd } = facts;
  if (memoryFailure === undefined || migration === undefined || devicePrivate === undefined) return false;
  const optional = markersOf(layoutRelease(release)).length > 1;
  return (
    parseRelease(release) !== undefined &&
    !(optional && architecture === "x86_64" && userfaultfd === undefined)
  );
}

function best(configurations: readonly Configuration[]): Configuration {
  return configurations.reduce((least, one) => (one.cost < least.cost ? one : least));
}

function result({ kinds }: Configuration, from: SwapTypes["from"], warning: string | undefined): SwapTypes {
  const maxSwapFiles = TYPES - kinds.length;
  return {
    maxSwapFiles,
    kinds: [...Array.from({ length: maxSwapFiles }, () => "swap" as const), ...kinds],
    from,
    warning,
  };
}

/** Every configuration that a release can have. */
function configurations(facts: SwapTypeFacts): Configuration[] {
  const release = layoutRelease(facts.release);
  const markersKnown = facts.architecture === "x86_64" ? facts.userfaultfd : false;
  const markers = markersOf(release);
  const found: Configuration[] = [];
  for (const poison of [true, false]) {
    for (const migration of [true, false]) {
      // ZONE_DEVICE, on which DEVICE_PRIVATE depends, needs MEMORY_HOTREMOVE, and that MIGRATION (mm/Kconfig).
      for (const device of release < releaseOf(4, 14) ? [false] : migration ? [true, false] : [false]) {
        for (const marker of markers) {
          const kinds: SwapTypeKind[] = [
            ...(poison ? (["hwpoison"] as const) : []),
            ...(migration ? migrationKinds(release) : []),
            ...(device ? deviceKinds(release) : []),
            ...(marker ? (["marker"] as const) : []),
            ...(release >= releaseOf(6, 0) && release < releaseOf(6, 2) ? (["swapin-error"] as const) : []),
          ];
          const cost =
            costOf(poison, facts.memoryFailure, true, 1) +
            costOf(migration, facts.migration, true, 8) +
            costOf(device, facts.devicePrivate, facts.architecture !== "i386", 4) +
            (markers.length === 1 ? 0 : costOf(marker, markersKnown, true, 8));
          found.push({ kinds, cost });
        }
      }
    }
  }
  return found;
}

/** What it costs that an option is set, by what is known and what is usual. */
function costOf(set: boolean, known: boolean | undefined, usual: boolean, weight: number): number {
  if (known !== undefined) return known === set ? 0 : CONTRADICTED;
  return set === usual ? 0 : weight;
}

function markersOf(release: number): readonly boolean[] {
  if (release < releaseOf(5, 19)) return [false];
  return release < releaseOf(6, 2) ? [true, false] : [true];
}

function migrationKinds(release: number): readonly SwapTypeKind[] {
  return release < releaseOf(5, 19)
    ? ["migration-read", "migration-write"]
    : ["migration-read", "migration-read-exclusive", "migration-write"];
}

function deviceKinds(release: number): readonly SwapTypeKind[] {
  const own = ["device-private-write", "device-private-read"] as const;
  if (release < releaseOf(5, 14)) return own;
  if (release >= releaseOf(6, 15)) return [...own, "device-exclusive"];
  return [...own, "device-exclusive-write", "device-exclusive-read"];
}

/**
 * The release whose numbers a kernel has; the newest where it is not known. Red Hat's 5.14 of RHEL 9 took them over from
 * 5.19 in build 179, and from 6.2 in build 441 (as the Linux Test Project's libswap notes).
 */
function layoutRelease(text: string): number {
  const release = parseRelease(text) ?? Number.POSITIVE_INFINITY;
  const build = release === releaseOf(5, 14) ? /^5\.14\.0-(\d{1,6})\b.*\.el9/.exec(text) : null;
  if (build === null) return release;
  return Number(build[1]) >= 441 ? releaseOf(6, 2) : Number(build[1]) >= 179 ? releaseOf(5, 19) : release;
}
