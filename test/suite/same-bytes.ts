/** Bytes as they must be. */
import { expect } from "vitest";

/** Fails where the two differ, naming the first byte that does. (`toEqual` takes a microsecond a byte.) */
export function expectSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  let at = 0;
  while (at < expected.length && actual[at] === expected[at]) at++;
  if (at === expected.length && actual.length === expected.length) return;
  expect({ at, byte: actual[at], length: actual.length }, `${what}: the first byte that differs`).toEqual({
    at: expected.length,
    byte: expected[at],
    length: expected.length,
  });
}
