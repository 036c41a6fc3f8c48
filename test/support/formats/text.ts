/** Bytes of a text whose characters are below 256. */
export function text(value: string): Uint8Array {
  return Uint8Array.from(value, (c) => c.charCodeAt(0));
}
