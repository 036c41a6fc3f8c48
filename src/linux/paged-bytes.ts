/** Bytes that are kept elsewhere, of which only those come that are looked at; and columns of numbers that lie in them. */

/** See the module's comment. */
export interface PagedBytes {
  /** All of them, from a multiple of 8 in their buffer. What no `need` was told of may be anything. */
  readonly bytes: Uint8Array;
  /** Has those from `start` to `end` (exclusive, at most their length) there. Throws if they are not what was kept. */
  need(start: number, end: number): void;
}

/** Numbers in bytes. */
export interface KeptColumn {
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly BYTES_PER_ELEMENT: number;
  readonly length: number;
}

/** Has the numbers `first` to `end` (exclusive) of a column there; those that it has not are ignored. */
export type Need = (column: KeptColumn, first: number, end: number) => void;

/** Of columns that are there. */
export const ALL_THERE: Need = () => {};

/** Of columns in such bytes; others are there. */
export function needOf(paged: PagedBytes): Need {
  const { bytes } = paged;
  return (column, first, end) => {
    if (column.buffer !== bytes.buffer) return;
    const at = column.byteOffset - bytes.byteOffset;
    const from = Math.max(0, first);
    const to = Math.min(column.length, end);
    if (from < to) paged.need(at + from * column.BYTES_PER_ELEMENT, at + to * column.BYTES_PER_ELEMENT);
  };
}
