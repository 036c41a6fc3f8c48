/** Random numbers that are the same in every run (xorshift32, as the yardstick's). */
export function randomBelow(seed = 88172645): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
