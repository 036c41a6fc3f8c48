/** What a host must give for text that a kernel holds compressed. */

/** What a gzip member (RFC 1952) held. */
export interface Gunzipped {
  /** As much as could be decompressed. */
  readonly bytes: Uint8Array;
  /** What is wrong with it; `undefined` for a whole one. */
  readonly problem: string | undefined;
}

/**
 * Decompresses a gzip member as far as it is whole, and never throws.
 *
 * @param input Bytes behind the member don't matter.
 * @param most  Bytes that are decompressed at most.
 */
export type Gunzip = (input: Uint8Array, most: number) => Gunzipped;
