/** Numbers for people and programs. */

/** `0x…` without leading zeros: every address and 64-bit value in JSON; `-0x…` below 0. */
export function hex(value: bigint | number): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

/** `0x…` with 16 digits: a column of addresses. */
export function hex16(value: bigint | number): string {
  return `0x${value.toString(16).padStart(16, "0")}`;
}

/** ` from 0x… to 0x…`, behind what was looked for there; nothing if that is all of an address space. */
export function within(range: { readonly start: bigint | number; readonly end: bigint | number }): string {
  const { start, end } = range;
  return BigInt(start) === 0n && BigInt(end) === 1n << 64n ? "" : ` from ${hex(start)} to ${hex(end)}`;
}

/** `1 row`, `2 rows`, `1 batch`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** `4 KiB`, `111.5 MiB`, `17 bytes`; exact where it is whole, else with one decimal (`about 16 EiB` where that is 0). */
export function bytesText(size: bigint | number): string {
  let value = Number(size);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0 && value === 1) return "1 byte";
  const rounded = value.toFixed(1);
  if (Number.isInteger(value)) return `${value} ${UNITS[unit]}`;
  return rounded.endsWith(".0")
    ? `about ${rounded.slice(0, -2)} ${UNITS[unit]}`
    : `${rounded} ${UNITS[unit]}`;
}
