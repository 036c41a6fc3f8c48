/** The files of a machine's swap areas, which pages that were swapped out are read from. */
import { MemtoolError, type PacketIo, type Scheduler, SourceIo } from "../src/io/index.js";
import { openSwapFile, type SwapFile } from "../src/linux/index.js";
import { openFile } from "./file.js";

/** A swap area: the path of its file, or that and its number (that of /proc/swaps' line, counted from 0). */
export type SwapArea = string | { readonly type: number; readonly path: string };

/** Linux gives an area five bits, and has other uses for some of the numbers. */
const MAX_TYPE = 31;

/** Swap areas that are open; see {@link SwapFiles.open}. */
export class SwapFiles {
  readonly #areas = new Map<number, { readonly file: SwapFile; readonly source: SourceIo }>();

  /**
   * Opens the files and reads their headers. Those without a number get the lowest that none has, in their order: with one area,
   * 0.
   *
   * @throws {ConnectorError} for a file that can't be opened, {SwapFileError} for what is no swap area, {MemtoolError}
   * `BAD_SWAP_AREA` for a number that can't be, or is given twice.
   */
  static async open(areas: readonly SwapArea[], scheduler: Scheduler): Promise<SwapFiles> {
    const files = new SwapFiles();
    try {
      const numbered = numberAreas(areas);
      for (const { type, path } of numbered) await files.#open(type, path, scheduler);
      return files;
    } catch (error) {
      await files.close();
      throw error;
    }
  }

  async #open(type: number, path: string, scheduler: Scheduler): Promise<void> {
    const opened = openFile(path);
    const source = new SourceIo(opened, scheduler);
    try {
      const file = await openSwapFile(source, { name: opened.name, size: opened.size });
      this.#areas.set(type, { file, source });
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  /** The area of a number; its parameters are bytes from its beginning. */
  readonly area = (type: number): PacketIo<number> | undefined => this.#areas.get(type)?.file;

  /** All of them, ascending by number. */
  list(): { readonly type: number; readonly file: SwapFile }[] {
    return [...this.#areas].map(([type, { file }]) => ({ type, file })).sort((a, b) => a.type - b.type);
  }

  /** @throws {MemtoolError} `BAD_SWAP_AREA` if an area is not of a machine with pages of so many bytes. */
  checkPageSize(pageSize: number): void {
    for (const { file } of this.list()) {
      if (file.header.pageSize === pageSize) continue;
      throw new MemtoolError(
        "BAD_SWAP_AREA",
        `${file.name}: a swap area of a machine with pages of ${file.header.pageSize} bytes; this one's have ${pageSize}`,
      );
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#areas.values()].map(({ source }) => source.close()));
  }
}

function numberAreas(areas: readonly SwapArea[]): { type: number; path: string }[] {
  const taken = new Set<number>();
  for (const area of areas) {
    if (typeof area === "string") continue;
    const { type, path } = area;
    if (!(Number.isInteger(type) && type >= 0 && type <= MAX_TYPE)) {
      throw new MemtoolError(
        "BAD_SWAP_AREA",
        `${path}: swap areas have numbers from 0 to ${MAX_TYPE}, not ${type}`,
      );
    }
    if (taken.has(type)) {
      throw new MemtoolError("BAD_SWAP_AREA", `${path}: two swap areas with the number ${type}`);
    }
    taken.add(type);
  }
  return areas.map((area) => {
    if (typeof area !== "string") return area;
    let type = 0;
    while (taken.has(type)) type++;
    if (type > MAX_TYPE) {
      throw new MemtoolError("BAD_SWAP_AREA", `${area}: more than ${MAX_TYPE + 1} swap areas`);
    }
    taken.add(type);
    return { type, path: area };
  });
}
