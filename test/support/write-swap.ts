/** Writes swap areas, as mkswap lays them out (include/linux/swap.h, `union swap_header`). */

/** What is to be in a header. */
export interface SwapAreaFields {
  readonly pageSize: number;
  /** Pages with the header. */
  readonly pages: number;
  readonly littleEndian?: boolean;
  readonly version?: number;
  readonly lastPage?: number;
  readonly badPages?: readonly number[];
  /** By default, that of `badPages`. */
  readonly badCount?: number;
  readonly uuid?: Uint8Array;
  readonly label?: string;
  readonly signature?: string;
  /** What stands before the signature: a hibernation image has the area's there. */
  readonly before?: string;
}

/** A swap area with this byte in every page: its number, modulo 251. */
export function writeSwapArea(fields: SwapAreaFields): Uint8Array {
  const { pageSize, pages, littleEndian = true, version = 1, badPages = [] } = fields;
  const area = new Uint8Array(pageSize * pages);
  for (let page = 1; page < pages; page++) area.fill(page % 251, page * pageSize, (page + 1) * pageSize);
  const view = new DataView(area.buffer);
  view.setUint32(1024, version, littleEndian);
  view.setUint32(1028, fields.lastPage ?? pages - 1, littleEndian);
  view.setUint32(1032, fields.badCount ?? badPages.length, littleEndian);
  if (fields.uuid !== undefined) area.set(fields.uuid, 1036);
  area.set(new TextEncoder().encode(fields.label ?? ""), 1052);
  badPages.forEach((page, i) => {
    view.setUint32(1536 + 4 * i, page, littleEndian);
  });
  area.set(new TextEncoder().encode(fields.before ?? ""), pageSize - 20);
  area.set(new TextEncoder().encode(fields.signature ?? "SWAPSPACE2"), pageSize - 10);
  return area;
}
