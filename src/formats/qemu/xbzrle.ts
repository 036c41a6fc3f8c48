/**
 * XBZRLE, QEMU's delta of a page against its earlier copy (migration/xbzrle.c, docs/devel "xbzrle"): pairs of runs, each
 * run a length (ULEB128 of at most two bytes), first of bytes that stay, then of bytes that are replaced by those that
 * follow. What lies behind the last pair stays.
 */

/**
 * Changes a page to what the delta makes of it.
 *
 * @param page In: the earlier copy; out: the later one. Undefined content where this returns `false`.
 * @returns whether the delta is well-formed and stays inside the page.
 */
export function applyXbzrle(page: Uint8Array, delta: Uint8Array): boolean {
  let from = 0;
  let to = 0;
  while (from < delta.length) {
    for (let run = 0; run < 2; run++) {
      const low = delta[from++];
      if (low === undefined) return false;
      let length = low;
      if (low >= 0x80) {
        const high = delta[from++];
        if (high === undefined || high >= 0x80) return false;
        length = (low & 0x7f) | (high << 7);
      }
      // Only the first run of all may be empty.
      if (length === 0 && (run === 1 || to > 0)) return false;
      if (to + length > page.length) return false;
      if (run === 1) {
        if (from + length > delta.length) return false;
        for (let i = 0; i < length; i++) page[to + i] = delta[from + i] as number;
        from += length;
      }
      to += length;
    }
  }
  return true;
}
