/** Further files of a dump: the other files of one that was split, and what lies beside it. */
import { basename, dirname, join } from "node:path";
import { type DumpFile, dumpFile } from "../src/formats/index.js";
import { SourceIo } from "../src/io/index.js";
import { ConnectorError } from "./errors.js";
import { type FileSource, openFile } from "./file.js";
import { isInline } from "./mapped-file.js";

/** Further files of a dump: the other parts of one that was split, and those that lie beside it. */
export class FilesBeside {
  readonly #io: SourceIo;
  readonly #opened: SourceIo[] = [];

  constructor(io: SourceIo) {
    this.#io = io;
  }

  /** @throws {ConnectorError} */
  open(path: string): DumpFile {
    const io = new SourceIo(openFile(path), this.#io.scheduler);
    this.#opened.push(io);
    return fileOf(io);
  }

  /** A file in the folder of the dump; `undefined` if it can't be opened. */
  beside(name: string): DumpFile | undefined {
    const { path } = this.#io.source as Partial<FileSource>;
    if (path === undefined || basename(name) !== name) return undefined;
    try {
      return this.open(join(dirname(path), name));
    } catch (error) {
      if (error instanceof ConnectorError) return undefined;
      throw error;
    }
  }

  /** Paths of those that were opened. */
  get paths(): string[] {
    return this.#opened.flatMap(({ source }) => (source as Partial<FileSource>).path ?? []);
  }

  /** Bytes of those that were opened. */
  get size(): number {
    return this.#opened.reduce((sum, { ranges }) => sum + ranges.end, 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((io) => io.close()));
  }
}

/** A file source as formats want it. @internal */
export function fileOf(io: SourceIo): DumpFile {
  const { source } = io;
  return dumpFile(isInline(source) ? source.inline(io) : io, io.ranges.end, io.name.replace(/^file:/, ""));
}
