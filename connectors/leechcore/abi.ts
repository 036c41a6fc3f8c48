/**
 * The parts of LeechCore's C interface that are used here, as 64-bit systems lay them out: byte offsets and numbers,
 * established by offsetof and by runs of LeechCore 2.23.3 (github.com/ufrisk/LeechCore, leechcore.h). A test compares them with
 * fixtures/leechcore/abi.h.
 */

/** LC_CONFIG. */
export const CONFIG = {
  size: 824,
  version: 0,
  verbosity: 4,
  device: 8,
  remote: 268,
  print: 528,
  maxAddress: 536,
  isVolatile: 544,
  isWritable: 548,
  isRemote: 552,
  noCompression: 556,
  deviceName: 560,
} as const;

/** Bytes of LC_CONFIG's texts, with the zero that ends them. */
export const TEXT_SIZE = 260;

/** MEM_SCATTER. */
export const SCATTER = {
  size: 128,
  version: 0,
  f: 4,
  address: 8,
  bytes: 16,
  length: 24,
  stackDepth: 28,
  stack: 32,
} as const;

/** LC_CONFIG_ERRORINFO, of which text follows, in units of two bytes. */
export const ERROR_INFO = { size: 80, structSize: 4, needsUser: 72, textLength: 76, text: 80 } as const;

/** LC_MEMMAP_ENTRY. */
export const MAP_ENTRY = { size: 24, address: 0, bytes: 8, remap: 16 } as const;

export const CONFIG_VERSION = 0xc0fd_0002;
export const SCATTER_VERSION = 0xc0fe_0002;
/** Without this bit nothing is printed (since 2.22.12). */
export const VERBOSE = 1;
/** `remap` 0 means "as the address"; this bit makes it an offset that is 0. */
export const FORCE_OFFSET = 0x8000_0000_0000_0000n;

/** Options that devices of every kind have; give them to `getOption` and `setOption`. */
export const LEECHCORE_OPTIONS = {
  versionMajor: 0x4000_0005_0000_0000n,
  versionMinor: 0x4000_0006_0000_0000n,
  versionRevision: 0x4000_0007_0000_0000n,
  maxAddress: 0x1000_0008_0000_0000n,
  isVolatile: 0x1000_000b_0000_0000n,
  isReadOnly: 0x1000_000c_0000_0000n,
} as const;

/** Commands. */
export const COMMAND = { getMap: 0x4000_0400_0000_0000n, setMap: 0x4000_0500_0000_0000n } as const;

/** What `LcReadScatterEx` says of a MEM. */
export const LEECHCORE_RESULTS = [
  "none",
  "success",
  "success after a retry",
  "unsupported request",
  "completer abort",
  "no completion",
  "partial completion",
  "transport error",
  "protocol error",
  "unspecified",
  "not issued",
] as const;
