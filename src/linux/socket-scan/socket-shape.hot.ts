/** Places in memory that look like a socket at first sight: by a pointer to a protocol, a family and a state. */

/** A part of a word. */
export interface PartOfWord {
  /** In 32-bit words from the beginning of the structure. */
  readonly word: number;
  /** Bits to its right. */
  readonly shift: number;
}

/** Where those are. */
export interface SocketShape {
  /** Word of the pointer to the protocol, that with its lower bits. */
  readonly protocol: number;
  /** From there to the word with its higher bits; 0 for pointers of 32 bits. */
  readonly high: number;
  /** Pointers to protocols: their lower and higher words. */
  readonly lows: Int32Array;
  readonly highs: Int32Array;
  /** 2^16 marks: not 0 where one of those may be, by `markOf` its lower word. */
  readonly marks: Uint8Array;
  /** Of 16 bits. */
  readonly family: PartOfWord;
  /** Of 8 bits. */
  readonly state: PartOfWord;
}

/** AF_MAX, include/linux/socket.h, with room for some more. */
const MAX_FAMILY = 64;
/** TCP_MAX_STATES, include/net/tcp_states.h. */
const MAX_STATES = 14;

/** Where a pointer's mark is, by its lower word. */
export function markOf(low: number): number {
  return ((low >>> 3) ^ (low >>> 19)) & 0xffff;
}

/**
 * Adds to `found` the byte offsets of places that look like sockets.
 *
 * @param from  First place, in words.
 * @param until Places up to there (exclusive), in words; a whole `sock_common` must lie behind each.
 * @param step  Words from one place to the next.
 */
export function findSockets(
  words: Int32Array,
  from: number,
  until: number,
  step: number,
  shape: SocketShape,
  found: number[],
): void {
  const { protocol, high, lows, highs, marks, family, state } = shape;
  const count = lows.length;
  for (let at = from; at < until; at += step) {
    const low = words[at + protocol] as number;
    if (marks[((low >>> 3) ^ (low >>> 19)) & 0xffff] === 0) continue;
    const upper = words[at + protocol + high] as number;
    let isOne = false;
    for (let i = 0; i < count; i++) {
      if (lows[i] === low && (high === 0 || highs[i] === upper)) isOne = true;
    }
    if (!isOne) continue;
    const families = ((words[at + family.word] as number) >>> family.shift) & 0xffff;
    const states = ((words[at + state.word] as number) >>> state.shift) & 0xff;
    if (families > 0 && families < MAX_FAMILY && states > 0 && states < MAX_STATES) found.push(at * 4);
  }
}
